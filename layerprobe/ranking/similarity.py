"""How alike layers are: linear CKA of every pair, within a file and between two."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.alignment import CentredKernel, centred_kernel, cka_matrix, undefined_kernel
from layerprobe.geometry.measure import Values
from layerprobe.ranking.cache import StatisticsCache
from layerprobe.ranking.grams import UndefinedLayerError, gram_of
from layerprobe.records import Progress, Similarity, StoredLayer, silent

_log = logging.getLogger(__name__)

_ALL = ""
"""Stands for all layers together where results are kept by layer."""
_TASK = "cka"


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
    _check_images(first, other)
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
        provenance={key: source.get(key) for key in ("dataset", "split", "population", "rows", "sample")},
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


def _check_images(first: FeatureFile | GramFile, second: FeatureFile | GramFile) -> None:
    same = (
        first.provenance.get("split") == second.provenance.get("split")
        and torch.equal(first.image_rows, second.image_rows)
        and _same_labels(first.labels, second.labels)
        and first.image_paths == second.image_paths
    )
    if not same:
        raise LayerprobeError(
            f"{first.path} and {second.path} hold other images, or the same in another order; extract both with the "
            "same --data, --split, --samples and --seed"
        )


def _same_labels(first: torch.Tensor | None, second: torch.Tensor | None) -> bool:
    """Whether two files say the same of the classes of their images, or one of them says nothing."""
    return first is None or second is None or torch.equal(first, second)
