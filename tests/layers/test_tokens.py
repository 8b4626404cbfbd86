"""Which tokens stand for patches."""

import pytest
import timm
import torchvision
from torch import nn

from layerprobe.layers.tokens import TokenLayout, token_layout
from layerprobe.models.zoo import build_model


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda: timm.create_model("test_vit"), TokenLayout(1, True)),
        (lambda: timm.create_model("deit_tiny_distilled_patch16_224"), TokenLayout(2, True)),
        (
            lambda: timm.create_model("vit_tiny_patch16_224", class_token=False, global_pool="avg"),
            TokenLayout(0, False),
        ),
        (lambda: torchvision.models.vit_b_32(), TokenLayout(1, True)),
        (lambda: build_model("cifar:vit-small", seed=0), TokenLayout(1, True)),
        (lambda: nn.Linear(2, 2), TokenLayout(0, False)),
    ],
)
def test_layouts(model: object, expected: TokenLayout) -> None:
    assert token_layout(model(), (32, 32)) == expected


def test_a_prefix_is_where_the_rest_is_a_grid() -> None:
    layout = TokenLayout(2, True, aspect=0.5)
    assert [layout.prefix_in(count) for count in (2 + 8, 2 + 32, 8, 2, 33)] == [2, 2, 0, 2, 0]
