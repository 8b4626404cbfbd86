"""Features in memory, where only what is computed from them is wanted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction.forward import write_rows
from layerprobe.features.extraction.job import Job
from layerprobe.features.hdf5.layout import format_size
from layerprobe.records import Progress, StoredLayer
from layerprobe.settings.machine import BYTES_PER_GB


class MemoryRows:
    """Rows of every layer as arrays.

    Attributes:
        arrays: of each layer, (rows, D).
    """

    def __init__(self, layers: Sequence[StoredLayer], rows: int, dtype: str) -> None:
        self.arrays = [np.empty((rows, stored.dimension), dtype) for stored in layers]
        self._written = np.zeros(rows, np.bool_)

    @property
    def rows_done(self) -> int:
        """How many rows are there."""
        return int(np.count_nonzero(self._written))

    def write(self, start: int, features: Sequence[npt.NDArray[Any]]) -> None:
        """Take rows ``start``, ``start + 1``, ...: of every layer, in order, an array (batch, ...)."""
        stop = start + len(features[0])
        for array, values in zip(self.arrays, features, strict=True):
            array[start:stop] = values.reshape(stop - start, -1)
        self._written[start:stop] = True


def layer_groups(job: Job, memory: float, fewer: str = "--samples") -> list[tuple[StoredLayer, ...]]:
    """The layers in as few groups as fit the memory one after another, in execution order.

    Args:
        job: what to extract.
        memory: bytes that features may take.
        fewer: the option that says how many images there are.

    Raises:
        LayerprobeError: if one layer alone doesn't fit.
    """
    groups: list[tuple[StoredLayer, ...]] = [()]
    left = memory
    for stored in job.layers:
        size = len(job.plan.rows) * stored.dimension * np.dtype(job.plan.dtype).itemsize
        if size > memory:
            raise LayerprobeError(
                f"layer {stored.layer.name!r} takes {format_size(size)}, more than the {format_size(memory)} of memory "
                f"that features may take; take fewer {fewer}, --dtype float16, --pool or --project, or raise --memory"
            )
        if size > left:
            groups.append(())
            left = memory
        groups[-1] += (stored,)
        left -= size
    return groups


def features_of(
    job: Job, layers: Sequence[StoredLayer], workers: int, progress: Progress, width: int = 4096
) -> Iterator[Iterator[Tensor]]:
    """Run the network once; for each of the layers, in order, its features in blocks of columns, (n, d) float32."""
    rows = len(job.plan.rows)
    memory = MemoryRows(layers, rows, job.plan.dtype)
    part = replace(job, layers={stored: job.layers[stored] for stored in layers})
    write_rows(part, np.arange(rows, dtype=np.int64), memory, workers, progress)
    while memory.arrays:
        yield _columns(memory.arrays.pop(0), width)


def _columns(array: npt.NDArray[Any], width: int) -> Iterator[Tensor]:
    for start in range(0, array.shape[1], width):
        yield torch.from_numpy(np.ascontiguousarray(array[:, start : start + width], np.float32))


def allowed_memory(gigabytes: float | None = None) -> float:
    """Bytes that a command may take: what the user says, else half of what is available."""
    if gigabytes:
        return gigabytes * BYTES_PER_GB
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        free = int(found[1]) * 1024 if found else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows and macOS don't say
        return 4e9
    return max(free / 2, 1e9)
