"""Layers by name, glob, index, range and stride."""

import pytest

from layerprobe.errors import LayerprobeError
from layerprobe.layers.selection import find_layers
from layerprobe.records import Layer

LAYERS = tuple(
    Layer(index, name, "block", (8,), 0)
    for index, name in enumerate(["relu", "stage1.0", "stage1.1", "stage2.0", "stage2.1", "relu@2", "fc.input"])
)


@pytest.mark.parametrize(
    ("patterns", "indices"),
    [
        (None, [0, 1, 2, 3, 4, 5, 6]),
        (["all"], [0, 1, 2, 3, 4, 5, 6]),
        (["stage2.1"], [4]),
        (["stage?.0"], [1, 3]),
        (["stage2*", "relu*"], [0, 3, 4, 5]),
        (["-1", "0"], [0, 6]),
        (["2-4"], [2, 3, 4]),
        (["2:4"], [2, 3]),
        (["-2:"], [5, 6]),
        ([":2"], [0, 1]),
        (["1::3"], [1, 4]),
        (["every:3"], [0, 3, 6]),
        (["every:9"], [0]),
        (["3", "stage2.0", "3-3"], [3]),
    ],
)
def test_patterns(patterns: list[str] | None, indices: list[int]) -> None:
    assert [layer.index for layer in find_layers(LAYERS, patterns, "net")] == indices


def test_positions_count_where_indices_do_not() -> None:
    """Of some layers of a network, the first is 0 whatever its own index is."""
    assert find_layers(LAYERS[3:], ["0", "-1"], "net") == (LAYERS[3], LAYERS[6])


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "stage2.2",
            r"layer 'stage2.2' is not in net; closest: 'stage2.\d'.*`layerprobe layers --model net` lists them",
        ),
        ("stage3.*", r"no layer of net has a name like 'stage3.\*'; `layerprobe layers"),
        ("7", "no layer '7' in net: its 7 layers are 0 to 6"),
        ("-8", "no layer '-8' in net"),
        ("5-7", "no layer '5-7' in net"),
        ("4-2", "no layer '4-2' in net"),
        ("9:", "no layer '9:' in net"),
        ("every:0", "layer 'every:0' is not in net"),
    ],
)
def test_a_pattern_that_selects_nothing_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(LayerprobeError, match=message):
        find_layers(LAYERS, ["0", pattern], "net")


def test_no_pattern_is_refused() -> None:
    """As of ``--layers ,``."""
    with pytest.raises(LayerprobeError, match="no layer of net is named; `layerprobe layers --model net` lists them"):
        find_layers(LAYERS, [], "net")
