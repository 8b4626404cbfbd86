"""Which layers are paired by default."""

from pathlib import Path

import pytest

from layerprobe.data.datasets import open_dataset
from layerprobe.distill.layer_pairs import choose_student_layers, default_teacher_layers
from layerprobe.errors import LayerprobeError
from layerprobe.layers.selection import even_layers
from layerprobe.networks import Network, load_network
from layerprobe.records import Layer
from layerprobe.settings.data import DataSettings
from layerprobe.settings.layer_choice import LayerChoice
from layerprobe.settings.model import ModelSettings


def network(name: str, size: int = 32) -> Network:
    data = DataSettings(name="digits", image_size=size)
    return load_network(ModelSettings(name=name, weights="random"), data, open_dataset("digits"))


def blocks(count: int) -> list[Layer]:
    stem, head = Layer(0, "stem", "activation", (4,), 0), Layer(count + 1, "fc.input", "feature", (4,), 0)
    return [stem, *(Layer(index + 1, f"block{index + 1}", "block", (4,), 0) for index in range(count)), head]


@pytest.mark.parametrize(
    ("count", "k", "expected"),
    [(16, 4, (4, 8, 12, 16)), (9, 4, (3, 5, 7, 9)), (4, 4, (1, 2, 3, 4)), (27, 4, (7, 14, 21, 27)), (5, 1, (5,))],
)
def test_even_layers_end_at_the_last_block(count: int, k: int, expected: tuple[int, ...]) -> None:
    assert tuple(layer.index for layer in even_layers(blocks(count), k, "net")) == expected


def test_too_few_blocks() -> None:
    with pytest.raises(LayerprobeError, match="net has 3 blocks, fewer than the 4 layers to pair"):
        even_layers(blocks(3), 4, "net")


def test_as_many_student_layers_as_teacher_layers() -> None:
    assert [
        layer.index for layer in choose_student_layers(network("cifar:resnet9"), LayerChoice.parse("even:2"), 2)
    ] == [2, 4]
    with pytest.raises(LayerprobeError, match="2 student layers for 3 teacher layers; name as many"):
        choose_student_layers(network("cifar:resnet9"), LayerChoice.parse("even:2"), 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar:resnet9", (1, 2, 3, 4)),
        ("cifar:vgg11", (1, 3, 5, 7)),
        ("cifar:mobilenetv2", (3, 6, 13, 17)),
        ("cifar:vit-small", (0, 2, 4, 6)),  # blocks 1, 3, 5 and 7 of 8
    ],
)
def test_the_papers_students(name: str, expected: tuple[int, ...]) -> None:
    assert tuple(layer.index for layer in choose_student_layers(network(name), None, 4)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar:vgg19", (3, 7, 11, 15)),
        ("cifar:resnet34", (3, 7, 13, 16)),
        ("cifar:vit-base", (1, 3, 7, 9)),  # blocks 2, 4, 8 and 10 of 12
    ],
)
def test_the_papers_baseline_teachers(name: str, expected: tuple[int, ...]) -> None:
    assert tuple(layer.index for layer in default_teacher_layers(network(name), 4)) == expected


def test_a_network_that_only_has_the_name_of_the_papers_gets_evenly_spread_layers(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n"
        "def vgg11():\n"
        "    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()]\n"
        "    layers += [nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)]\n"
        "    return nn.Sequential(*layers)\n"
    )
    assert [layer.name for layer in choose_student_layers(network(f"{file}:vgg11"), None, 4)] == ["1", "3", "5", "7"]
