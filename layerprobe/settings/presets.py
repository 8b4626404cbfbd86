"""Whole recipes by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from layerprobe.catalogue import Catalogue, Entry


@dataclass(frozen=True)
class Preset(Entry):
    """A recipe with a name. Its ``target`` is empty: it is these values.

    Attributes:
        values: of ``TrainingSettings``, by the fields' names.
    """

    values: Mapping[str, Any] = field(default_factory=dict)


PRESETS = Catalogue(
    "preset",
    (
        # Section 4 of Cooper et al. (arXiv 2511.14981).
        Preset(
            "paper-50",
            "50 epochs",
            "50 epochs of AdamW: the default recipe",
            "",
            values={
                "epochs": 50,
                "batch_size": 128,
                "lr": None,
                "optimizer": "adamw",
                "weight_decay": 0.01,
                "schedule": "onecycle",
                "milestones": None,
                "augment": "none",
            },
        ),
        # What the literature on distillation trains CIFAR students with, its batches of 64 and its crops and flips
        # included (Tian et al. 2020, arXiv 1910.10699; Chen et al. 2022, arXiv 2203.14001).
        Preset(
            "paper-240",
            "240 epochs",
            "240 epochs of SGD with crops and flips: the recipe of the literature on CIFAR",
            "",
            values={
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
        ),
    ),
)
