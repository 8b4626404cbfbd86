"""VGG networks with batch normalization and a classifier sized for small images.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015,
arXiv 1409.1556), table 1. The classifier is 512 wide, not 4,096, since a 32-pixel image ends as one pixel; that of
Cooper et al. (arXiv 2511.14981) is 4,096 wide all the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

_WIDTH = 512
PAPER_WIDTH = 4096
"""Of the classifier in VGG's own paper, and in that of Cooper et al."""


class VGG(nn.Module):
    """Convolutions in torchvision's configuration, average pooling to one pixel, and three linear layers."""

    def __init__(self, configuration: str, num_classes: int, width: int = _WIDTH) -> None:
        super().__init__()
        self.features = make_layers(cfgs[configuration], batch_norm=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(_WIDTH, width),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(width, num_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear) and width == PAPER_WIDTH:
                nn.init.normal_(module.weight, std=0.01)
            elif isinstance(module, nn.Linear):
                # torchvision's standard deviation of 0.01 is for 4,096 inputs; with 512 the logits would vanish.
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(n, 3, h, w)``, at least 32 pixels a side, to logits ``(n, num_classes)``."""
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))
        return logits


def build_vgg(num_classes: int, image_size: int, *, configuration: str, width: int = _WIDTH) -> nn.Module:
    """A VGG (arXiv 1409.1556) with batch normalization and a classifier of two hidden layers.

    Args:
        num_classes: rows of the last linear layer.
        image_size: not used; the network takes images of 32 pixels a side and more.
        configuration: column of the paper's table 1: ``A`` is VGG-11, ``E`` VGG-19.
        width: of the classifier's hidden layers.

    Examples:
        >>> sum(parameter.numel() for parameter in build_vgg(10, 32, configuration="A").parameters())
        9756426
    """
    return VGG(configuration, num_classes, width)
