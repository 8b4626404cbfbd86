"""The CIFAR residual networks of He et al.: three stages of 16, 32 and 64 channels, depth 6n + 2.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016, arXiv 1512.03385),
section 4.2. Modules are named as in github.com/akamaster/pytorch_resnet_cifar10, so its weights load.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ShortcutA(nn.Module):
    """The shortcut without parameters (option A): every second pixel, and zeros for the new channels.

    Args:
        new_channels: how many channels of zeros to add, half before and half after the old ones.
    """

    def __init__(self, new_channels: int) -> None:
        super().__init__()
        self.new_channels = new_channels

    def forward(self, images: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c + new_channels, ceil(h / 2), ceil(w / 2))``."""
        before = self.new_channels // 2
        return functional.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, before, self.new_channels - before))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalization, and a shortcut around them."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity() if stride == 1 else ShortcutA(channels - channels_in)
        self.relu2 = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, channels, h / stride, w / stride)``."""
        hidden = self.relu1(self.bn1(self.conv1(images)))
        output: Tensor = self.relu2(self.bn2(self.conv2(hidden)) + self.shortcut(images))
        return output


class HeResNet(nn.Module):
    """A CIFAR residual network of depth ``6 * blocks_per_stage + 2``."""

    def __init__(self, blocks_per_stage: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, blocks_per_stage, stride=1)
        self.layer2 = _stage(16, 32, blocks_per_stage, stride=2)
        self.layer3 = _stage(32, 64, blocks_per_stage, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(n, 3, h, w)`` to logits ``(n, num_classes)``."""
        hidden = self.relu(self.bn1(self.conv1(images)))
        hidden = self.layer3(self.layer2(self.layer1(hidden)))
        logits: Tensor = self.linear(torch.flatten(self.avgpool(hidden), 1))
        return logits


def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [BasicBlock(channels, channels, stride=1) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(channels_in, channels, stride), *rest)


def build_he_resnet(num_classes: int, image_size: int, *, depth: int) -> nn.Module:
    """A CIFAR ResNet of He et al. (arXiv 1512.03385, section 4.2) with option-A shortcuts.

    Args:
        num_classes: rows of the classifier.
        image_size: not used; the network takes images of any size.
        depth: layers with weights, ``6n + 2``.

    Examples:
        >>> sum(parameter.numel() for parameter in build_he_resnet(10, 32, depth=20).parameters())
        269722
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth is 6n + 2, not {depth}")
    return HeResNet(blocks, num_classes)
