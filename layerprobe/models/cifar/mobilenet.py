"""MobileNetV2 with two strides taken out, for small images.

Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (CVPR 2018,
arXiv 1801.04381), table 2. That of Cooper et al. (arXiv 2511.14981) leaves out the stem's stride alone.
"""

from __future__ import annotations

from torch import nn

_SMALL = 32
"""Side in pixels of the largest images for which the network of Cooper et al. has a stem of stride 1."""


def _stages(second: int) -> list[list[int]]:
    """Expansion, channels, repetitions and stride; the second row's stride is given, and 2 in the paper."""
    rows = (
        (1, 16, 1, 1),
        (6, 24, 2, second),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    return [list(row) for row in rows]


def build_mobilenet_v2(num_classes: int, image_size: int) -> nn.Module:
    """MobileNetV2 (arXiv 1801.04381) with stem and second stage at stride 1: 32 pixels end as a 4x4 map.

    Args:
        num_classes: rows of the classifier.
        image_size: not used; the network takes images of any size.

    Examples:
        >>> sum(parameter.numel() for parameter in build_mobilenet_v2(10, 32).parameters())
        2236682
    """
    return _build(num_classes, stem=1, second=1, dropout=0.2)


def build_paper_mobilenet_v2(num_classes: int, image_size: int) -> nn.Module:
    """MobileNetV2 as in Cooper et al. (arXiv 2511.14981): 32 pixels end as a 2x2 map, and so do 64.

    The second stage has stride 2, and the stem stride 1 at 32 pixels and 2 above. There is no dropout.

    Args:
        num_classes: rows of the classifier.
        image_size: side of the images in pixels, on which the stem depends; the network takes images of any size.

    Examples:
        >>> sum(parameter.numel() for parameter in build_paper_mobilenet_v2(10, 32).parameters())
        2236682
    """
    return _build(num_classes, stem=1 if image_size <= _SMALL else 2, second=2, dropout=0.0)


def _build(num_classes: int, stem: int, second: int, dropout: float) -> nn.Module:
    # Imported here: the other CIFAR networks need no torchvision, and start two seconds sooner without it.
    from torchvision.models.mobilenetv2 import MobileNetV2

    model: nn.Module = MobileNetV2(num_classes, inverted_residual_setting=_stages(second), dropout=dropout)
    convolution = model.get_submodule("features.0.0")
    assert isinstance(convolution, nn.Conv2d)
    convolution.stride = (stem, stem)
    return model
