"""The schema of a grid file: pairs, data sets, methods, choices of layers and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from layerprobe.errors import LayerprobeError
from layerprobe.settings.base import Count, RefusedError, Seed, Settings, Whole
from layerprobe.settings.layer_choice import ALL, LayerChoice, NamedLayers
from layerprobe.settings.legacy import with_new_keys

Patch = dict[str, Any]
"""Values of a run's configuration, by its keys; beside them ``preset``, ``ranking`` and, of a method, ``choices``."""


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
    validation: Annotated[CandidateSettings | None, Field(alias="validate")] = None
    """What ``layerprobe validate`` does; without it the grid is one of ``layerprobe compare``."""
