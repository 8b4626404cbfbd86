"""A home-made network for layerprobe.

layerprobe layers  --model examples/own_model.py:small_net --image-size 8
layerprobe train   --model examples/own_model.py:small_net --data digits --epochs 5 --output own/
layerprobe extract --model examples/own_model.py:small_net --weights own/model.safetensors --data digits --output own.h5
"""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut: layerprobe finds it by the sum in its forward pass."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels),
        )  # fmt: skip
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.body(x))


def small_net(num_classes: int) -> nn.Module:
    """Any function that returns a module will do; ``num_classes`` is given if it is asked for."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        ResidualBlock(32), ResidualBlock(32), ResidualBlock(32),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes),
    )  # fmt: skip
