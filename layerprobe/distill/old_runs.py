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
    return METHODS[config["method"]].in_setting(config["setting"]).labels_reach_backbone(form)


def setting_of(config: Mapping[str, Any]) -> str:
    """In which setting a run used its method, as tables name it; empty: it is the same in all, or there is no method.

    Args:
        config: the run's whole configuration.
    """
    return "" if config["command"] == "train" else METHODS[config["method"]].shown_setting(config["setting"])
