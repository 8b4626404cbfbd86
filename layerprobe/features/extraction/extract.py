"""Images through a model, every layer into one file; from where an earlier run stopped."""

from __future__ import annotations

import errno
import logging
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction.class_blocks import announce_spectra, class_blocks
from layerprobe.features.extraction.forward import missing_rows, write_rows
from layerprobe.features.extraction.job import Job, prepare, warn_of_few_images
from layerprobe.features.extraction.remaining import go_on_without, has_more_images
from layerprobe.features.hdf5.layout import format_size
from layerprobe.features.hdf5.opening import check_replaceable_features
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.features.hdf5.resume import file_state, open_existing, recheck_rows
from layerprobe.features.hdf5.writer import FeatureFileWriter
from layerprobe.files import remove_leftovers
from layerprobe.records import Progress, silent
from layerprobe.records.feature_header import WrittenCounts
from layerprobe.runtime.devices import resolve_device
from layerprobe.runtime.environment import peak_memory, start_measuring
from layerprobe.runtime.lack_of_memory import explaining_lack_of_memory
from layerprobe.runtime.processes import Processes, join_processes
from layerprobe.settings.extract import ExtractSettings

_log = logging.getLogger(__name__)


@explaining_lack_of_memory
def extract(config: ExtractSettings, progress: Progress = silent) -> FeatureFile:
    """Run a sample of images, class-balanced if they have labels, through a model and write the features of its layers.

    If the output is an unfinished file of the same extraction, the extraction goes on with it. A complete file of the
    same extraction is left as it is. Under
    ``accelerate launch`` or ``torchrun`` the images are divided among the processes.

    Returns:
        The finished file, open for reading.

    Raises:
        LayerprobeError: if the input is wrong, another file is at the output, the disk is too small or full, or a
            value doesn't fit float16. Rows that were written by then stay in the file.
    """
    _check_output(config)
    processes = join_processes(config.device)
    device = resolve_device(config.device)
    with _begun(config) as begun:
        job = prepare(config, device, begun, progress)
    writer = _prepare_file(config, job, progress) if processes.is_main else None
    processes.wait()
    if not processes.is_main and not _is_complete(config.output):
        writer = FeatureFileWriter(config.output, alone=False)
    if writer:
        start_measuring(device)
        with writer:
            _fill(config, job, writer, processes, progress)
        if device.type == "cuda":
            _log.info("largest memory on %s: %s", device, format_size(peak_memory(device) or 0))
    return FeatureFile(config.output)


def _check_output(config: ExtractSettings) -> None:
    if config.output.is_dir():
        raise LayerprobeError(f"{config.output} is a folder; --output names the HDF5 file to write")
    if config.overwrite:
        check_replaceable_features(config.output)
    with _begun(config):
        pass


@contextmanager
def _begun(config: ExtractSettings) -> Iterator[FeatureFile | None]:
    """The file that an earlier run left at the output, finished or not; None: none that this run may go on with."""
    if config.overwrite or not config.output.exists():
        yield None
        return
    with open_existing(config.output) as file:
        yield file


def _is_complete(path: Path) -> bool:
    with FeatureFile(path, unfinished=True) as file:
        return file.complete


def _prepare_file(config: ExtractSettings, job: Job, progress: Progress) -> FeatureFileWriter | None:
    """Lay the file out, or go on with the one that is there; None where that is complete.

    Until the writer is closed, no other run can write, replace or delete the file.
    """
    remove_leftovers(config.output.resolve().parent)
    with _begun(config) as begun:
        fewer = begun is not None and has_more_images(begun, job.images, job.plan)
    if fewer:
        go_on_without(config.output, job.plan, progress)
    state = "missing" if config.overwrite else file_state(config.output, job.plan)
    if state != "complete":
        _announce(config, job)
    if state == "missing":
        return FeatureFileWriter.create(config.output, job.plan, config.overwrite)
    if state == "unfinished":
        writer = FeatureFileWriter(config.output)
        try:
            # Another run may have had the file until now.
            if file_state(config.output, job.plan) == "unfinished":
                recheck_rows(writer, progress)
                return writer
            writer.close()
        except BaseException:
            writer.close()
            raise
    _log.info("%s is complete: nothing to do (--overwrite computes it again)", config.output)
    return None


def _announce(config: ExtractSettings, job: Job) -> None:
    """Say what will be written, and refuse what doesn't fit the disk."""
    network, plan = job.network, job.plan
    warn_of_few_images(job)
    _log.info("model: %s, weights: %s", network.name, network.weights)
    _log.info("preprocessing: %s", network.preprocessing.describe())
    _log.info(
        "%d layers of %d images (%s) take %s",
        len(plan.layers),
        len(plan.rows),
        job.sample.balance,
        format_size(plan.size - plan.spectra_size),
    )
    announce_spectra(job, config)
    asked = config.pool or config.project or config.tokens != "all"
    for stored in plan.layers:
        if stored.reduction and not asked:
            features = math.prod(stored.layer.shape)
            _log.warning("%s has %d features: pooled (%s)", stored.layer.name, features, stored.reduction)
    folder = next(parent for parent in config.output.resolve().parents if parent.exists())
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


def _fill(
    config: ExtractSettings, job: Job, writer: FeatureFileWriter, processes: Processes, progress: Progress
) -> None:
    """Write the rows that the file lacks; say how far it got if it can't."""
    try:
        missing, blocks = missing_rows(writer.written, job.batch_size, processes), ~writer.blocks_written
        processes.wait()  # before a row is written: all must divide the same rows
        write_rows(job, missing, writer, config.workers, progress)
        for number, stored, block in class_blocks(job, blocks, config, processes, progress):
            writer.write_block(number, job.plan.layers.index(stored), block.numpy())
        writer.sync()
        processes.wait()
        if processes.is_main:
            writer.finish()
        processes.wait()  # the others open the finished file
    except BaseException as error:
        done = _leave(writer, processes)
        state = f"{done} are in {config.output}" if done else "nothing was written"
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LayerprobeError(f"the disk is full: {state}; make room and run the same command again") from None
        if done:
            _log.warning("stopped: %s; the same command %s", state, done.what_follows)
        raise


def _leave(writer: FeatureFileWriter, processes: Processes) -> WrittenCounts | None:
    """How much an unfinished file has; None where it has nothing, and is removed."""
    try:
        done = writer.counts
        if not done.rows_done and processes.is_main:
            writer.remove()
    except OSError as error:  # what stopped the run is what matters
        _log.debug("%s could not be looked at: %s", writer.path, error)
        return None
    return done if done.rows_done else None
