"""Whole recipes by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerprobe.errors import LayerprobeError, closest

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper-50": {
        "epochs": 50,
        "batch_size": 128,
        "lr": None,
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "schedule": "onecycle",
        "milestones": None,
        "augment": "none",
    },
    "paper-240": {
        "epochs": 240,
        "batch_size": 64,
        "lr": 0.05,
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "multi-step",
        "milestones": (150, 180, 210),
        "decay": 0.1,
        "augment": "crop-flip",
    },
}
"""Values of ``TrainingSettings`` by the preset's name.

``paper-50`` is section 4 of Cooper et al. (arXiv 2511.14981). ``paper-240`` is what the literature on distillation
trains CIFAR students with (Tian et al. 2020, arXiv 1910.10699; Chen et al. 2022, arXiv 2203.14001), its batches of 64
and its crops and flips included.
"""


def preset(name: str) -> Mapping[str, Any]:
    """The values of a preset.

    Raises:
        LayerprobeError: if there is none of this name.
    """
    if name not in PRESETS:
        raise LayerprobeError(f"no preset {name!r}; {closest(name, PRESETS)}")
    return PRESETS[name]
