"""How alike layers are: linear CKA of every pair, within a file and between two."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from layerprobe.catalogue import load_target
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.alignment import CentredKernel, centred_kernel, cka_matrix, undefined_kernel
from layerprobe.geometry.catalogue import MEASURES, Measure
from layerprobe.geometry.half_draws import halves_of
from layerprobe.geometry.measure import Values
from layerprobe.geometry.pair_deviations import matrices_of_halves, matrix_range
from layerprobe.ranking.cache import StatisticsCache
from layerprobe.ranking.grams import UndefinedLayerError, gram_of
from layerprobe.ranking.same_images import check_images
from layerprobe.records import Comparison, Progress, Similarity, StoredLayer, silent
from layerprobe.records.cautions import LEAST_FOR_INTERVALS
from layerprobe.records.geometry import ValueRange

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairDraws:
    """How the images are drawn again for the intervals of a comparison.

    Attributes:
        resamples: how often, a multiple of four.
        level: of the intervals.
        seed: of the draws.
    """

    resamples: int
    level: float
    seed: int


_ALL = ""
"""Stands for all layers together where results are kept by layer."""
_TASK = "cka"
_IMAGES = ("dataset", "split", "population", "rows", "sample")
"""What a comparison says of the images."""


def layer_similarity(
    first: FeatureFile | GramFile,
    second: FeatureFile | GramFile | None = None,
    cache: StatisticsCache | None = None,
    device: torch.device | None = None,
    progress: Progress = silent,
    layers: Sequence[StoredLayer] | None = None,
    undefined: Collection[str] = (),
) -> Similarity:
    """Compute linear CKA between the layers of two files, or of one file with each other.

    Takes 4 n^2 / 2 bytes of memory per layer: 50 MB for 5,000 images.

    Args:
        first: layers of the rows.
        second: layers of the columns, measured on the same images; None: those of ``first``.
        cache: results of earlier runs, where ``second`` is None.
        device: where the Gram matrices are computed; default: the CPU.
        progress: told before every layer.
        layers: those of ``first`` that are compared with each other, where ``second`` is None; default: all.
        undefined: names of layers that are known to have features that are not finite. Of others a warning is logged.

    Returns:
        The similarities; NaN for a layer whose features are not finite.

    Raises:
        LayerprobeError: if the files hold other images.
    """
    other = second or first
    check_images(first, other)
    ours = first.layers if layers is None else tuple(layers)
    theirs = second.layers if second else ours
    kept = cache if second is None and ours == first.layers else None
    known = kept.get(_ALL, _TASK) if kept else None
    if known is None:
        rows = _kernels(first, ours, undefined, device, progress)
        columns = _kernels(second, theirs, undefined, device, progress) if second else rows
        known = {"cka": cka_matrix(rows, columns), "debiased": cka_matrix(rows, columns, debiased=True)}
        if kept:
            kept.put(_ALL, _TASK, known)
            kept.save()
    return _similarity((first, other), (ours, theirs), known)


def compare_neighbourhoods(
    first: FeatureFile | GramFile,
    second: FeatureFile | GramFile | None,
    measure: str,
    device: torch.device | None = None,
    progress: Progress = silent,
    draws: PairDraws | None = None,
) -> Comparison:
    """Compare the layers of two files, or of one file with each other, by the neighbourhoods of the images.

    Takes 4 n^2 bytes of memory per layer: 100 MB for 5,000 images.

    Args:
        first: layers of the rows.
        second: layers of the columns, measured on the same images; None: those of ``first``.
        measure: a name in ``layerprobe.geometry.catalogue.MEASURES``.
        device: where the Gram matrices are computed; default: the CPU.
        progress: told before every layer, and before every half of the images.
        draws: for the intervals; None: there are none.

    Returns:
        The comparison; NaN for a layer whose features are not finite, of which a warning is logged.

    Raises:
        LayerprobeError: if the files hold other images.
    """
    entry = MEASURES.find(measure)
    other = second or first
    check_images(first, other)
    rows = _prepared(first, entry, device, progress)
    columns = _prepared(second, entry, device, progress) if second else rows
    shape = len(rows), len(columns)
    known = [[place for place, one in enumerate(side) if one is not None] for side in (rows, columns)]
    values, found = torch.full(shape, torch.nan, dtype=torch.float64), None
    if all(known):
        ours = [rows[place] for place in known[0]]
        theirs = ours if rows is columns else [columns[place] for place in known[1]]
        whole = partial(_among_all, shape, known)
        part = entry.load()(ours, theirs)
        values = whole(part)
        found = _range(part, ours, theirs, entry, draws, first, progress) if draws else None
        found = replace(found, low=whole(found.low), high=whole(found.high)) if found else None
    return Comparison(
        measure=measure,
        first=tuple(stored.layer for stored in first.layers),
        second=tuple(stored.layer for stored in other.layers),
        names=(str(first.provenance["model"]), str(other.provenance["model"])),
        values=values,
        provenance={key: first.provenance.get(key) for key in _IMAGES},
        range=found,
    )


def _among_all(shape: tuple[int, int], known: Sequence[Sequence[int]], part: torch.Tensor) -> torch.Tensor:
    """The values of some layers among those of all, which are NaN."""
    values = torch.full(shape, torch.nan, dtype=torch.float64)
    values[torch.tensor(known[0])[:, None], torch.tensor(known[1])] = part
    return values


def _range(
    values: torch.Tensor,
    ours: Sequence[Any],
    theirs: Sequence[Any],
    measure: Measure,
    draws: PairDraws,
    source: FeatureFile | GramFile,
    progress: Progress,
) -> ValueRange | None:
    """The intervals of a comparison; None, with a warning, for fewer images than they need."""
    least = min(torch.bincount(source.labels).tolist()) if source.labels is not None else source.header.rows
    if least < LEAST_FOR_INTERVALS:
        _log.warning("there are no intervals: the images of a class of %s are too few to be halved", source.path)
        return None
    halves = halves_of(source.header.rows, source.labels, draws.resamples, draws.seed)
    restrict = load_target(measure.restrict)
    found: list[torch.Tensor] = []
    for matrix in matrices_of_halves(ours, theirs, measure.load(), restrict, halves):
        progress("halves of the images compared", len(found), len(halves))
        found.append(matrix)
    progress("halves of the images compared", len(found), len(halves))
    return matrix_range(values, torch.stack(found), draws.level)


def _prepared(
    source: FeatureFile | GramFile, measure: Measure, device: torch.device | None, progress: Progress
) -> list[Any]:
    """What the comparison needs of every layer; None of one whose features are not finite."""
    prepare, found = load_target(measure.prepare), []
    for done, stored in enumerate(source.layers):
        progress(f"{measure.label}, {source.path.name}", done, len(source.layers))
        try:
            found.append(prepare(gram_of(source, stored, device)))
        except UndefinedLayerError as error:
            _log.warning("%s", error)
            found.append(None)
    progress(f"{measure.label}, {source.path.name}", len(source.layers), len(source.layers))
    return found


def kept_similarity(source: FeatureFile | GramFile, cache: StatisticsCache) -> Similarity | None:
    """How alike the layers of a file are, from results of earlier runs; None: it is not kept."""
    known = cache.get(_ALL, _TASK)
    return _similarity((source, source), (source.layers, source.layers), known) if known else None


def _similarity(
    sources: tuple[FeatureFile | GramFile, FeatureFile | GramFile],
    layers: tuple[Sequence[StoredLayer], Sequence[StoredLayer]],
    known: Values,
) -> Similarity:
    first, second = (tuple(stored.layer for stored in part) for part in layers)
    source = sources[0].provenance
    return Similarity(
        first=first,
        second=second,
        names=(str(source["model"]), str(sources[1].provenance["model"])),
        cka=known["cka"],
        debiased=known["debiased"],
        provenance={key: source.get(key) for key in _IMAGES},
    )


def _kernels(
    source: FeatureFile | GramFile,
    layers: Sequence[StoredLayer],
    undefined: Collection[str],
    device: torch.device | None,
    progress: Progress,
) -> tuple[CentredKernel, ...]:
    kernels = []
    for done, stored in enumerate(layers):
        progress(f"CKA, {source.path.name}", done, len(layers))
        if stored.layer.name in undefined:
            kernels.append(undefined_kernel(source.header.rows))
            continue
        try:
            kernels.append(centred_kernel(gram_of(source, stored, device)))
        except UndefinedLayerError as error:
            _log.warning("%s", error)
            kernels.append(undefined_kernel(source.header.rows))
    progress(f"CKA, {source.path.name}", len(layers), len(layers))
    return tuple(kernels)
