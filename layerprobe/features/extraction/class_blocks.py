"""The second sample through the network: of each class, the inner products of its features, and no feature kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from layerprobe.data.loading import Pixels
from layerprobe.features.extraction.job import Job
from layerprobe.features.extraction.memory import allowed_memory, features_of, layer_groups
from layerprobe.features.hdf5.layout import FilePlan, SecondSample, format_size
from layerprobe.geometry.gram import NotFiniteError, gram_matrix
from layerprobe.records import Progress, StoredLayer, silent
from layerprobe.runtime.processes import Processes
from layerprobe.settings.extract import ExtractSettings

_log = logging.getLogger(__name__)


def class_blocks(
    job: Job, missing: npt.NDArray[np.bool_], config: ExtractSettings, processes: Processes, progress: Progress
) -> Iterator[tuple[int, StoredLayer, Tensor]]:
    """Compute the class blocks of the second sample, one class after another; none where the job has no such sample.

    The features of a class's images are kept in memory, of as many layers at a time as fit. A class that was begun is
    computed from its first image on, in the batches of an uninterrupted run.

    Args:
        job: what to extract.
        missing: (classes, layers) which blocks to compute; those that fall to this process are.
        config: how much memory features may take, and how many processes decode images.
        processes: that share the work, class by class.
        progress: told after every class.

    Yields:
        The class's place, a layer, and (n_c, n_c) float64 products of its features, centred on the class's mean; NaN
        where they are not finite.

    Raises:
        LayerprobeError: if a layer of one class doesn't fit the memory, or an image can't be read.
    """
    if job.plan.spectra is None:
        return
    memory = features_memory(config) / processes.count
    lacking = np.flatnonzero(missing.any(axis=1))
    progress("spectra of classes", len(missing) - len(lacking), len(missing))
    for done, number in enumerate(map(int, lacking[processes.index :: processes.count]), 1):
        layers = [stored for stored, lacks in zip(job.plan.layers, missing[number], strict=True) if lacks]
        yield from _blocks_of(_of_class(job, job.plan.spectra, number), number, layers, memory, config.workers)
        progress(
            "spectra of classes", min(len(missing) - len(lacking) + done * processes.count, len(missing)), len(missing)
        )


def _of_class(job: Job, sample: SecondSample, number: int) -> Job:
    """The extraction of the images of one class of the second sample alone."""
    images = sample.places.images(number)
    pixels = Pixels(job.images.dataset, sample.rows[images], job.images.preprocessing)
    return replace(job, images=pixels, plan=replace(job.plan, labels=None, rows=pixels.rows, spectra=None))


def _blocks_of(
    job: Job, number: int, layers: Sequence[StoredLayer], memory: float, workers: int
) -> Iterator[tuple[int, StoredLayer, Tensor]]:
    part = replace(job, layers={stored: job.layers[stored] for stored in layers})
    count = len(job.plan.rows)
    for group in layer_groups(part, memory, "--spectrum-samples"):
        for stored, columns in zip(group, features_of(part, group, workers, silent), strict=True):
            try:
                block = gram_matrix(columns, None, count, job.device).centred
            except NotFiniteError:
                block = torch.full((count, count), torch.nan, dtype=torch.float64)
            yield number, stored, block


def missing_blocks(plan: FilePlan) -> npt.NDArray[np.bool_]:
    """(classes, layers) of the second sample: all of them."""
    classes = len(plan.spectra.places.sizes) if plan.spectra else 0
    return np.ones((classes, len(plan.layers)), np.bool_)


def features_memory(config: ExtractSettings) -> float:
    """Bytes that features may take in memory."""
    return allowed_memory(config.memory)


def announce_spectra(job: Job, config: ExtractSettings) -> None:
    """Say which second sample there is, and what its blocks take.

    Raises:
        LayerprobeError: if a layer of its largest class doesn't fit the memory.
    """
    if (second := job.plan.spectra) is None:
        return
    largest = int(np.argmax(second.places.sizes))
    layer_groups(_of_class(job, second, largest), features_memory(config), "--spectrum-samples")
    _log.info(
        "spectra of the classes: from %d images of their own, %s: their class blocks take %s",
        len(second.labels),
        job.plan.provenance["spectrum_sample"]["how"],
        format_size(job.plan.spectra_size),
    )
