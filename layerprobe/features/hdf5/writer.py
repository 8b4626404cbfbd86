"""Writes the rows of a feature file to their places, in any order and from several processes."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from layerprobe.features.hdf5.checksums import bytes_of, row_checksums
from layerprobe.features.hdf5.layout import (
    CHECKSUM,
    COMPLETE,
    LAYERS,
    WRITTEN,
    FilePlan,
    find_place,
    open_new,
)
from layerprobe.features.hdf5.spectra import (
    BLOCKS,
    SPECTRA,
    SPECTRA_CHECKSUM,
    SPECTRA_LABEL,
    SPECTRA_WRITTEN,
    ClassPlaces,
)
from layerprobe.features.hdf5.triangles import pack
from layerprobe.files import real_path
from layerprobe.locks import is_named, open_alone
from layerprobe.records.feature_header import WrittenCounts

_MOST_AT_ONCE = 2**30
"""Bytes in one call: macOS refuses 2 GiB."""


class FeatureFileWriter:
    """Writes rows of a file that ``create_file`` laid out, through the operating system alone, past HDF5.

    Threads may share it.

    A batch's features are written first, then their checksums, and last the marks that say that these rows are
    there. A process that is killed in between leaves rows without a mark; a power failure can leave marked rows
    that never reached the disk, and those don't have their checksum.

    Args:
        path: the file.
        alone: keep other runs from writing the file until this is closed; False where several processes share it.
        file: the open file, where ``open_new`` or ``open_alone`` gave it; this closes it then.

    Raises:
        LayerprobeError: if another process writes the file.
    """

    def __init__(self, path: Path, alone: bool = True, file: FileIO | None = None) -> None:
        self.path = path
        self._file = file or (open_alone(path) if alone else FileIO(path, "r+"))
        self._turn = threading.Lock()
        try:
            self._find_places()
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def create(cls, path: Path, plan: FilePlan, overwrite: bool) -> FeatureFileWriter:
        """Lay out a file with no row written, and write it.

        Args:
            path: the file.
            plan: what it will hold.
            overwrite: whether a file of that name may be replaced.

        Raises:
            LayerprobeError: if another process writes the file, or one is there and may not be replaced.
        """
        return cls(path, file=open_new(path, plan, overwrite))

    def _find_places(self) -> None:
        with h5py.File(self.path, "r", locking=False) as file:
            self._layers = [find_place(dataset) for _, dataset in sorted(file[LAYERS].items())]
            self._checksum, self._mark, self._complete = (
                find_place(file[name]) for name in (CHECKSUM, WRITTEN, COMPLETE)
            )
            self._rows = len(file[WRITTEN])
            self._classes = ClassPlaces(file[SPECTRA_LABEL][:] if SPECTRA in file else np.empty(0, np.int64))
            if SPECTRA in file:
                self._blocks = [find_place(dataset) for _, dataset in sorted(file[BLOCKS].items())]
                self._block_checksum, self._block_mark = map(
                    find_place, (file[SPECTRA_CHECKSUM], file[SPECTRA_WRITTEN])
                )

    @property
    def rows_done(self) -> int:
        """How many rows are marked as written, by whichever process."""
        return int(np.count_nonzero(self.written))

    @property
    def counts(self) -> WrittenCounts:
        """How much of the file is there, by whichever process."""
        blocks = self.blocks_written
        return WrittenCounts(self.rows_done, self._rows, int(blocks.sum()), blocks.size)

    @property
    def written(self) -> npt.NDArray[np.bool_]:
        """(rows,) which rows are marked as written."""
        return np.frombuffer(self._read_at(self._mark.offset, self._rows), np.uint8).astype(np.bool_)

    @property
    def blocks_written(self) -> npt.NDArray[np.bool_]:
        """(classes, layers) which blocks of the second sample are marked as written; (0, layers) without one."""
        shape = (len(self._classes.sizes), len(self._layers))
        marks = self._read_at(self._block_mark.offset, math.prod(shape)) if shape[0] else b""
        return np.frombuffer(marks, np.uint8).astype(np.bool_).reshape(shape)

    def write_block(self, number: int, layer: int, block: npt.NDArray[np.floating[Any]]) -> None:
        """Write the products of a class's features in one layer, then their checksum, then their mark.

        Args:
            number: the class's place among those of the second sample.
            layer: the layer's place among those of the file.
            block: (n_c, n_c), symmetric.

        Raises:
            OSError: if the disk is full or fails. The block is not marked then.
            ValueError: if it is not of the class's size.
        """
        triangle, place = pack(block), self._classes.triangle(number)
        if len(triangle) != place.stop - place.start:
            raise ValueError(f"a block of {len(block)} images for a class of {self._classes.sizes[number]}")
        position = number * len(self._layers) + layer
        self._write_at(self._blocks[layer].offset + place.start * triangle.itemsize, triangle)
        self._write_at(self._block_checksum.offset + position * 4, row_checksums(triangle[None]))
        self._write_at(self._block_mark.offset + position, np.ones(1, np.uint8))

    def forget_blocks(self, blocks: npt.NDArray[np.bool_]) -> None:
        """Take the marks off the blocks where ``blocks``, of shape (classes, layers), is true."""
        self._write_at(self._block_mark.offset, (self.blocks_written & ~blocks).astype(np.uint8))

    def write(self, start: int, features: Sequence[npt.NDArray[Any]]) -> None:
        """Write rows ``start``, ``start + 1``, ... of every layer.

        Args:
            start: the first row.
            features: for every layer, in order, an array (batch, ...) of the planned shape and type.

        Raises:
            OSError: if the disk is full or fails. The rows are not marked then.
            ValueError: if the features are not of the planned size.
        """
        count = len(features[0])
        if start + count > self._rows:
            raise ValueError(f"rows {start} to {start + count} of a file of {self._rows}")
        sums = np.empty((count, len(self._layers)), np.uint32)
        for number, (place, values) in enumerate(zip(self._layers, features, strict=True)):
            if values.nbytes != count * place.row_bytes:
                raise ValueError(f"{values.nbytes} bytes for {count} rows of {place.row_bytes}")
            sums[:, number] = row_checksums(values)
            self._write_at(place.offset + start * place.row_bytes, values)
        self._write_at(self._checksum.offset + start * self._checksum.row_bytes, sums)
        self._write_at(self._mark.offset + start, np.ones(count, np.uint8))

    def forget(self, rows: npt.NDArray[np.bool_]) -> None:
        """Take the marks off the rows where ``rows``, of shape (rows,), is true."""
        self._write_at(self._mark.offset, (self.written & ~rows).astype(np.uint8))

    def sync(self) -> None:
        """Return when everything that this process wrote is on the disk."""
        os.fsync(self._file.fileno())

    def finish(self) -> None:
        """Mark the file complete, after all its rows are on the disk.

        Raises:
            ValueError: if rows or blocks are missing.
        """
        if not self.counts.is_all:
            raise ValueError(f"{self.counts} were written")
        self.sync()
        self._write_at(self._complete.offset, np.ones(1, np.uint8))
        self.sync()

    def close(self) -> None:
        """Close the file, finished or not."""
        self._file.close()

    def remove(self) -> None:
        """Delete the file, unless its name has gone to another; then close it."""
        named = is_named(self._file, self.path)
        if sys.platform == "win32":  # an open file can't be deleted there
            self.close()
        if named:
            real_path(self.path).unlink()
        self.close()

    def __enter__(self) -> FeatureFileWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_at(self, offset: int, values: npt.NDArray[Any]) -> None:
        data = bytes_of(values).data
        while data:
            count = self._write_some(data[:_MOST_AT_ONCE], offset)
            data, offset = data[count:], offset + count

    def _write_some(self, data: memoryview, offset: int) -> int:
        if sys.platform == "win32":
            with self._turn:
                self._file.seek(offset)
                return self._file.write(data)
        return os.pwrite(self._file.fileno(), data, offset)

    def _read_at(self, offset: int, count: int) -> bytes:
        data = b""
        while len(data) < count and (some := self._read_some(offset + len(data), count - len(data))):
            data += some
        return data

    def _read_some(self, offset: int, count: int) -> bytes:
        if sys.platform == "win32":
            with self._turn:
                self._file.seek(offset)
                return self._file.read(count)
        return os.pread(self._file.fileno(), count, offset)
