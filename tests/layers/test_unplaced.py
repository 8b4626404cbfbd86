"""Extra tokens that a network doesn't declare: they are said, never guessed."""

import pytest
import torch
from torch import Tensor, nn

from layerprobe.layers.discovery import discover_layers
from layerprobe.records.layout import GRID, SEQUENCE


class Tokens(nn.Module):
    """A transformer of two blocks whose extra tokens have a name that nobody knows."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        self.anything = nn.Parameter(torch.zeros(1, extra, 16))
        self.blocks = nn.Sequential(*(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(2)))
        self.head = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        read: Tensor = self.blocks(torch.cat([self.anything.expand(len(images), -1, -1), tokens], dim=1))
        return self.head(read[:, 0])


@pytest.mark.parametrize("extra", [1, 5])
def test_undeclared_tokens_are_said(extra: int, caplog: pytest.LogCaptureFixture) -> None:
    model = Tokens(extra)
    layers = discover_layers(model, (32, 32))
    assert [layer.layout.kind for layer in layers[:2]] == [SEQUENCE, SEQUENCE]
    (said,) = caplog.messages
    assert said.startswith(f"the {16 + extra} tokens of blocks.0 (and 1 more) are no grid of patches, and the model")
    assert f"if {extra} of them stand before 4x4 patches, give --prefix-tokens {extra}, or of a teacher" in said
    caplog.clear()
    asked = discover_layers(model, (32, 32), prefix_tokens=extra)
    assert [(layer.layout.kind, layer.layout.prefix) for layer in asked[:2]] == [(GRID, extra)] * 2
    assert not caplog.messages
