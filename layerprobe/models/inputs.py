"""The image size and normalization that a model itself asks for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from layerprobe.models.model_input import ModelInput
from layerprobe.models.variants import split_variant
from layerprobe.plugins import split_file_name

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def model_input(name: str, model: nn.Module, pretrained: bool = False) -> ModelInput:
    """The input that a model asks for: the one that its published weights were trained for, if there are any.

    Args:
        name: the name that ``build_model`` built it from.
        model: what ``build_model`` gave.
        pretrained: whether the published weights are loaded; ``source`` says so.
    """
    own_size = _own_size(model)
    if split_file_name(name):
        return ModelInput(image_size=own_size, source="the model's image_size" if own_size else "")
    source, _, short = split_variant(name)[0].partition(":")
    loaded = "" if pretrained else ", for its published weights"
    if source == "timm":
        return _timm_input(model, f"timm data config{loaded}")
    if source == "torchvision":
        return _torchvision_input(short, own_size, loaded)
    if source == "open_clip":
        from layerprobe.models import open_clip_towers

        return open_clip_towers.tower_input(short, model)
    if source == "transformers":
        from layerprobe.models import transformers_towers

        return transformers_towers.tower_input(short, model)
    from layerprobe.models.cifar import HE_RESNETS

    if short in HE_RESNETS:
        return ModelInput(mean=_IMAGENET_MEAN, std=_IMAGENET_STD, source="published weights of the CIFAR ResNets")
    return ModelInput(image_size=own_size, source="the model's patch size" if own_size else "")


def _own_size(model: nn.Module) -> tuple[int, int] | None:
    """The attribute ``image_size``: a number of pixels, or height and width."""
    size = getattr(model, "image_size", None)
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[1])) if isinstance(size, (tuple, list)) and len(size) == 2 else None


def _timm_input(model: nn.Module, source: str) -> ModelInput:
    from timm.data.config import resolve_model_data_config

    resolve: Callable[[nn.Module], dict[str, Any]] = resolve_model_data_config
    config = resolve(model)
    size = (int(config["input_size"][1]), int(config["input_size"][2]))
    # timm rounds down. Squashing to the very size is what a preprocessing without "resize" does.
    squashed = config.get("crop_mode") == "squash" and config["crop_pct"] == 1
    return ModelInput(
        image_size=size,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        resize=None if squashed else math.floor(max(size) / config["crop_pct"]),
        interpolation=config["interpolation"],
        source=source,
    )


def _torchvision_input(name: str, own_size: tuple[int, int] | None, loaded: str) -> ModelInput:
    from torchvision import models

    weights = models.get_model_weights(name).DEFAULT
    transforms = weights.transforms()
    crop, resize = int(transforms.crop_size[0]), int(transforms.resize_size[0])
    size = own_size or (crop, crop)
    return ModelInput(
        image_size=size,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        resize=round(resize * max(size) / crop),
        interpolation=transforms.interpolation.value,
        source=f"torchvision {weights}{loaded}",
    )
