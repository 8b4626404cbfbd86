"""The schema of a grid file: pairs, data sets, methods, choices of layers and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.catalogue import EVALUATORS
from layerprobe.settings.base import Count, RefusedError, Seed, Settings, Whole
from layerprobe.settings.evaluate import EvaluateSettings
from layerprobe.settings.layer_choice import ALL, LayerChoice, NamedLayers
from layerprobe.settings.legacy import with_new_keys

Patch = dict[str, Any]
"""Values of a run's configuration, by its keys; beside them ``preset``, ``ranking`` and, of a method, ``choices``."""


_OF_ONE_RUN = (
    "run", "model", "layers", "which", "head", "save_head", "output", "overwrite", "allow_code", "width", "style",
    "caption",
)  # fmt: skip
_OF_LAYER = tuple(way.name for way in EVALUATORS.values() if way.of_layer)
_WAYS = ("probe", "knn")
"""How the runs of a grid are evaluated where the grid file names only the images."""

MOST_SEEDS, MOST_SETS = 10_000, 10_000
"""Above these a grid has more cells than anyone can run."""


def _patch(values: Any) -> Any:
    """What is said under one label, by the keys of this version; empty where nothing is."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ValueError("a mapping with keys below it")
    try:
        return with_new_keys(values)
    except LayerprobeError as error:
        raise RefusedError(f"<>: {error}") from None


def _labelled(values: Any) -> Any:
    """Labels as text, also where YAML reads a number."""
    if values is None:
        return {}
    return {str(label): patch for label, patch in values.items()} if isinstance(values, Mapping) else values


def _methods(values: Any) -> Any:
    """A list of methods, or what each label stands for."""
    return _labelled({str(method): None for method in values} if isinstance(values, list) else values)


def _choices(values: Any) -> Any:
    """A list of choices such as ``quality:4``, whose text is also their label, or what each label stands for."""
    return _labelled({str(label): {"layers": str(label)} for label in values} if isinstance(values, list) else values)


def _seeds(value: Any) -> Any:
    if type(value) is int and value > MOST_SEEDS:
        raise ValueError(f"at most {MOST_SEEDS} seeds")
    seeds = list(range(value)) if type(value) is int else list(value) if isinstance(value, tuple) else value
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
        raise ValueError("a number of seeds or a list of whole numbers")
    return tuple(seeds)


def _evaluation(values: Any) -> Any:
    """Settings of `layerprobe evaluate` that hold for every run of the grid; ``run`` is put in its place there."""
    if values is None or isinstance(values, EvaluateSettings):
        return values
    if not isinstance(values, Mapping):
        raise ValueError("a mapping with keys of `layerprobe evaluate`, such as data and by")
    for key in values:
        if key in _OF_ONE_RUN:
            raise RefusedError(f"<{key}> is for one run of `layerprobe evaluate`, not for all of a grid; leave it out")
    settings = EvaluateSettings.parse({"by": _WAYS, **values, "run": "runs"})
    if without := [name for name in settings.by or () if not EVALUATORS[name].of_layer]:
        raise RefusedError(f"<by> {without[0]} gives no number of every run to compare; name {' or '.join(_OF_LAYER)}")
    return settings


def _not_empty(values: dict[str, Patch]) -> dict[str, Patch]:
    if not values:
        raise RefusedError("<> is empty; a grid has pairs and methods at least")
    return values


OnePatch = Annotated[Patch, BeforeValidator(_patch)]
Labelled = Annotated[dict[str, OnePatch], BeforeValidator(_labelled)]


class CandidateSettings(Settings):
    """Which layers ``layerprobe validate`` distils from, and what scores are measured on."""

    layers: NamedLayers = LayerChoice.of([ALL])
    """The layers that students are distilled from one by one, as --layers of `layerprobe extract` takes them."""
    sets: Annotated[Whole, Field(ge=0, le=MOST_SETS)] = 0
    """How many sets of layers are drawn at random."""
    size: Count = 4
    """Layers in a set."""
    seed: Seed = 0
    """Seed of the draw."""
    samples: Count | None = None
    """Images that scores are measured on; without it 5,000, or as many as there are."""


class GridSettings(Settings):
    """A grid of distillations. The configuration of a cell is merged from what is said under its labels."""

    title: str | None = None
    """What the grid is about."""
    reference: str | None = None
    """Label of the method that others are compared with."""
    common: OnePatch = Field(default_factory=dict)
    """Settings of all runs."""
    pairs: Annotated[Labelled, AfterValidator(_not_empty)]
    """Teachers and students, by label."""
    datasets: Labelled = Field(default_factory=dict)
    """Data sets, by label; the key ``pairs`` of a data set has settings of one pair alone."""
    methods: Annotated[dict[str, OnePatch], BeforeValidator(_methods), AfterValidator(_not_empty)]
    """Methods: a list of names, or what each label stands for."""
    choices: Annotated[dict[str, OnePatch], BeforeValidator(_choices)] = Field(default_factory=dict)
    """Choices of the teacher's layers: a list such as [quality:4, even:4], or what each label stands for."""
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_seeds)] = (0,)
    """Seeds: how many, or a list."""
    evaluation: Annotated[EvaluateSettings | None, BeforeValidator(_evaluation)] = None
    """How the features of every run are evaluated when it is finished: keys of `layerprobe evaluate`. Runs are compared
    by the first way in ``by``; without this key by the accuracy of their classifiers."""
    validation: Annotated[CandidateSettings | None, Field(alias="validate")] = None
    """What ``layerprobe validate`` does; without it the grid is one of ``layerprobe compare``."""
