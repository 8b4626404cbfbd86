"""A feature file measured layer by layer, and its best layers chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.ranking.cache import StatisticsCache
from layerprobe.ranking.choose import SCORES, Choice, check_count, choose
from layerprobe.ranking.measure import Wanted, layer_similarity, measure_layers
from layerprobe.records import NetworkGeometry, Progress, Ranking, silent

_PROVENANCE = (
    "model",
    "weights",
    "weights_sha256",
    "dataset",
    "split",
    "population",
    "rows",
    "sample",
    "preprocessing",
    "dtype",
    "created",
    "layerprobe_version",
)


def rank(
    source: FeatureFile | GramFile,
    top: int = 4,
    by: str = "quality",
    resamples: int = 200,
    level: float = 0.9,
    seed: int = 0,
    families: Sequence[str] = (),
    device: torch.device | None = None,
    progress: Progress = silent,
) -> Ranking:
    """Measure every layer of a feature file and choose the ``top`` layers with the highest score.

    Results are kept in memory alone; the command keeps them beside the file.

    Args:
        source: the features, or their Gram matrices.
        top: k, how many layers to choose.
        by: the score, a key of ``SCORES``.
        resamples: how many times the sample is drawn again for the intervals, a multiple of four; 0: no intervals.
        level: of the intervals, between 0 and 1.
        seed: of those draws.
        families: further statistics, keys of ``FAMILIES`` in ``layerprobe.geometry.statistics``.
        device: where the Gram matrices are computed; default: the CPU.
        progress: told before every layer.

    Raises:
        LayerprobeError: if k exceeds the number of layers that have a score, or the score is unknown, or the
            features hold NaN or infinite values.
    """
    wanted = Wanted(tuple(families), (), resamples, (), seed)
    return rank_network(source, Choice(top, by, level), wanted, device=device, progress=progress).ranking


def rank_network(
    source: FeatureFile | GramFile,
    choice: Choice,
    wanted: Wanted,
    similarity: bool = False,
    cache: StatisticsCache | None = None,
    device: torch.device | None = None,
    progress: Progress = silent,
) -> NetworkGeometry:
    """Measure every layer, choose, and keep what figures show.

    Args:
        source: the features, or their Gram matrices.
        choice: how many layers, by which score. What the score needs is measured too.
        wanted: what to measure beside the scores.
        similarity: whether to compare the layers with each other: linear CKA.
        cache: results of earlier runs.
        device: where the Gram matrices are computed; default: the CPU.
        progress: told before every layer.

    Raises:
        LayerprobeError: as ``rank``.
    """
    check_count(choice, len(source.layers))
    wanted = with_score(wanted, choice)
    measurements = measure_layers(source, wanted, cache, device, progress)
    return NetworkGeometry(
        ranking=choose(measurements, choice, ranking_provenance(source.provenance, wanted, choice)),
        measurements=measurements,
        labels=source.labels,
        classes=source.classes,
        sizes=wanted.sizes,
        similarity=layer_similarity(source, cache=cache, device=device, progress=progress) if similarity else None,
    )


def with_score(wanted: Wanted, choice: Choice) -> Wanted:
    """What is wanted, and the statistic that layers are chosen by."""
    own = SCORES[choice.by].family
    return wanted if own is None or own in wanted.families else replace(wanted, families=(*wanted.families, own))


def ranking_provenance(source: Mapping[str, Any], wanted: Wanted, choice: Choice) -> Mapping[str, Any]:
    """Where the features came from, what was measured, and how the intervals were made."""
    found = {key: value for key, value in source.items() if key in _PROVENANCE}
    found["families"] = sorted(with_score(wanted, choice).families)
    if wanted.resamples:
        found |= {"resamples": wanted.resamples, "level": choice.level, "seed": wanted.seed}
    return found
