"""Residual networks of ImageNet's widths (64, 128, 256, 512) with a stem for small images.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016, arXiv 1512.03385), table 1;
the 3x3 stem without max-pooling, and ResNet-9, as in Cooper et al. (arXiv 2511.14981), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

_LARGEST_WITHOUT_POOL = 32


def build_wide_resnet(num_classes: int, image_size: int, *, blocks: Sequence[int]) -> nn.Module:
    """A ResNet of basic blocks (arXiv 1512.03385) whose stem is a 3x3 convolution of stride 1, without max-pooling.

    Args:
        num_classes: rows of the classifier.
        image_size: not used; the network takes images of any size.
        blocks: basic blocks in each of the four stages; ``(1, 1, 1, 1)`` is ResNet-9.

    Examples:
        >>> sum(parameter.numel() for parameter in build_wide_resnet(10, 32, blocks=(2, 2, 2, 2)).parameters())
        11173962
    """
    model: nn.Module = ResNet(BasicBlock, list(blocks), num_classes=num_classes)
    stem = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    model.conv1 = stem
    model.maxpool = nn.Identity()
    return model


def build_paper_resnet(num_classes: int, image_size: int, *, blocks: Sequence[int]) -> nn.Module:
    """The ResNet of Cooper et al. (arXiv 2511.14981): a 3x3 stem of stride 1, with max-pooling above 32 pixels.

    Every block starts as the identity: the scale of its last batch normalization is zero.

    Args:
        num_classes: rows of the classifier.
        image_size: side of the images in pixels, on which max-pooling depends; the network takes images of any size.
        blocks: basic blocks in each of the four stages; ``(1, 1, 1, 1)`` is ResNet-9.
    """
    model = build_wide_resnet(num_classes, image_size, blocks=blocks)
    if image_size > _LARGEST_WITHOUT_POOL:
        model.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    for module in model.modules():
        if isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
    return model
