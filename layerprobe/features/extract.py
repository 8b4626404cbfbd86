"""The one forward pass: images through a model, every layer into one file."""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.loading import Batch, Pixels, batches, make_loader
from layerprobe.data.preprocessing import normalize
from layerprobe.data.sampling import Sample, all_rows, balanced_sample
from layerprobe.devices import resolve_device
from layerprobe.errors import LayerprobeError
from layerprobe.features.config import ExtractConfig
from layerprobe.features.file import FeatureFile
from layerprobe.features.lanes import Turns, divide_cores, in_threads
from layerprobe.features.layout import FilePlan, check_dtype, create_file, format_size
from layerprobe.features.processes import Processes, join_processes
from layerprobe.features.reduce import Step, plan_reduction
from layerprobe.features.resume import file_state, open_existing, recheck_rows
from layerprobe.features.storing import RowStore, copies_from
from layerprobe.features.writer import FeatureFileWriter
from layerprobe.models.capture import Capture
from layerprobe.models.channels_last import prefer_channels_last
from layerprobe.models.selection import find_layers
from layerprobe.models.tokens import token_layout
from layerprobe.resolve import Network, load_network
from layerprobe.types import Progress, StoredLayer, silent

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """A configuration turned into objects."""

    images: Pixels
    network: Network
    sample: Sample
    layers: Mapping[StoredLayer, tuple[Step, ...]]
    plan: FilePlan


def extract(config: ExtractConfig, progress: Progress = silent) -> FeatureFile:
    """Run a class-balanced sample of images through a model and write the features of its layers.

    An unfinished file of the same extraction is gone on with, a complete one is left as it is. Under
    ``accelerate launch`` or ``torchrun`` the images are divided among the processes.

    Returns:
        The finished file, open for reading.

    Raises:
        LayerprobeError: if the input is wrong, something else lies at the output, the disk is too small or full, or a
            value doesn't fit float16. Rows that were written by then stay in the file.
    """
    _check_output(config)
    processes = join_processes(config.device)
    device = resolve_device(config.device)
    job = _prepare(config, device)
    if processes.is_main:
        _prepare_file(config, job, progress)
    processes.wait()
    with FeatureFile(config.output, unfinished=True) as file:
        complete = file.complete
    if not complete:
        _fill(config, job, device, processes, progress)
    return FeatureFile(config.output)


def _check_output(config: ExtractConfig) -> None:
    check_dtype(config.dtype)
    if config.output.is_dir():
        raise LayerprobeError(f"{config.output} is a folder; --output names the HDF5 file to write")
    if config.output.exists() and not config.overwrite:
        open_existing(config.output).close()


def _prepare(config: ExtractConfig, device: torch.device) -> _Job:
    dataset = config.data.open(config.split)
    sample = _draw(config, dataset)
    network = load_network(config.model, config.data, dataset)
    layers = find_layers(network.layers, config.layers, network.name)
    tokens = token_layout(network.module, network.preprocessing.image_size)
    stored = plan_reduction(layers, config.reduction, tokens)
    images = Pixels(dataset, sample.rows, network.preprocessing)
    plan = FilePlan(
        layers=tuple(stored),
        dtype=config.dtype,
        labels=dataset.labels[sample.rows],
        rows=sample.rows,
        paths=[dataset.paths[row] for row in sample.rows] if dataset.paths else None,
        classes=dataset.classes,
        provenance={
            "model": network.name,
            "weights": network.weights,
            "weights_sha256": network.weights_sha256,
            "dataset": dataset.name,
            "split": dataset.split,
            "population": len(dataset),
            "preprocessing": network.preprocessing.to_dict(),
            "sample": sample.description,
            "pixels_sha256": _fingerprint(images),
            "precision": str(_precision(config, device)).removeprefix("torch."),
            "device": device.type,
        },
    )
    return _Job(images, network, sample, stored, plan)


def _draw(config: ExtractConfig, dataset: ImageDataset) -> Sample:
    if config.samples == "all":
        return all_rows(dataset.labels)
    if isinstance(config.samples, str):
        raise LayerprobeError(f"--samples is a number of images or 'all', not {config.samples!r}")
    return balanced_sample(dataset.labels, config.samples, seed=config.seed, num_classes=len(dataset.classes))


def _fingerprint(images: Pixels, count: int = 16) -> str:
    """Hash of the pixels of some images: tells a data set that changed under its name from the one it was."""
    some = np.unique(np.linspace(0, len(images) - 1, count, dtype=np.int64))
    probe = Pixels(images.dataset, images.rows[some], images.preprocessing)
    digest = hashlib.sha256()
    for batch in batches(make_loader(probe, count)):
        digest.update(batch.pixels.numpy().tobytes())
    return digest.hexdigest()


def _precision(config: ExtractConfig, device: torch.device) -> torch.dtype:
    """What the network computes in: a CPU has no fast float16."""
    return torch.float32 if not config.amp else torch.bfloat16 if device.type == "cpu" else torch.float16


def _autocast(config: ExtractConfig, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, _precision(config, device), enabled=config.amp)


