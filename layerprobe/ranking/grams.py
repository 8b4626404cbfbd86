"""The Gram matrices of a network's layers: from a file, or straight from a forward pass."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction.class_blocks import announce_spectra, class_blocks, features_memory, missing_blocks
from layerprobe.features.extraction.job import Job, prepare, warn_of_few_images
from layerprobe.features.extraction.memory import features_of, layer_groups
from layerprobe.features.hdf5.gram_file import FORMAT as GRAM_FORMAT
from layerprobe.features.hdf5.gram_file import GramFile, write_grams
from layerprobe.features.hdf5.layout import format_size
from layerprobe.features.hdf5.opening import check_replaceable_features, file_format
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.class_blocks import ClassBlocks
from layerprobe.geometry.gram import TOO_LARGE, NotFiniteError, gram_matrix
from layerprobe.geometry.strips import Summary
from layerprobe.geometry.tiles import TiledGram, tiled_gram
from layerprobe.records import AnyGram, Gram, Progress, StoredLayer, silent
from layerprobe.runtime.devices import resolve_device
from layerprobe.runtime.lack_of_memory import explaining_lack_of_memory
from layerprobe.runtime.processes import Processes
from layerprobe.settings.extract import ExtractSettings

_log = logging.getLogger(__name__)

LARGE = 8192
"""Images beyond which strips of a Gram matrix are no slower than all of it."""


class UndefinedLayerError(LayerprobeError):
    """A layer has no statistics, because its features are not finite. Other layers of the file can have some.

    Attributes:
        reason: what its features hold.
    """

    def __init__(self, stored: StoredLayer, path: Path, reason: str) -> None:
        super().__init__(f"layer {stored.layer.name!r} of {path.name} has {reason}: it has no statistics")
        self.reason = reason


def is_gram_file(path: Path) -> bool:
    """Whether a file holds Gram matrices."""
    return file_format(path) == GRAM_FORMAT


def described_source(path: Path) -> str:
    """What tells the features of a file from those of another.

    Raises:
        LayerprobeError: if it holds none.
    """
    with open_source(path) as source:
        return json.dumps([source.provenance[key] for key in ("model", "weights_sha256", "created")])


def open_source(path: Path) -> FeatureFile | GramFile:
    """Open a feature file or a Gram file, whichever it is.

    Raises:
        LayerprobeError: if it is neither.
    """
    return GramFile(path) if is_gram_file(path) else FeatureFile(path)


def gram_of(source: FeatureFile | GramFile, stored: StoredLayer, device: torch.device | None = None) -> Gram:
    """Get the Gram matrix of one layer of a file, with the class blocks of the second sample if it has one.

    Args:
        source: the file.
        stored: the layer.
        device: where the products are taken; default: the CPU.

    Raises:
        UndefinedLayerError: if the features hold NaN or infinite values, or values too large for their products.
        LayerprobeError: if they are not what was written.
    """
    try:
        gram = source.gram(stored) if isinstance(source, GramFile) else _gram_of_features(source, stored, device)
    except NotFiniteError as error:
        raise UndefinedLayerError(stored, source.path, str(error)) from None
    _check_blocks(gram, stored, source.path)
    return gram


def matrix_memory(images: int) -> float:
    """Bytes that a Gram matrix takes with what statistics make of it."""
    return 24.0 * images**2


def has_room(source: FeatureFile | GramFile, memory: float) -> bool:
    """Whether the Gram matrix of a layer may lie in memory; that of a Gram file always does."""
    return isinstance(source, GramFile) or matrix_memory(source.header.rows) <= memory


def in_strips(source: FeatureFile | GramFile, memory: float) -> bool:
    """Whether what allows it is computed from strips of the Gram matrix."""
    return not has_room(source, memory) or (not isinstance(source, GramFile) and source.header.rows > LARGE)


def swept_gram(
    source: FeatureFile,
    stored: StoredLayer,
    summaries: Callable[[AnyGram], Sequence[Summary]],
    memory: float,
    device: torch.device | None = None,
) -> TiledGram:
    """Get the summaries of the Gram matrix of one layer, which never lies in memory as a whole.

    Args:
        source: the file.
        stored: the layer.
        summaries: which, given the matrix.
        memory: bytes that features and products may take.
        device: where the products are taken; default: the CPU.

    Raises:
        UndefinedLayerError, LayerprobeError: as ``gram_of``.
    """
    source.check(stored.layer.index)
    population, blocks = int(source.provenance["population"]), source.class_blocks(stored.layer.index)
    columns = partial(source.columns, stored.layer.index)
    left = memory - (0 if source.labels is None else ClassBlocks.memory(source.labels))
    if left < 0:
        raise LayerprobeError(
            f"the products of images of the same class take {format_size(memory - left)}, more than the "
            f"{format_size(memory)} of memory that is allowed; raise --memory to {math.ceil((memory - left) / 1e9 + 1)}"
        )
    try:
        gram = tiled_gram(columns, source.labels, population, left, device, blocks)
        gram.gather(summaries(gram))
    except NotFiniteError as error:
        raise UndefinedLayerError(stored, source.path, str(error)) from None
    _check_blocks(gram, stored, source.path)
    return gram


def _check_blocks(gram: AnyGram, stored: StoredLayer, path: Path) -> None:
    if gram.class_blocks and not all(bool(block.isfinite().all()) for block in gram.class_blocks):
        raise UndefinedLayerError(stored, path, "values that are not finite in the sample of spectra")


def _gram_of_features(source: FeatureFile, stored: StoredLayer, device: torch.device | None) -> Gram:
    source.check(stored.layer.index)
    columns, population = source.columns(stored.layer.index), int(source.provenance["population"])
    gram = gram_matrix(columns, source.labels, population, device)
    return replace(gram, class_blocks=source.class_blocks(stored.layer.index))


@explaining_lack_of_memory
def extract_grams(config: ExtractSettings, memory: float | None = None, progress: Progress = silent) -> GramFile:
    """Compute the Gram matrix of every layer in a forward pass, and write no features.

    The products need the features of all images at once. So these are kept in memory, of as many layers at a time as
    fit, and the network runs once for each such group of layers.

    Args:
        config: what to extract.
        memory: bytes that features may take; None: what the settings say, else half of what is free.
        progress: told while images pass through.

    Returns:
        The finished file, open for reading.

    Raises:
        LayerprobeError: if the input is wrong, the output exists, or a layer doesn't fit the memory.
    """
    if config.output.exists() and not config.overwrite:
        raise LayerprobeError(f"{config.output} exists; --overwrite replaces it, or name another --output")
    check_replaceable_features(config.output)
    device = resolve_device(config.device)
    job = prepare(config, device, progress=progress)
    groups = layer_groups(job, memory or features_memory(config))
    passes = "1 pass" if len(groups) == 1 else f"{len(groups)} passes"
    n = len(job.plan.rows)
    size = format_size(len(job.plan.layers) * n * (n + 1) * 2)
    _log.info("Gram matrices of %d layers of %d images in %s take %s", len(job.plan.layers), n, passes, size)
    announce_spectra(job, config)
    warn_of_few_images(job)
    blocks = class_blocks(job, missing_blocks(job.plan), config, Processes(), progress)
    write_grams(config.output, job.plan, _grams(job, groups, config.workers, device, progress), blocks)
    return GramFile(config.output)


def _grams(
    job: Job, groups: list[tuple[StoredLayer, ...]], workers: int, device: torch.device, progress: Progress
) -> Iterator[tuple[StoredLayer, Gram | NotFiniteError]]:
    labels = None if job.plan.labels is None else torch.from_numpy(job.plan.labels)
    population = int(job.plan.provenance["population"])
    for group in groups:
        for stored, columns in zip(group, features_of(job, group, workers, progress), strict=True):
            try:
                yield stored, gram_matrix(columns, labels, population, device)
            except NotFiniteError as error:
                if TOO_LARGE in str(error):  # of features that are not finite themselves it was said when they came
                    _log.warning("layer %r has %s. It will have no statistics", stored.layer.name, error)
                yield stored, error
