"""Networks of timm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.models import is_model_pretrained
from torch import nn

from layerprobe.models.model_input import ModelInput


def build(name: str, num_classes: int | None, image_size: int | None, pretrained: bool) -> nn.Module:
    """Build a network, for images of a size where it is made for one."""
    create: Callable[..., nn.Module] = timm.create_model
    if image_size is not None:
        # With the overlay, the model's data configuration says the size that it was built for.
        overlay = {"input_size": (3, image_size, image_size)}
        state = torch.get_rng_state()
        try:
            return create(
                name, pretrained, num_classes=num_classes, img_size=image_size, pretrained_cfg_overlay=overlay
            )
        except TypeError as error:
            # Convolutional networks are built for any size, and have no such argument.
            if "img_size" not in str(error):
                raise
            torch.set_rng_state(state)
    return create(name, pretrained, num_classes=num_classes)


def build_for_any_size(name: str, num_classes: int | None) -> nn.Module | None:
    """Build a transformer that interpolates its position embeddings in every pass; None: the network can't."""
    try:
        model: nn.Module = timm.create_model(name, num_classes=num_classes, dynamic_img_size=True)
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
        return None
    return model


def list_names() -> list[str]:
    """The names of architectures."""
    return sorted(timm.list_models())


def known_beside(name: str, listed: list[str]) -> list[str] | None:
    """The names with tags that a name with one is to be among; of others None, but for old names, which timm knows."""
    base, dot, _ = name.partition(".")
    if dot and base in listed:
        tagged: list[str] = timm.list_pretrained(base)
        return tagged
    return [name] if not dot and timm.is_model(name) else None


def has_weights(name: str) -> bool:
    """Whether weights are published."""
    return bool(is_model_pretrained(name))


def published_classes(name: str, model: nn.Module) -> int:
    """How many classes the published weights of a network have, as it says itself."""
    about: Any = model.pretrained_cfg
    return int(about["num_classes"])


def published_size(name: str) -> int:
    """The height and width of images that the published weights are of."""
    config: Any = timm.get_pretrained_cfg(name)
    return int(config.input_size[-1])


def is_headless(name: str) -> bool:
    """Whether a network has no classes, as those of self-supervised pretraining."""
    config = timm.get_pretrained_cfg(name)
    return config is not None and config.num_classes == 0


def timm_input(name: str, model: nn.Module, pretrained: bool) -> ModelInput:
    """The input that a network asks for, by its data configuration."""
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
        source=f"timm data config{'' if pretrained else ', for its published weights'}",
    )
