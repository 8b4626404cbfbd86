"""Images through the network, and what its layers put out into the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import numpy as np
import numpy.typing as npt
import torch

from layerprobe.data.loading import Batch, batches, make_loader
from layerprobe.data.preprocessing import normalize
from layerprobe.data.transfers import to_device
from layerprobe.features.extraction.concurrent_batches import SharedPool, divide_cores, in_threads
from layerprobe.features.extraction.job import Job
from layerprobe.features.extraction.storing import RowSink, RowStore
from layerprobe.layers.capture import Capture
from layerprobe.models.channels_last import prefer_channels_last
from layerprobe.records import Progress
from layerprobe.runtime.processes import Processes

EXTRACTED = "images extracted"
"""What progress counts."""


def missing_rows(written: npt.NDArray[np.bool_], batch_size: int, processes: Processes) -> npt.NDArray[np.int64]:
    """Rows that this process computes: every batch of the whole run's that lacks a row and falls to it.

    The batches are those of an uninterrupted run of one process, since a row's last bits depend on its batch.
    """
    starts = range(0, len(written), batch_size)
    lacking = [start for start in starts if not written[start : start + batch_size].all()]
    mine = [
        np.arange(start, min(start + batch_size, len(written))) for start in lacking[processes.index :: processes.count]
    ]
    return np.concatenate(mine) if mine else np.empty(0, np.int64)


def write_rows(job: Job, rows: npt.NDArray[np.int64], sink: RowSink, workers: int, progress: Progress) -> None:
    """Compute rows and write them; while a batch is written, others compute.

    Args:
        job: what to extract.
        rows: (n,) rows of the file, ascending; whole batches of an uninterrupted run.
        sink: where they go.
        workers: processes that decode images; 0: this thread does, while others compute.
        progress: told after every batch.

    Raises:
        LayerprobeError: if an image can't be read, or a value can't be stored.
        OSError: if the disk is full or fails.
    """
    loader = make_loader(job.images.only(rows), job.batch_size, workers=workers, pin_memory=job.device.type == "cuda")
    store = RowStore(sink, job.layers, job.plan.dtype, job.precision != torch.float32, job.device)
    progress(EXTRACTED, sink.rows_done, len(job.plan.rows))
    with _captures(job, store) as captures:

        def pass_through(batch: Batch) -> None:
            with captures.take() as capture, torch.no_grad(), _autocast(job):
                pixels = to_device(batch.pixels, job.device)
                kept = capture(normalize(pixels, job.network.preprocessing)).features
                arrived = store.copies.begun()
            arrived()
            store.write(int(rows[batch.positions[0]]), kept)

        with closing(in_threads(pass_through, batches(loader), captures.batches)) as passed:
            for _ in passed:
                progress(EXTRACTED, sink.rows_done, len(job.plan.rows))


@contextmanager
def _captures(job: Job, store: RowStore) -> Iterator[SharedPool[Capture]]:
    """The network, ready to be captured, as often as batches can compute at once."""
    module = job.network.module.to(job.device)
    generator = torch.Generator().manual_seed(0)
    probe = torch.rand(2, 3, *job.network.preprocessing.image_size, generator=generator).to(job.device)
    if job.precision == torch.float16:
        with _autocast(job):
            prefer_channels_last(module, probe)
    layers = [stored.layer for stored in job.layers]
    with divide_cores(module, probe) as networks, ExitStack() as stack:
        yield SharedPool([stack.enter_context(Capture(network, layers, keep=store.keep)) for network in networks])


def _autocast(job: Job) -> torch.autocast:
    return torch.autocast(job.device.type, job.precision, enabled=job.precision != torch.float32)
