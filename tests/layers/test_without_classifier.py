"""Layers of networks without a classifier: those of the same network with one, and what it returns in the last's place.

The networks are timm's, with random weights, in the layouts of published ones; images are small and some are cut short.
"""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from layerprobe.layers.capture import Capture
from layerprobe.layers.discovery import Discovery, discover
from layerprobe.layers.taps import Tap
from layerprobe.records.layout import GRID, MAP, VECTOR

SHALLOW = {"depth": 2, "embed_dim": 48, "num_heads": 3}
LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "vit_small_patch14_reg4_dinov2": (56, {**SHALLOW, "img_size": 56}),
    "vit_small_patch16_dinov3": (64, {**SHALLOW, "img_size": 64}),
    "vit_base_patch16_siglip_224": (64, {**SHALLOW, "img_size": 64}),
    "samvit_base_patch16": (64, {**SHALLOW, "img_size": 64}),
    "eva02_tiny_patch14_224": (56, {**SHALLOW, "img_size": 56}),
    "swin_tiny_patch4_window7_224": (
        64, {"img_size": 64, "depths": (2, 2), "num_heads": (2, 4), "embed_dim": 16, "window_size": 4},
    ),
    "convnextv2_atto": (64, {"depths": (1, 1, 1, 1)}),
    "resnet18": (64, {"layers": (1, 1, 1, 1)}),
    "efficientnet_lite0": (64, {}),
}  # fmt: skip
DENSE = {
    "vit_small_patch14_reg4_dinov2": ("norm", (21, 48), GRID, 5),
    "vit_small_patch16_dinov3": ("norm", (21, 48), GRID, 5),
    "vit_base_patch16_siglip_224": ("norm", (16, 48), GRID, 0),
    "samvit_base_patch16": ("neck", (256, 4, 4), MAP, 0),
    "eva02_tiny_patch14_224": ("norm", (17, 48), GRID, 1),
    "swin_tiny_patch4_window7_224": ("norm", (8, 8, 32), MAP, 0),
    "convnextv2_atto": ("head", (320, 2, 2), MAP, 0),
    "resnet18": ("layer4.0", (512, 2, 2), MAP, 0),
    "efficientnet_lite0": ("bn2.act", (1280, 2, 2), MAP, 0),
}
"""Without pooling: the last layer, one image's shape, its layout and its extra tokens."""


def look(name: str, **options: Any) -> tuple[nn.Module, Tensor, Discovery]:
    size, shallow = LAYOUTS[name]
    torch.manual_seed(0)
    model = timm.create_model(name, **shallow, **options).eval()
    images = torch.randn(2, 3, size, size)
    return model, images, discover(model, (size, size))


@pytest.mark.parametrize("name", LAYOUTS)
def test_layers_are_those_of_the_network_with_a_classifier(name: str) -> None:
    bare, images, found = look(name, num_classes=0)
    _, _, whole = look(name, num_classes=7)
    assert (found.has_classifier, whole.has_classifier) == (False, True)
    assert [(layer.name, layer.shape) for layer in found.layers] == [(one.name, one.shape) for one in whole.layers]
    last = found.layers[-1]
    assert (last.kind, last.layout.kind) == ("feature", VECTOR)
    with torch.no_grad(), Capture(bare, found.layers) as capture:
        captured = capture(images)
        assert torch.equal(captured.features[last.name], bare(images))
    assert {name: tuple(value.shape[1:]) for name, value in captured.features.items()} == {
        layer.name: tuple(layer.shape) for layer in found.layers
    }


@pytest.mark.parametrize("name", DENSE)
def test_the_last_layer_of_a_dense_network_is_what_it_returns(name: str) -> None:
    model, images, found = look(name, num_classes=0, global_pool="")
    last, (called, shape, kind, prefix) = found.layers[-1], DENSE[name]
    assert (last.name, last.shape, last.layout.kind, last.layout.prefix) == (called, shape, kind, prefix)
    assert not found.has_classifier and found.returned == (2, *shape)
    with torch.no_grad(), Capture(model, [last]) as capture:
        assert torch.equal(capture(images).features[last.name], model(images))


class Summed(nn.Module):
    """A backbone that returns what no module of it puts out."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes = 0
        self.conv, self.output = nn.Conv2d(3, 4, 3), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.output(self.conv(images)).mean((2, 3))


def test_what_no_module_puts_out_is_a_layer_too() -> None:
    model, images = Summed(), torch.randn(3, 3, 8, 8)
    found = discover(model, (8, 8))
    assert [(layer.name, layer.kind, layer.shape) for layer in found.layers] == [
        ("output@1", "activation", (4, 6, 6)),
        ("output", "feature", (4,)),
    ]
    with Capture(model, found.layers, gate="output") as capture:
        captured = capture(images)
    assert torch.equal(captured.features["output"], model(images)) and not captured.logits.requires_grad
    for layer in found.layers:
        assert Tap.of(layer.name).name == layer.name


def test_a_network_that_declares_nothing_and_returns_columns_has_a_classifier() -> None:
    model = Summed()
    model.num_classes = 4
    found = discover(model, (8, 8))
    assert found.has_classifier and [layer.name for layer in found.layers] == ["output@1"]
