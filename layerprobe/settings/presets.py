"""Whole recipes by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from layerprobe.catalogue import Catalogue, Entry
from layerprobe.settings.recipe import Rates, TrainingSettings

_FIELDS = (
    "epochs", "batch_size", "lr", "optimizer", "momentum", "weight_decay", "schedule", "milestones", "decay", "augment",
)  # fmt: skip
"""The fields of ``TrainingSettings`` that a recipe says."""


@dataclass(frozen=True)
class Preset(Entry):
    """A recipe with a name. Its ``target`` is empty: it is these values.

    Attributes:
        changes: what differs from the default recipe, by the names of the fields of ``TrainingSettings``.
        rates: peak learning rates by architecture; None: those of the default recipe, or the one in ``changes``.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    rates: Rates | None = None

    def values(self, model: str) -> dict[str, Any]:
        """Every value of the recipe, by the names of the fields of ``TrainingSettings``.

        Args:
            model: name of the network to train.
        """
        defaults = {name: TrainingSettings.model_fields[name].default for name in _FIELDS}
        rate = {"lr": self.rates.of(model)} if self.rates else {}
        return {**defaults, **self.changes, **rate}


_LONG = {
    "epochs": 240,
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "multi-step",
    "milestones": (150, 180, 210),
    "decay": 0.1,
}

PRESETS = Catalogue(
    "preset",
    (
        # Section 4 of Cooper et al. (arXiv 2511.14981), and the configurations that they released.
        Preset("paper-50", "50 epochs", "the paper's 50 epochs of AdamW: the default recipe", ""),
        Preset(
            "paper-240",
            "240 epochs",
            "the paper's 240 epochs of SGD, in batches of 128 and without augmentation",
            "",
            changes=_LONG,
            rates=Rates(transformer=0.01, vgg=0.01, other=0.05),
        ),
        Preset(
            "paper-augmented",
            "50 epochs, augmented",
            "the paper's study of augmentation: paper-50 with crops and flips",
            "",
            changes={"augment": "crop-flip"},
        ),
        # Tian et al. 2020 (arXiv 1910.10699) and Chen et al. 2022 (arXiv 2203.14001).
        Preset(
            "literature-240",
            "240 epochs, augmented",
            "240 epochs of SGD in batches of 64, with crops and flips: the recipe of the literature on CIFAR",
            "",
            changes={**_LONG, "batch_size": 64, "lr": 0.05, "augment": "crop-flip"},
        ),
    ),
)


def recipe_of(preset: str, values: Mapping[str, Any], network: str) -> dict[str, Any]:
    """A preset as a part of a run's configuration.

    Args:
        preset: its name.
        values: of the configuration, which name the network to train; where they don't, they are refused later.
        network: the key of this network in them, ``model`` or ``student``.

    Raises:
        LayerprobeError: if there is no such preset.
    """
    part = values.get(network, {})
    name = part.get("name", "") if isinstance(part, Mapping) else part
    return {"training": PRESETS.find(preset).values(str(name))}
