"""How alike layers are: linear CKA of every pair, within a file and between two."""

from __future__ import annotations

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.alignment import CentredKernel, centred_kernel, cka_matrix
from layerprobe.ranking.cache import StatisticsCache
from layerprobe.ranking.grams import gram_of
from layerprobe.records import Progress, Similarity, silent

_ALL = ""
"""Stands for all layers together where results are kept by layer."""


def layer_similarity(
    first: FeatureFile | GramFile,
    second: FeatureFile | GramFile | None = None,
    cache: StatisticsCache | None = None,
    device: torch.device | None = None,
    progress: Progress = silent,
) -> Similarity:
    """Linear CKA between the layers of two files, or of one file with each other.

    Takes 4 n^2 / 2 bytes of memory per layer: 50 MB for 5,000 images.

    Args:
        first: layers of the rows.
        second: layers of the columns, measured on the same images; None: those of ``first``.
        cache: results of earlier runs, where ``second`` is None.
        device: where the Gram matrices are computed; default: the CPU.
        progress: told before every layer.

    Raises:
        LayerprobeError: if the files hold other images, or features hold NaN or infinite values.
    """
    other = second or first
    _check_images(first, other)
    known = cache.get(_ALL, "cka") if cache and second is None else None
    if known is None:
        rows = _kernels(first, device, progress)
        columns = _kernels(other, device, progress) if second else rows
        known = {"cka": cka_matrix(rows, columns), "debiased": cka_matrix(rows, columns, debiased=True)}
        if cache and second is None:
            cache.put(_ALL, "cka", known)
            cache.save()
    return Similarity(
        first=tuple(stored.layer for stored in first.layers),
        second=tuple(stored.layer for stored in other.layers),
        names=(str(first.provenance["model"]), str(other.provenance["model"])),
        cka=known["cka"],
        debiased=known["debiased"],
        provenance={key: first.provenance.get(key) for key in ("dataset", "split", "population", "rows", "sample")},
    )


def _kernels(
    source: FeatureFile | GramFile, device: torch.device | None, progress: Progress
) -> tuple[CentredKernel, ...]:
    kernels = []
    for done, stored in enumerate(source.layers):
        progress(f"CKA, {source.path.name}", done, len(source.layers))
        kernels.append(centred_kernel(gram_of(source, stored, device)))
    progress(f"CKA, {source.path.name}", len(source.layers), len(source.layers))
    return tuple(kernels)


def _check_images(first: FeatureFile | GramFile, second: FeatureFile | GramFile) -> None:
    same = (
        first.provenance.get("split") == second.provenance.get("split")
        and torch.equal(first.image_rows, second.image_rows)
        and torch.equal(first.labels, second.labels)
        and first.image_paths == second.image_paths
    )
    if not same:
        raise LayerprobeError(
            f"{first.path} and {second.path} hold other images, or the same in another order; extract both with the "
            "same --data, --split, --samples and --seed"
        )
