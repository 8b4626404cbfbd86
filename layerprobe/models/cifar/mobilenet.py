"""MobileNetV2 with two strides taken out, for small images.

Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (CVPR 2018,
arXiv 1801.04381), table 2.
"""

from __future__ import annotations

from torch import nn

# Expansion, channels, repetitions, stride; the paper's second row has stride 2.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def build_mobilenet_v2(num_classes: int, image_size: int) -> nn.Module:
    """MobileNetV2 (arXiv 1801.04381) with stem and second stage at stride 1: 32 pixels end as a 4x4 map.

    Args:
        num_classes: rows of the classifier.
        image_size: not used; the network takes images of any size.

    Examples:
        >>> sum(parameter.numel() for parameter in build_mobilenet_v2(10, 32).parameters())
        2236682
    """
    # Imported here: the other CIFAR networks need no torchvision, and start two seconds sooner without it.
    from torchvision.models.mobilenetv2 import MobileNetV2

    model: nn.Module = MobileNetV2(num_classes, inverted_residual_setting=[list(stage) for stage in _STAGES])
    stem = model.get_submodule("features.0.0")
    assert isinstance(stem, nn.Conv2d)
    stem.stride = (1, 1)
    return model
