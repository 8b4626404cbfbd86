"""What runs of version 0.1.0 don't say, derived from what they do say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layerprobe.distill.methods.catalogue import METHODS


@dataclass(frozen=True)
class _Form:
    by_class: bool
    cross_entropy: bool
    kl: bool


def labels_reached_backbone(config: Mapping[str, Any]) -> bool:
    """Whether labels had any influence on the backbone of the network that a run trained.

    Args:
        config: the run's configuration, as ``config.yaml`` holds it.

    Raises:
        KeyError: if there is no such method.
    """
    if config["command"] == "train":
        return True
    alignment = config.get("alignment") or {}
    form = _Form(*(bool(alignment.get(key)) for key in ("by_class", "cross_entropy", "kl")))
    return METHODS[config["method"]].labels_reach_backbone(form)
