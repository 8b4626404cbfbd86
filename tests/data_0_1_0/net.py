"""Two small networks, whose weights are a few kilobytes."""

from torch import Tensor, nn


class Block(nn.Module):
    """A convolution and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.norm(self.conv(x)))


def _network(channels: int, blocks: int, num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
        *(Block(channels) for _ in range(blocks)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes),
    )  # fmt: skip


def wide(num_classes: int = 10) -> nn.Module:
    """The teacher."""
    return _network(8, 3, num_classes)


def narrow(num_classes: int = 10) -> nn.Module:
    """The student."""
    return _network(4, 2, num_classes)
