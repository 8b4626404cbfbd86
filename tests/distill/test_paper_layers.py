"""The paper's indices of layers, translated into places, entry by entry."""

import csv
from functools import cache
from pathlib import Path

import pytest

from layerprobe.distill.paper_layers import BASELINE_TEACHERS, QUALITY_TEACHERS, STUDENTS, Place, find_places
from layerprobe.layers.discovery import discover_layers
from layerprobe.models.zoo import build_model
from layerprobe.records import Layer

# Indices as the released configurations have them, and whether those are of a vision transformer.
RELEASED_STUDENTS = {
    **dict.fromkeys(("resnet9", "resnet9-paper"), (1, 2, 3, 4)),
    **dict.fromkeys(("vgg11", "vgg11-paper"), (1, 3, 5, 7)),
    **dict.fromkeys(("mobilenetv2", "mobilenetv2-paper"), (3, 6, 13, 17)),
    "mobilenet_v2": (3, 6, 13, 17),
    "vit-small": (1, 3, 5, 7),
    "vit-small-mean": (1, 3, 5, 7),
}
RELEASED_BASELINE_TEACHERS = {
    **dict.fromkeys(("vgg19", "vgg19-paper"), (3, 7, 11, 15)),
    **dict.fromkeys(("resnet34", "resnet34-paper"), (3, 7, 13, 16)),
    "vit-base": (2, 4, 8, 10),
    "vit-base-mean": (2, 4, 8, 10),
    "vit_b_16": (2, 4, 8, 10),
}
RELEASED_QUALITY_TEACHERS = {
    **{
        (name, data): released
        for name in ("vgg19", "vgg19-paper")
        for data, released in (
            ("CIFAR10", (11, 12, 13, 15)),
            ("CIFAR100", (11, 12, 13, 15)),
            ("TinyImageNet", (11, 12, 13, 16)),
        )
    },
    **{
        (name, data): (12, 13, 14, 15)
        for name in ("resnet34", "resnet34-paper")
        for data in ("CIFAR10", "CIFAR100", "TinyImageNet")
    },
    **{
        (name, data): released
        for name in ("vit-base", "vit-base-mean")
        for data, released in (
            ("CIFAR10", (9, 10, 11, 12)),
            ("CIFAR100", (7, 10, 11, 12)),
            ("TinyImageNet", (7, 8, 11, 12)),
        )
    },
}
SOURCES = {
    "resnet9": ["cifar:resnet9"],
    "vgg11": ["cifar:vgg11", "torchvision:vgg11"],
    "mobilenetv2": ["cifar:mobilenetv2"],
    "mobilenet_v2": ["torchvision:mobilenet_v2"],
    "vit-small": ["cifar:vit-small"],
    "vit-small-mean": ["cifar:vit-small-mean"],
    "vgg19": ["cifar:vgg19"],
    "resnet34": ["cifar:resnet34", "torchvision:resnet34", "timm:resnet34"],
    "vit-base": ["cifar:vit-base"],
    "vit-base-mean": ["cifar:vit-base-mean"],
    "vit_b_16": ["torchvision:vit_b_16"],
    **{f"{name}-paper": [f"cifar:{name}-paper"] for name in ("resnet9", "vgg11", "mobilenetv2", "vgg19", "resnet34")},
}
ENTRIES = [
    *((name, STUDENTS[name], released) for name, released in RELEASED_STUDENTS.items()),
    *((name, BASELINE_TEACHERS[name], released) for name, released in RELEASED_BASELINE_TEACHERS.items()),
    *((name, QUALITY_TEACHERS[name][data], released) for (name, data), released in RELEASED_QUALITY_TEACHERS.items()),
]
FILES = {"VGG19": "vgg19", "ResNet34": "resnet34", "ViT_B": "vit-base"}
STUDENT_FILES = {"MobileNetV2": "mobilenetv2", "ResNet9": "resnet9", "VGG11": "vgg11", "ViT_ETT": "vit-small"}
DATA = {"CIFAR10": "CIFAR10", "CIFAR100F": "CIFAR100", "TinyImagenet": "TinyImageNet"}


@cache
def layers_of(name: str) -> tuple[Layer, ...]:
    return discover_layers(build_model(name, num_classes=10, image_size=32, seed=0), (32, 32))


def is_transformer(name: str) -> bool:
    return name.startswith("vit")


def test_every_entry_is_translated_here() -> None:
    assert STUDENTS.keys() == RELEASED_STUDENTS.keys() and BASELINE_TEACHERS.keys() == RELEASED_BASELINE_TEACHERS.keys()
    assert {(name, data) for name, of in QUALITY_TEACHERS.items() for data in of} == set(RELEASED_QUALITY_TEACHERS)


@pytest.mark.parametrize(("name", "places", "released"), ENTRIES)
def test_a_place_is_the_layer_of_the_released_index(
    name: str, places: tuple[Place, ...], released: tuple[int, ...]
) -> None:
    """Released index 0 of a transformer is its embedding, which is no layer of ours; of a CNN indices are ours."""
    for source in SOURCES[name]:
        layers = layers_of(source)
        blocks = [layer for layer in layers if layer.kind == "block"]
        expected = [blocks[index - 1] if is_transformer(name) else layers[index] for index in released]
        assert find_places(layers, places) == tuple(expected)


@pytest.mark.parametrize(
    ("name", "places"),
    [(name, places) for name, places, _ in ENTRIES if is_transformer(name)],
)
def test_blocks_of_a_transformer_by_name(name: str, places: tuple[Place, ...]) -> None:
    """torchvision counts its blocks from 0 in their names."""
    found = find_places(layers_of(SOURCES[name][0]), places)
    assert found is not None
    assert [layer.name for layer in found] == [f"encoder.layers.encoder_layer_{place.number - 1}" for place in places]


def test_the_last_block_of_the_transformer_student_learns_from_cross_entropy() -> None:
    found = find_places(layers_of("cifar:vit-small"), STUDENTS["vit-small"])
    blocks = [layer for layer in layers_of("cifar:vit-small") if layer.kind == "block"]
    assert found is not None and found[-1] == blocks[-2] and len(blocks) == 8


def test_a_network_without_a_layer_at_a_place_has_none_of_them() -> None:
    layers = layers_of("cifar:resnet9")
    assert find_places(layers, (Place("block", 4), Place("feature", 1))) == (layers[4], layers[5])
    assert find_places(layers, (Place("block", 5),)) is None
    assert find_places(layers, (Place("activation", 2),)) is None


@pytest.mark.realdata
def test_against_the_released_configurations(shared: Path) -> None:
    with (shared / "paper" / "released_configurations.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["TeacherLayers"]]
    indices = [tuple(map(int, row["TeacherLayers"].split())) for row in rows]
    for row, chosen in zip(rows, indices, strict=True):
        teacher, data, method = FILES[row["Teacher"]], DATA[row["Dataset"]], Path(row["file"]).stem
        if method.startswith("OursMulti"):
            assert chosen == RELEASED_QUALITY_TEACHERS[teacher, data], row["file"]
        elif not method.startswith("Ours-"):  # chosen by a part of the quality alone
            assert chosen == RELEASED_BASELINE_TEACHERS[teacher], row["file"]
        ours = tuple(map(int, row["StudentLayers"].split()))
        assert ours == RELEASED_STUDENTS[STUDENT_FILES[row["Model"]]], row["file"]
