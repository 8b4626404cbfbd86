"""Where a ranking comes from: the features, what was measured of them, and how the intervals were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from layerprobe.geometry.catalogue import ALWAYS, UNMEASURED
from layerprobe.ranking.choose import Choice
from layerprobe.ranking.measure import Measurements

_SOURCE = (
    "model",
    "weights",
    "weights_key",
    "num_classes",
    "prefix_tokens",
    "weights_sha256",
    "adapted",
    "dataset",
    "split",
    "population",
    "rows",
    "sample",
    "spectrum_sample",
    "view",
    "preprocessing",
    "data_options",
    "dtype",
    "created",
    "layerprobe_version",
)


def with_score(measurements: Measurements, choice: Choice) -> Measurements:
    """What is to be measured, and what the layers are chosen by."""
    family = choice.score.family
    if family in (ALWAYS, UNMEASURED, *measurements.statistics):
        return measurements
    return replace(measurements, statistics=(*measurements.statistics, family))


def ranking_provenance(source: Mapping[str, Any], measurements: Measurements, choice: Choice) -> Mapping[str, Any]:
    """Of a ranking.

    Args:
        source: of the features.
        measurements: what is measured of them.
        choice: how many layers, by which score.
    """
    measured = with_score(measurements, choice)
    found = {key: value for key, value in source.items() if key in _SOURCE}
    found["statistics"] = sorted(measured.statistics)
    if measured.plugins:
        found["plugins"] = dict(measured.plugins)
    if measured.resamples:
        found |= {"resamples": measured.resamples, "level": choice.level, "seed": measured.seed}
    return found
