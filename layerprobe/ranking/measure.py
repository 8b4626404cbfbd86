"""Every layer of a file measured, each from its Gram matrix; what was measured before is not computed again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.alignment import CentredKernel, centred_kernel, cka_matrix
from layerprobe.geometry.quality import measure
from layerprobe.geometry.resampling import score_deviations
from layerprobe.geometry.sizes import scores_at_sizes
from layerprobe.geometry.statistics import FAMILIES, VIEWS, Values, numbers
from layerprobe.ranking.cache import StatisticsCache
from layerprobe.ranking.grams import gram_of
from layerprobe.records import Gram, LayerMeasurement, Progress, Similarity, silent

_log = logging.getLogger(__name__)

_ALL = ""
"""Stands for all layers together where results are kept by layer."""


@dataclass(frozen=True)
class Wanted:
    """What to measure beside the scores.

    Attributes:
        families: further statistics, keys of ``FAMILIES`` in ``layerprobe.geometry.statistics``.
        views: what figures draw, keys of ``VIEWS`` there.
        resamples: how many times the sample is drawn again for the intervals, a multiple of four; 0: no intervals.
        sizes: images per class of smaller samples whose scores are wanted too.
        seed: of all draws.

    Raises:
        LayerprobeError: if one of them is unknown or malformed.
    """

    families: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    resamples: int = 200
    sizes: tuple[int, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := [family for family in self.families if family not in FAMILIES]:
            raise LayerprobeError(f"no statistics {unknown[0]!r}; --statistics takes all, or {', '.join(FAMILIES)}")
        if self.resamples % 4 or self.resamples < 0:
            raise LayerprobeError(f"--resamples is a multiple of four, or 0 for no intervals; not {self.resamples}")
        if any(size < 2 for size in self.sizes):
            raise LayerprobeError(f"--sizes are images per class, at least 2; not {min(self.sizes)}")

    @property
    def tasks(self) -> Mapping[str, Callable[[Gram], Values]]:
        """What is computed of a Gram matrix, by a name that holds all it depends on."""
        found: dict[str, Callable[[Gram], Values]] = {"scores": lambda gram: numbers(measure(gram))}
        found |= {name: FAMILIES[name] for name in self.families} | {name: VIEWS[name] for name in self.views}
        if self.resamples:
            deviations = partial(score_deviations, resamples=self.resamples, seed=self.seed)
            found[f"{self.resamples} resamples, seed {self.seed}"] = _named("deviations", deviations)
        if self.sizes:
            listed = ",".join(map(str, self.sizes))
            at_sizes = partial(scores_at_sizes, sizes=self.sizes, seed=self.seed)
            found[f"sizes {listed}, seed {self.seed}"] = _named("at sizes", at_sizes)
        return found


def _named(prefix: str, compute: Callable[[Gram], Values]) -> Callable[[Gram], Values]:
    return lambda gram: {f"{prefix} {name}": values for name, values in compute(gram).items()}


def measure_layers(
    source: FeatureFile | GramFile,
    wanted: Wanted,
    cache: StatisticsCache | None = None,
    device: torch.device | None = None,
    progress: Progress = silent,
) -> tuple[LayerMeasurement, ...]:
    """Measure every layer of a file.

    Args:
        source: the features, or their Gram matrices.
        wanted: what to measure.
        cache: results of earlier runs; new ones are put there, and saved, also when this run is interrupted.
        device: where the Gram matrices are computed; default: the CPU.
        progress: told before every layer.

    Raises:
        LayerprobeError: if the features hold NaN or infinite values, or a size exceeds that of a class.
    """
    least = int(torch.unique(source.labels, return_counts=True)[1].min())
    if wanted.sizes and max(wanted.sizes) > least:
        raise LayerprobeError(f"--sizes: {max(wanted.sizes)} images per class, but a class has {least}; leave it out")
    _warn_of_classes(source.labels)
    tasks = wanted.tasks
    with cache or StatisticsCache(None) as known:
        for done, stored in enumerate(source.layers):
            progress("rank", done, len(source.layers))
            name = stored.layer.name
            missing = [task for task in tasks if known.get(name, task) is None]
            if missing:
                gram = gram_of(source, stored, device)
                for task in missing:
                    known.put(name, task, tasks[task](gram))
        progress("rank", len(source.layers), len(source.layers))
        found = {
            stored.layer: {
                key: value for task in tasks for key, value in (known.get(stored.layer.name, task) or {}).items()
            }
            for stored in source.layers
        }
    return tuple(
        LayerMeasurement(
            layer,
            {name: float(value) for name, value in values.items() if value.ndim == 0},
            {name: value for name, value in values.items() if value.ndim},
        )
        for layer, values in found.items()
    )


def _warn_of_classes(labels: torch.Tensor) -> None:
    """Say what classes too small leave undefined."""
    counts = torch.unique(labels, return_counts=True)[1]
    if len(counts) == 1:
        _log.warning("there is one class alone: S, E, Q and what compares classes are not defined")
    if (alone := int((counts == 1).sum())) > 0:
        _log.warning("%d of %d classes have one image: S, I and Q are not defined", alone, len(counts))


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