def _prepare_file(config: ExtractConfig, job: _Job, progress: Progress) -> None:
    """Lay the file out, or go on with the one that is there."""
    state = "missing" if config.overwrite else file_state(config.output, job.plan)
    if state == "complete":
        _log.info("%s is complete: nothing to do (--overwrite computes it again)", config.output)
        return
    _announce(config, job)
    if state == "missing":
        create_file(config.output, job.plan)
    else:
        recheck_rows(config.output, progress)


def _announce(config: ExtractConfig, job: _Job) -> None:
    """Say what will be written, and refuse what doesn't fit the disk."""
    network, plan = job.network, job.plan
    _log.info("model: %s, weights: %s", network.name, network.weights)
    _log.info("preprocessing: %s", network.preprocessing.describe())
    _log.info(
        "%d layers of %d images (%s) take %s",
        len(plan.layers),
        len(plan.labels),
        f"{job.sample.per_class} per class" if job.sample.per_class else "every image",
        format_size(plan.size),
    )
    asked = config.pool or config.project or config.tokens != "all"
    for stored in plan.layers:
        if stored.reduction and not asked:
            features = math.prod(stored.layer.shape)
            _log.warning("%s has %d features: pooled (%s)", stored.layer.name, features, stored.reduction)
    folder = next(parent for parent in config.output.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    taken = _allocated(config.output)
    if plan.size > free + taken:
        raise LayerprobeError(
            f"the features take {format_size(plan.size)}, but {folder} has {format_size(free)} free; "
            "take fewer --samples or --layers, --dtype float16, --pool, --tokens or --project"
        )


def _allocated(path: Path) -> int:
    """Bytes of disk that a file takes; one that is not full yet takes less than its size."""
    if not path.exists():
        return 0
    status = path.stat()
    return getattr(status, "st_blocks", 0) * 512 or status.st_size


def _fill(config: ExtractConfig, job: _Job, device: torch.device, processes: Processes, progress: Progress) -> None:
    """Write the rows that the file lacks; say how far it got if it can't."""
    rows = len(job.plan.labels)
    try:
        with FeatureFileWriter(config.output, alone=processes.is_main) as writer:
            missing = _missing(writer.written, config.batch_size, processes)
            _forward(config, job, missing, device, writer, progress)
            writer.sync()
            processes.wait()
            if processes.is_main:
                writer.finish()
            processes.wait()  # the others open the finished file
    except BaseException as error:
        done = _leave(config.output)
        state = f"{done} of {rows} rows are in {config.output}" if done else "nothing was written"
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LayerprobeError(f"the disk is full: {state}; make room and run the same command again") from None
        if done:
            _log.warning("stopped: %s; the same command goes on from there", state)
        raise


def _leave(path: Path) -> int:
    """How many rows an unfinished file has; one that has none is removed."""
    with FeatureFile(path, unfinished=True) as file:
        done = int(file.written.sum())
    if not done:
        path.unlink()
    return done


def _missing(written: npt.NDArray[np.bool_], batch_size: int, processes: Processes) -> npt.NDArray[np.int64]:
    """Rows that this process computes: every batch of the whole run's that lacks a row and falls to it.

    The batches are those of an uninterrupted run of one process, since a row's last bits depend on its batch.
    """
    starts = range(0, len(written), batch_size)
    lacking = [start for start in starts if not written[start : start + batch_size].all()]
    mine = [
        np.arange(start, min(start + batch_size, len(written))) for start in lacking[processes.index :: processes.count]
    ]
    return np.concatenate(mine) if mine else np.empty(0, np.int64)


def _forward(
    config: ExtractConfig,
    job: _Job,
    rows: npt.NDArray[np.int64],
    device: torch.device,
    writer: FeatureFileWriter,
    progress: Progress,
) -> None:
    images = Pixels(job.images.dataset, job.images.rows[rows], job.images.preprocessing)
    loader = make_loader(images, config.batch_size, workers=config.workers, pin_memory=device.type == "cuda")
    store = RowStore(writer, job.layers, config.dtype, config.amp)
    progress("extract", writer.rows_done, len(job.plan.labels))
    with _captures(config, job, device, store) as captures:

        def pass_through(batch: Batch) -> None:
            with captures.take() as capture, torch.no_grad(), _autocast(config, device):
                pixels = batch.pixels.to(device, non_blocking=True)
                kept = capture(normalize(pixels, job.network.preprocessing)).features
                arrived = copies_from(device)
            arrived()
            store.write(int(rows[batch.positions[0]]), kept)

        for _ in in_threads(pass_through, batches(loader), captures.lanes):
            progress("extract", writer.rows_done, len(job.plan.labels))


@contextmanager
def _captures(config: ExtractConfig, job: _Job, device: torch.device, store: RowStore) -> Iterator[Turns[Capture]]:
    """The network, ready to be captured, as often as batches can compute at once."""
    module = job.network.module.to(device)
    generator = torch.Generator().manual_seed(0)
    probe = torch.rand(2, 3, *job.network.preprocessing.image_size, generator=generator).to(device)
    if device.type == "cuda" and config.amp:
        with _autocast(config, device):
            prefer_channels_last(module, probe)
    names = [stored.layer.name for stored in job.layers]
    with divide_cores(module, probe) as networks, ExitStack() as stack:
        yield Turns([stack.enter_context(Capture(network, names, keep=store.keep)) for network in networks])
