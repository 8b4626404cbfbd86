"""A feature file measured layer by layer; which layers, by which score; the ranking file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from layerprobe.errors import LayerprobeError
from layerprobe.features.file import FeatureFile
from layerprobe.features.gram_file import GramFile
from layerprobe.geometry.quality import measure
from layerprobe.geometry.resampling import interval, score_deviations, top_shares
from layerprobe.geometry.statistics import FAMILIES
from layerprobe.grams import gram_of
from layerprobe.types import LayerGeometry, Progress, Ranking, silent

SCORES = {
    "quality": "knowledge quality Q = S + sqrt(I * E)",
    "separation": "S, intra-class minus inter-class cosine",
    "information": "I, spread of each class's features",
    "efficiency": "E, gap between classes relative to feature length",
}
"""The scores that layers can be chosen by."""

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

    Args:
        source: the features, or their Gram matrices.
        top: k, how many layers to choose.
        by: the score, a key of ``SCORES``.
        resamples: how many times the sample is drawn again for the intervals, a multiple of four; 0: no intervals.
        level: of the intervals, between 0 and 1.
        seed: of those draws.
        families: further statistics, keys of ``FAMILIES`` in ``layerprobe.geometry.statistics``.
        device: where the Gram matrices are computed; default: the CPU.
        progress: told after every layer.

    Raises:
        LayerprobeError: if k exceeds the number of layers that have a score, or the score is unknown, or the
            features hold NaN or infinite values.
    """
    layers = source.layers
    if by not in SCORES:
        raise LayerprobeError(f"no score {by!r}; --by is one of {', '.join(SCORES)}")
    if not 1 <= top <= len(layers):
        raise LayerprobeError(f"--top is {top}, but {source.path} has {len(layers)} layers; choose 1 to {len(layers)}")
    if unknown := [family for family in families if family not in FAMILIES]:
        raise LayerprobeError(f"no statistics {unknown[0]!r}; --statistics takes {', '.join(FAMILIES)}")
    if resamples % 4 or resamples < 0:
        raise LayerprobeError(f"--resamples is a multiple of four, or 0 for no intervals; not {resamples}")
    if not 0 < level < 1:
        raise LayerprobeError(f"--level is between 0 and 1, not {level}")
    geometries, deviations = [], {}
    for done, stored in enumerate(layers):
        progress("rank", done, len(layers))
        gram = gram_of(source, stored, device)
        statistics = measure(gram)
        for family in families:
            statistics |= FAMILIES[family](gram)
        moved = score_deviations(gram, resamples, seed) if resamples else {}
        intervals = {score: interval(statistics[score], moved[score], level) for score in moved}
        geometries.append(LayerGeometry(stored.layer, statistics, intervals))
        if resamples:
            deviations[stored.layer.name] = moved[by]
    progress("rank", len(layers), len(layers))
    provenance = {key: value for key, value in source.provenance.items() if key in _PROVENANCE}
    provenance["families"] = list(families)
    if not resamples:
        return Ranking(tuple(geometries), by, select(tuple(geometries), top, by), provenance)
    provenance |= {"resamples": resamples, "level": level, "seed": seed}
    return _with_uncertainty(geometries, deviations, top, by, provenance)


def _with_uncertainty(
    geometries: list[LayerGeometry],
    deviations: Mapping[str, Tensor],
    top: int,
    by: str,
    provenance: Mapping[str, Any],
) -> Ranking:
    """How often each layer is among the chosen, and which can't be told apart from the last of those."""
    values = {geometry.layer.name: geometry.statistics[by] for geometry in geometries}
    shares = top_shares(deviations, values, top)
    shared = tuple(replace(geometry, top_share=shares[geometry.layer.name]) for geometry in geometries)
    selected = select(shared, top, by)
    lowest = min(selected, key=values.__getitem__)
    undecided = []
    for name in values.keys() - set(selected):
        difference = interval(
            values[lowest] - values[name], deviations[lowest] - deviations[name], float(provenance["level"])
        )
        if difference.low <= 0:
            undecided.append(name)
    in_order = tuple(name for name in values if name in undecided)
    return Ranking(shared, by, selected, provenance, in_order)


def select(geometries: tuple[LayerGeometry, ...], top: int, by: str) -> tuple[str, ...]:
    """Names of the ``top`` layers with the highest score, in order of depth. Layers whose score is NaN don't count.

    Raises:
        LayerprobeError: if fewer than ``top`` layers have a score.
    """
    scored = [geometry for geometry in geometries if not math.isnan(geometry.statistics[by])]
    if len(scored) < top:
        raise LayerprobeError(
            f"only {len(scored)} of {len(geometries)} layers have a value of {by!r}, fewer than --top {top}: "
            "the sample needs two images in each of two classes at least"
        )
    best = sorted(scored, key=lambda geometry: geometry.statistics[by], reverse=True)[:top]
    return tuple(g.layer.name for g in sorted(best, key=lambda geometry: geometry.layer.index))


def ranking_path(features: Path) -> Path:
    """Where the ranking of a feature file is written: ``NAME.ranking.json`` beside ``NAME.h5``."""
    return features.with_name(f"{features.stem}.ranking.json")


def save_ranking(ranking: Ranking, path: Path) -> None:
    """Write a ranking file; values that are NaN become null."""
    values = _null_for_nan(ranking.to_dict())
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _null_for_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _null_for_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_null_for_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
