"""Networks of torchvision."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision import models

from layerprobe.models.classifier import find_classifier, remove_classifier, replace_module
from layerprobe.models.model_input import ModelInput, size_of

# These two return a tuple while they train unless told otherwise, and warn about an initialization that they keep.
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")
_IMAGENET_CLASSES = 1000


def build(name: str, num_classes: int | None, image_size: int | None, pretrained: bool) -> nn.Module:
    """Build a network, with its published weights or random ones."""
    options: dict[str, Any] = {}
    if image_size is not None and name.startswith("vit_"):
        options["image_size"] = image_size
    if name in _WITH_AUXILIARY_HEADS:
        options |= {"aux_logits": False} | ({} if pretrained else {"init_weights": True})
    if not pretrained:
        options |= {"num_classes": num_classes} if num_classes else {}
        model: nn.Module = models.get_model(name, **options)
        if num_classes == 0:
            remove_classifier(model, _IMAGENET_CLASSES)
        return model
    model = models.get_model(name, weights=models.get_model_weights(name).DEFAULT, **options)
    classes = published_classes(name, model)
    if num_classes == 0:
        remove_classifier(model, classes)
    elif num_classes not in (None, classes):
        _replace_head(model, classes, num_classes or classes)
    return model


def list_names() -> list[str]:
    """The names of networks that classify images."""
    return sorted(models.list_models(module=models))


def has_weights(name: str) -> bool:
    """Whether weights are published: of every network."""
    return True


def published_classes(name: str, model: nn.Module) -> int:
    """How many classes the published weights of a network have."""
    return len(models.get_model_weights(name).DEFAULT.meta["categories"])


def torchvision_input(name: str, model: nn.Module, pretrained: bool) -> ModelInput:
    """The input that a network asks for, by the transforms of its published weights."""
    weights = models.get_model_weights(name).DEFAULT
    transforms = weights.transforms()
    crop, resize = int(transforms.crop_size[0]), int(transforms.resize_size[0])
    size = size_of(model) or (crop, crop)
    return ModelInput(
        image_size=size,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        resize=round(resize * max(size) / crop),
        interpolation=transforms.interpolation.value,
        source=f"torchvision {weights}{'' if pretrained else ', for its published weights'}",
    )


def _replace_head(model: nn.Module, old_classes: int, num_classes: int) -> None:
    """Put a new layer in the place of the last one that has ``old_classes`` outputs."""
    path = find_classifier(model, old_classes)
    head: nn.Module = model.get_submodule(path)
    new: nn.Module
    if isinstance(head, nn.Linear):
        new = nn.Linear(head.in_features, num_classes, bias=head.bias is not None)
    elif isinstance(head, nn.Conv2d):  # SqueezeNet's classifier is a 1x1 convolution.
        new = nn.Conv2d(head.in_channels, num_classes, kernel_size=1, bias=head.bias is not None)
    replace_module(model, path, new)
