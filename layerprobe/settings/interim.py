"""Names that settings check until the catalogues of their rooms are there."""

from __future__ import annotations

from dataclasses import dataclass

from layerprobe.catalogue import Catalogue, Entry


@dataclass(frozen=True)
class MethodFacts(Entry):
    """What settings ask of a method."""

    uses_features: bool = True
    needs_classes: bool = True
    chosen_layers: bool = False
    aligns: bool = False


@dataclass(frozen=True)
class AlignmentFacts(Entry):
    """What settings ask of an alignment."""

    projects: bool = False
    has_loss: bool = True
    has_classes: bool = False
    has_attention: bool = False


def _entry(name: str, target: str = "") -> Entry:
    return Entry(name, name, name, target)


def _plugin(name: str) -> Entry:
    return Entry(name, name, name, name)


def _methods() -> list[MethodFacts]:
    facts = {
        "feature-only": (True, False, True, True),
        "scratch": (False, False, False, False),
        "crd": (True, False, False, False),
        "reviewkd": (True, False, False, False),
        **dict.fromkeys(("kd", "kd-std", "dkd"), (False, True, False, False)),
        **dict.fromkeys(
            ("fitnets", "fitnets-full", "sp", "semckd", "simkd", "attention-transfer", "rkd"),
            (True, True, False, False),
        ),
    }
    return [MethodFacts(name, name, name, "", *values) for name, values in facts.items()]


METHODS = Catalogue("method", _methods())
ALIGNMENTS = Catalogue(
    "alignment",
    (
        AlignmentFacts("projector", "projector", "", "", projects=True, has_attention=True),
        AlignmentFacts("geometry", "geometry", "", "", has_classes=True),
        AlignmentFacts("moments", "moments", "", "", projects=True, has_classes=True),
        AlignmentFacts("relation", "relation", "", "", has_loss=False),
    ),
)
PROJECTORS = Catalogue("projector", [_entry("one-layer"), _entry("three-layer")])
FEATURE_LOSSES = Catalogue("feature loss", [_entry("mse"), _entry("huber"), _entry("cosine")])
OPTIMIZERS = Catalogue("optimizer", [_entry("adamw"), _entry("sgd")])
SCHEDULES = Catalogue("schedule", [_entry("onecycle"), _entry("cosine"), _entry("multi-step")])
AUGMENTATIONS = Catalogue("augmentation", [_entry("none"), _entry("crop-flip"), _entry("trivial")])

_SCORES = (
    "quality", "quality-normalised", "separation", "information", "efficiency", "sqrt-ie", "probe", "logme", "depth",
)  # fmt: skip
RULES = Catalogue(
    "rule",
    [
        _entry(name)
        for name in (
            *_SCORES, "even", "even-quality", "even-information", "last", "random", "stagewise",
            "stagewise-resolution", "stagewise-reach",
            *(f"stagewise-{name}" for name in _SCORES if name not in ("quality", "depth")),
        )
    ],
)  # fmt: skip
