"""A small network of one's own, and an extraction of it."""

from pathlib import Path

import pytest

from layerprobe.settings.data import DataSettings
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.model import ModelSettings

HOME_MADE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, num_classes)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        x = self.act(self.conv(x)) * self.scale
        return self.head(x.mean(dim=(2, 3)))

def net(num_classes):
    torch.manual_seed(0)
    return Net(num_classes)

def loud(num_classes):
    model = net(num_classes)
    with torch.no_grad():
        model.conv.weight.mul_(1e6)
    return model

def broken(num_classes):
    model = net(num_classes)
    with torch.no_grad():
        model.conv.bias[0] = float("nan")
    return model
"""


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> ExtractSettings:
    (tmp_path / "net.py").write_text(HOME_MADE)
    return ExtractSettings(
        model=ModelSettings(name=f"{tmp_path / 'net.py'}:net"),
        data=DataSettings(name=str(photos)),
        output=tmp_path / "f.h5",
        samples=15,
        batch_size=4,
    )
