"""Networks for 32-pixel images (and 64-pixel ones), by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from layerprobe.models.cifar.he_resnet import build_he_resnet
from layerprobe.models.cifar.mobilenet import build_mobilenet_v2, build_paper_mobilenet_v2
from layerprobe.models.cifar.vgg import PAPER_WIDTH, build_vgg
from layerprobe.models.cifar.vit import build_vit
from layerprobe.models.cifar.wide_resnet import build_paper_resnet, build_wide_resnet
from layerprobe.models.classifier import remove_classifier
from layerprobe.models.model_input import ModelInput, size_of

Builder = Callable[[int, int], nn.Module]
"""Called as ``builder(num_classes, image_size)``."""

_build_small_vit = partial(build_vit, blocks=8, heads=6, width=192, mlp_width=576)
_build_vit_base = partial(build_vit, blocks=12, heads=12, width=768, mlp_width=3072)

CIFAR_MODELS: Mapping[str, Builder] = {
    "resnet20": partial(build_he_resnet, depth=20),
    "resnet32": partial(build_he_resnet, depth=32),
    "resnet44": partial(build_he_resnet, depth=44),
    "resnet56": partial(build_he_resnet, depth=56),
    "resnet110": partial(build_he_resnet, depth=110),
    "resnet9": partial(build_wide_resnet, blocks=(1, 1, 1, 1)),
    "resnet18": partial(build_wide_resnet, blocks=(2, 2, 2, 2)),
    "resnet34": partial(build_wide_resnet, blocks=(3, 4, 6, 3)),
    "vgg11": partial(build_vgg, configuration="A"),
    "vgg19": partial(build_vgg, configuration="E"),
    "mobilenetv2": build_mobilenet_v2,
    "vit-small": _build_small_vit,
    "vit-base": _build_vit_base,
    "vit-small-mean": partial(_build_small_vit, average_tokens=True),
    "vit-base-mean": partial(_build_vit_base, average_tokens=True),
    "resnet9-paper": partial(build_paper_resnet, blocks=(1, 1, 1, 1)),
    "resnet34-paper": partial(build_paper_resnet, blocks=(3, 4, 6, 3)),
    "vgg11-paper": partial(build_vgg, configuration="A", width=PAPER_WIDTH),
    "vgg19-paper": partial(build_vgg, configuration="E", width=PAPER_WIDTH),
    "mobilenetv2-paper": build_paper_mobilenet_v2,
}

PUBLISHED: Mapping[str, str] = {
    "resnet18": "torchvision:resnet18",
    "resnet34": "torchvision:resnet34",
    "resnet34-paper": "torchvision:resnet34",
    "vgg11": "torchvision:vgg11_bn",
    "vgg11-paper": "torchvision:vgg11_bn",
    "vgg19": "torchvision:vgg19_bn",
    "vgg19-paper": "torchvision:vgg19_bn",
    "mobilenetv2": "torchvision:mobilenet_v2",
    "mobilenetv2-paper": "torchvision:mobilenet_v2",
    "vit-base": "torchvision:vit_b_16",
    "vit-base-mean": "torchvision:vit_b_16",
}
"""The network whose published weights of ImageNet can be adapted to each of these, which have none of their own."""

HE_RESNETS = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
"""The models whose published weights are those of github.com/akamaster/pytorch_resnet_cifar10."""

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CLASSES = 10

__all__ = ["CIFAR_MODELS", "HE_RESNETS", "PUBLISHED", "Builder", "build", "cifar_input", "list_names"]


def build(name: str, num_classes: int | None, image_size: int | None, pretrained: bool) -> nn.Module:
    """Build a network, with random weights."""
    model = CIFAR_MODELS[name](num_classes or _CLASSES, image_size or 32)
    if num_classes == 0:
        remove_classifier(model, _CLASSES)
    return model


def list_names() -> list[str]:
    """The names of networks."""
    return sorted(CIFAR_MODELS)


def cifar_input(name: str, model: nn.Module, pretrained: bool) -> ModelInput:
    """The input that a network asks for."""
    if name in HE_RESNETS:
        return ModelInput(mean=_IMAGENET_MEAN, std=_IMAGENET_STD, source="published weights of the CIFAR ResNets")
    size = size_of(model)
    return ModelInput(image_size=size, source="the model's patch size" if size else "")
