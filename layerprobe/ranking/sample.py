"""What a sample permits: which scores, and whether intervals. Looked at before any features are read."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import torch
from torch import Tensor

from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction.memory import allowed_memory
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.catalogue import (
    ALWAYS,
    DEVIATIONS,
    FAMILIES,
    SCORES,
    VIEWS,
    Quantity,
    Statistic,
    ingredients,
    members,
    needs_classes,
    needs_matrix,
    needs_views,
)
from layerprobe.ranking.grams import has_room, matrix_memory
from layerprobe.ranking.measure import Measurements
from layerprobe.records.cautions import LEAST_FOR_INTERVALS
from layerprobe.settings.machine import BYTES_PER_GB

_log = logging.getLogger(__name__)

_ENTROPIES = "class-entropies"
"""The quantity that comes from the second sample where there is one."""


def permitted(measurements: Measurements, source: FeatureFile | GramFile, memory: float | None = None) -> Measurements:
    """The measurements without what the sample does not allow; a warning says so.

    There are no intervals where a class has too few images for them. Of images without labels nothing is measured
    that needs classes; of more images than a Gram matrix in memory can have, nothing that needs one.

    Args:
        measurements: what is asked for.
        source: the features, or their Gram matrices.
        memory: bytes that a Gram matrix may take; None: half of what is available.

    Raises:
        LayerprobeError: if smaller samples of every class are asked for, and there are no classes, or no room.
    """
    if not has_room(source, memory or allowed_memory()):
        measurements = _without_matrix(measurements, source)
    if source.labels is None:
        return _without_classes(measurements, source)
    sizes = [_sizes(source.labels), *([_sizes(source.spectra.labels)] if source.spectra else [])]
    least = min(int(size.min()) for size in sizes)
    if not measurements.resamples or least >= LEAST_FOR_INTERVALS:
        return measurements
    _log.warning(
        "there are no intervals: the smallest class of %s has %d images, and intervals need %d",
        source.path,
        least,
        LEAST_FOR_INTERVALS,
    )
    return replace(measurements, resamples=0)


def _without_classes(measurements: Measurements, source: FeatureFile | GramFile) -> Measurements:
    if measurements.sizes:
        raise LayerprobeError(
            f"--sizes are images per class, and those of {source.header.dataset} have no labels; leave it out"
        )
    resampled = any(family in DEVIATIONS for family in measurements.statistics)
    allowed = replace(measurements, resamples=measurements.resamples if resampled else 0, labelled=False)
    if measurements.labelled:  # else it was said
        families = (ALWAYS, *measurements.statistics)
        entries = [*(one for name in families for one in members(name)), *(VIEWS[name] for name in measurements.views)]
        lacking = [_short_name(one) for one in entries if not allowed.allows(one)]
        _log.warning(
            "the images of %s have no labels: %s need classes, and are not measured",
            source.header.dataset,
            ", ".join(filter(None, lacking)),
        )
    return allowed


def _without_matrix(measurements: Measurements, source: FeatureFile | GramFile) -> Measurements:
    needed = _memory_needed(source)
    if measurements.sizes:
        raise LayerprobeError(f"--sizes: {needed}; or leave it out")
    allowed = replace(measurements, matrix=False)
    families = [name for name in measurements.statistics if not all(map(needs_matrix, members(name)))]
    lacking = [FAMILIES.find(name).label for name in measurements.statistics if name not in families]
    lacking += [VIEWS[name].label for name in measurements.views if needs_matrix(VIEWS[name])]
    if lacking:
        _log.warning("%s: not measured, since %s", ", ".join(lacking), needed)
    views = tuple(name for name in measurements.views if not needs_matrix(VIEWS[name]))
    return replace(allowed, statistics=tuple(families), views=views)


def _memory_needed(source: FeatureFile | GramFile) -> str:
    """Why there is no Gram matrix in memory, and what would help."""
    rows = source.header.rows
    size = math.ceil(matrix_memory(rows) / BYTES_PER_GB * 10) / 10
    return f"the Gram matrix of {rows:,} images takes {size:g} GB of memory; allow that with --memory {size:g}"


def _short_name(entry: Quantity) -> str:
    """What a table calls a statistic that it shows by itself, or a view is called."""
    if isinstance(entry, Statistic):
        return entry.symbol if entry.shown else ""
    return entry.label


def check_score(
    score: Statistic, source: FeatureFile | GramFile, has_views: bool = False, memory: float | None = None
) -> None:
    """Refuse a score that the sample leaves undefined in every layer, or that there is no room for.

    Args:
        score: that layers are chosen by.
        source: the sample.
        has_views: whether there is a second view of the images.
        memory: bytes that a Gram matrix may take; None: half of what is available.

    Raises:
        LayerprobeError: if a class has too few images for the score, there are too few classes, there is one view,
            or no room.
    """
    if not (reason := _lack(score, source, has_views)):
        if needs_matrix(score) and not has_room(source, memory or allowed_memory()):
            raise LayerprobeError(f"--by {score.name}: {_memory_needed(source)}, or choose another score")
        return
    others = [one.name for one in SCORES.values() if not _lack(one, source, has_views)]
    raise LayerprobeError(f"--by {score.name}: {reason}; this sample allows {', '.join(others)}")


def _lack(score: Statistic, source: FeatureFile | GramFile, has_views: bool) -> str:
    """Why no layer can have a score; empty where some may."""
    if needs_views(score) and not has_views:
        return f"{score.label} compares two views of the images; --second-view FILE names the features of another one"
    if source.labels is None:
        return f"the {score.label} needs classes, and the images have no labels" if needs_classes(score) else ""
    return next(filter(None, (_lack_of(entry, source) for entry in ingredients(score))), "")


def _lack_of(entry: Quantity, source: FeatureFile | GramFile) -> str:
    second = source.spectra if _ENTROPIES in entry.takes else None
    option, labels = ("--spectrum-samples", second.labels) if second else ("--samples", source.labels)
    sizes = _sizes(labels) if labels is not None else torch.empty(0, dtype=torch.int64)
    if len(sizes) < entry.classes:
        return f"the {entry.label} needs {entry.classes} classes, and the sample has {len(sizes)}"
    few = int((sizes < entry.images).sum())
    if not few:
        return ""
    enough = entry.images if second else entry.images * len(sizes)
    return (
        f"the {entry.label} needs {entry.images} images of every class, and {few} of {len(sizes)} classes have fewer; "
        f"extract again with {option} {enough} or more"
    )


def _sizes(labels: Tensor) -> Tensor:
    """How many images every class has."""
    sizes: Tensor = torch.unique(labels, return_counts=True)[1]
    return sizes
