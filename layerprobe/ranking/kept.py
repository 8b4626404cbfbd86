"""A ranking with all results of its layers that earlier runs have kept: what a page shows, without computing it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.catalogue import FAMILIES, VIEWS, members
from layerprobe.geometry.measure import Values
from layerprobe.ranking.cache import StatisticsCache, open_cache
from layerprobe.ranking.choose import Choice
from layerprobe.ranking.file import load_ranking, ranking_path
from layerprobe.ranking.grams import open_source
from layerprobe.ranking.measure import Measurements, sizes_of
from layerprobe.ranking.rank import default_score, rank_source
from layerprobe.ranking.similarity import kept_similarity
from layerprobe.records import LayerGeometry, Progress, Ranking, silent

_log = logging.getLogger(__name__)


def read_ranked(features: Path, device: torch.device | None = None, progress: Progress = silent) -> Ranking:
    """The ranking of a feature file, with all further results of its layers that are kept beside the file.

    It is the ranking file that lies there, else the ranking that ``layerprobe rank`` makes where it is told nothing
    else. Only in that case is anything computed: the scores and their intervals, and what is kept already is not.

    Args:
        features: a feature file or a Gram file.
        device: where Gram matrices are computed; default: the CPU.
        progress: told before every layer that is measured.

    Raises:
        LayerprobeError: if one of the files can't be read, or the layers can't be ranked.
    """
    with open_source(features) as source:
        cache = open_cache(source)
        ranking = _read_beside(source)
        if ranking is None:
            choice = Choice(by=default_score(source))
            ranking = rank_source(source, choice, Measurements(), cache=cache, device=device, progress=progress)
        return _with_kept(ranking, source, cache)


def _read_beside(source: FeatureFile | GramFile) -> Ranking | None:
    """The ranking file beside the features; None where there is none, or it is of other features."""
    file = ranking_path(source.path)
    if not file.exists():
        return None
    ranking = load_ranking(file)
    here = {stored.layer.name for stored in source.layers}
    same = ranking.provenance.get("created") == source.provenance.get("created")
    if same and here >= {one.layer.name for one in ranking.geometries}:
        return ranking
    _log.warning("%s is of other features than %s: the layers are ranked again for this page", file, source.path)
    return None


def _with_kept(ranking: Ranking, source: FeatureFile | GramFile, cache: StatisticsCache) -> Ranking:
    measured = [one.layer.name for one in ranking.geometries if not one.undefined]
    labelled = source.labels is not None
    views = tuple(name for name in VIEWS if _is_kept(cache, measured, Measurements((), (name,), 0, labelled=labelled)))
    families = [name for name in FAMILIES if _is_kept(cache, measured, Measurements((name,), (), 0, labelled=labelled))]
    sizes = _kept_sizes(cache, measured)
    wanted = [*_tasks(Measurements(tuple(families), views, 0, labelled=labelled)), *([sizes] if sizes else [])]
    lacking = dict.fromkeys((one.name for family in families for one in members(family)), torch.tensor(math.nan))
    whole = len(ranking.geometries) == len(source.layers)
    return replace(
        ranking,
        geometries=tuple(
            _with_values(one, lacking if one.undefined else _values(cache, one.layer.name, wanted))
            for one in ranking.geometries
        ),
        labels=source.labels,
        classes=source.classes,
        views=views,
        sizes=sizes_of(sizes),
        similarity=kept_similarity(source, cache) if whole else None,
    )


def _tasks(measurements: Measurements) -> Iterator[str]:
    """What is computed for these measurements beside the scores, which every ranking holds."""
    return (task for task in measurements.tasks() if task not in Measurements(resamples=0).tasks())


def _is_kept(cache: StatisticsCache, layers: Iterable[str], measurements: Measurements) -> bool:
    tasks = measurements.tasks()
    further = list(_tasks(measurements))
    return bool(further) and all(tasks[task].is_done(cache.get(layer, task)) for layer in layers for task in further)


def _kept_sizes(cache: StatisticsCache, layers: Iterable[str]) -> str:
    """The task that scores the most smaller samples, of those whose results are kept of every layer; empty: none."""
    tasks = [set(cache.tasks(layer)) for layer in layers]
    common = sorted(set.intersection(*tasks)) if tasks else []
    return max((task for task in common if sizes_of(task)), key=lambda task: len(sizes_of(task)), default="")


def _values(cache: StatisticsCache, layer: str, tasks: Iterable[str]) -> Values:
    return {name: value for task in tasks for name, value in (cache.get(layer, task) or {}).items()}


def _with_values(one: LayerGeometry, values: Mapping[str, torch.Tensor]) -> LayerGeometry:
    """A layer with further results; the numbers that its ranking holds stay as they are."""
    numbers = {name: float(value) for name, value in values.items() if value.ndim == 0}
    arrays = {name: value for name, value in values.items() if value.ndim}
    return replace(one, statistics={**numbers, **one.statistics}, arrays={**one.arrays, **arrays})
