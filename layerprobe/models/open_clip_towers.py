"""Vision towers of open_clip: ``open_clip:ARCHITECTURE``, or with published weights ``open_clip:ARCHITECTURE.TAG``.

The tower alone is built, from open_clip's own description. What it returns is the image's embedding. Weights files hold
the text tower too, and are read as all others are, without running code that they may hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from layerprobe.errors import LayerprobeError, closest
from layerprobe.models.classifier import declare_no_classifier
from layerprobe.models.extras import import_extra, refuse_classes
from layerprobe.models.model_input import ModelInput
from layerprobe.models.published import fetching_weights
from layerprobe.models.weights_file import Weights, read_weights
from layerprobe.settings.base import SettingsError

_SHOWN = 5


def build_tower(short: str, num_classes: int | None, image_size: int | None, pretrained: bool = False) -> nn.Module:
    """Build the vision tower of a model, with random weights.

    Args:
        short: ``ARCHITECTURE`` or ``ARCHITECTURE.TAG``.
        num_classes: None or 0.
        image_size: side of the square images; None keeps the architecture's own.
        pretrained: False: published weights are a file, as ``published_tower`` gives it.

    Raises:
        LayerprobeError: if open_clip isn't installed, or has no such model.
    """
    name, library = f"open_clip:{short}", _library()
    refuse_classes(name, num_classes)
    config = _config(short)
    vision = {**config["vision_cfg"], "timm_model_pretrained": False}
    if image_size is not None:
        vision["image_size"] = image_size
    # Published weights say which of the two GELUs they were trained with.
    quick = bool(_published(short).get("quick_gelu", config.get("quick_gelu", False)))
    tower: nn.Module = library.model._build_vision_tower(config["embed_dim"], vision, quick_gelu=quick)
    declare_no_classifier(tower)
    return tower


def published_tower(short: str) -> Weights:
    """The published weights of a model.

    Raises:
        SettingsError: if no tag says which, or they can't be had.
    """
    name, library = f"open_clip:{short}", _library()
    published = _published(short)
    if not published:
        tags = library.list_pretrained_tags_by_model(short.partition(".")[0])
        shown = ", ".join(tags[:_SHOWN]) + (", ..." if len(tags) > _SHOWN else "")
        remedy = f"name those that you mean, as in {name}.{tags[0]} (tags: {shown}), or " if tags else ""
        raise SettingsError(f"no published weights are meant by {name!r}; {remedy}give <weights> FILE")
    with fetching_weights(name):
        return read_weights(Path(library.download_pretrained(published)))


def list_names() -> list[str]:
    """The names of architectures."""
    return sorted(_library().list_models())


def tower_input(short: str, model: nn.Module, pretrained: bool = False) -> ModelInput:
    """The input that a tower asks for, with whatever weights."""
    published, tag = _published(short), short.partition(".")[2]
    library: Any = _library()
    size: Any = getattr(model, "image_size", None) or _config(short)["vision_cfg"]["image_size"]
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    shortest = published.get("resize_mode", "shortest") == "shortest"
    return ModelInput(
        image_size=(int(height), int(width)),
        mean=tuple(published.get("mean", library.OPENAI_DATASET_MEAN)),
        std=tuple(published.get("std", library.OPENAI_DATASET_STD)),
        resize=max(int(height), int(width)) if shortest else None,
        interpolation=published.get("interpolation", "bicubic"),
        source=f"open_clip {tag or 'default'}",
    )


def _library() -> Any:
    return import_extra("open_clip", "clip", "a model of open_clip")


def _config(short: str) -> Mapping[str, Any]:
    """open_clip's description of an architecture."""
    architecture, library = short.partition(".")[0], _library()
    if ":" in short:
        # open_clip's own ways to a description of the hub's or of a folder, which could name any network of the hub.
        raise LayerprobeError(f"open_clip:{short} must name an architecture of open_clip itself, without a colon")
    config: Mapping[str, Any] | None = library.get_model_config(architecture)
    if config is None:
        raise LayerprobeError(
            f"open_clip has no model {architecture!r}; {closest(architecture, library.list_models())}"
        )
    return config


def _published(short: str) -> Mapping[str, Any]:
    """What open_clip says of the weights of a tag; empty: the name has none."""
    architecture, dot, tag = short.partition(".")
    if not dot:
        return {}
    library = _library()
    published: Mapping[str, Any] = library.get_pretrained_cfg(architecture, tag)
    if not published:
        known = library.list_pretrained_tags_by_model(architecture)
        raise LayerprobeError(f"open_clip has no weights {tag!r} of {architecture}; {closest(tag, known)}")
    return published
