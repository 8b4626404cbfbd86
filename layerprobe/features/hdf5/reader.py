"""Reads a feature file: layers, labels, provenance, and features in blocks of rows or columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from layerprobe.errors import LayerprobeError, closest
from layerprobe.features.hdf5.checksums import row_checksums
from layerprobe.features.hdf5.header import DescribedFile
from layerprobe.features.hdf5.layout import (
    CHECKSUM,
    COMPLETE,
    FORMAT,
    FORMAT_VERSION,
    LATER_VERSION,
    WRITTEN,
    find_place,
    layer_dataset,
)
from layerprobe.features.hdf5.opening import FileKind
from layerprobe.records import Progress, StoredLayer, silent
from layerprobe.records.feature_header import FeatureLayer, WrittenCounts
from layerprobe.records.layers import as_layer

_KIND = FileKind(FORMAT, (FORMAT_VERSION, LATER_VERSION), "feature", "`layerprobe extract` writes one")


class FeatureFile(DescribedFile):
    """Reads a feature file.

    A layer is named by its index in the network (25) or its name (``layer3.6``).

    Args:
        path: the HDF5 file that ``layerprobe extract`` wrote.
        unfinished: also open a file that lacks rows. ``written`` says which rows it has; the others
            hold arbitrary values.

    Raises:
        LayerprobeError: if there is no such file, it isn't a feature file of this version, or it is unfinished.
    """

    def __init__(self, path: Path | str, unfinished: bool = False) -> None:
        super().__init__(Path(path), _KIND)
        try:
            self._check_rows(unfinished)
        except BaseException:
            self.close()
            raise

    def _read_layers(self) -> Iterator[StoredLayer]:
        rows, dtype = self.header.rows, self.header.dtype
        for found in self._layer_records(FeatureLayer):
            name = layer_dataset(found.index)
            shape = self._array(name, (rows,), dtype, more=True).shape[1:]
            if not found.reduction and shape != found.shape:
                raise self._malformed(f"{name} holds {shape} of an image, and its attribute shape says {found.shape}")
            yield StoredLayer(as_layer(found), shape, found.reduction)

    def _check_rows(self, unfinished: bool) -> None:
        """Refuse a file that doesn't say which rows it has; and one that lacks some, unless it may."""
        rows = self.header.rows
        self._array(WRITTEN, (rows,), "uint8")
        self._array(CHECKSUM, (rows, len(self.layers)), "uint32")
        self._array(COMPLETE, (1,), "uint8")
        with self._reading(WRITTEN):
            done = self.counts
        if self.complete and not done.is_all:
            raise self._malformed(f"it is marked as complete, and has {done}")
        if not (self.complete or unfinished):
            raise LayerprobeError(
                f"{self.path} is unfinished: {done}; the same `layerprobe extract` command {done.what_follows}"
            )

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return bool(self._file[COMPLETE][0])

    @property
    def counts(self) -> WrittenCounts:
        """How much of the file is there."""
        blocks = self.spectra.written if self.spectra else np.empty(0, np.bool_)
        return WrittenCounts(int(self.written.sum()), self.header.rows, int(blocks.sum()), blocks.size)

    @property
    def written(self) -> Tensor:
        """(rows,) bool, which rows are there."""
        return torch.from_numpy(self._file[WRITTEN][:] != 0)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content: labels, layers and the checksum of every row."""
        return self._fingerprint(self._file[CHECKSUM][:])

    def layer(self, layer: int | str) -> StoredLayer:
        """Return the stored layer of that name or index.

        Raises:
            LayerprobeError: if the file doesn't hold it.
        """
        for stored in self.layers:
            if layer in (stored.layer.name, stored.layer.index):
                return stored
        indices = [stored.layer.index for stored in self.layers]
        names = [stored.layer.name for stored in self.layers]
        hint = closest(layer, names) if isinstance(layer, str) else f"it has {indices}"
        raise LayerprobeError(f"no layer {layer!r} in {self.path}; {hint}")

    def features(self, layer: int | str, start: int = 0, stop: int | None = None) -> Tensor:
        """Read rows ``start`` to ``stop`` of a layer, (rows, ...), in the stored type."""
        return torch.from_numpy(self._dataset(layer)[start:stop])

    def rows(self, layer: int | str, rows: npt.NDArray[np.int64]) -> Tensor:
        """Read chosen rows of a layer, (len(rows), ...), in the stored type; any order, also with repeats."""
        unique, position = np.unique(rows, return_inverse=True)
        return torch.from_numpy(self._dataset(layer)[unique][position])

    def mapped(self, layer: int | str) -> npt.NDArray[np.generic]:
        """Map a layer (rows, ...) into memory, in the stored type: only what is indexed is read."""
        dataset = self._dataset(layer)
        return np.memmap(self.path, dataset.dtype, "r", find_place(dataset).offset, dataset.shape)

    def blocks(self, layer: int | str, rows: int = 1024) -> Iterator[Tensor]:
        """Read a layer in blocks of ``rows`` rows, in order, each (rows, ...) in the stored type."""
        dataset = self._dataset(layer)
        for start in range(0, len(dataset), rows):
            yield torch.from_numpy(dataset[start : start + rows])

    def columns(self, layer: int | str, width: int = 4096) -> Iterator[Tensor]:
        """Read a layer's n x D feature matrix in blocks of about ``width`` columns, each (n, d) float32."""
        dataset = self._dataset(layer)
        for place in _blocks_of(dataset.shape[1:], width):
            block = dataset[(slice(None),) + place]  # noqa: RUF005 (Python 3.10)
            yield torch.from_numpy(block.reshape(len(block), -1).astype(np.float32, copy=False))

    def check(self, layer: int | str) -> None:
        """Read a layer and compare it with its checksums.

        Raises:
            LayerprobeError: if a row is not what was written.
        """
        stored = self.layer(layer)
        if wrong := int(self.damaged(layers=(stored,)).sum()):
            raise LayerprobeError(
                f"{self.path} is damaged: {wrong} rows of {stored.layer.name} are not what was written; "
                "extract it again with --overwrite"
            )

    def class_blocks(self, layer: int | str) -> tuple[Tensor, ...] | None:
        """Read the products of a layer's features in the second sample, class by class; None: the file has none.

        Raises:
            LayerprobeError: if a block is not what was written.
        """
        return self._checked_blocks(self.layer(layer))

    def damaged(
        self, progress: Progress = silent, rows: int = 64, layers: Sequence[StoredLayer] | None = None
    ) -> Tensor:
        """Read layers back and compare them with the checksums.

        Args:
            progress: told after every block.
            rows: rows that are read at a time.
            layers: which; None: all.

        Returns:
            (rows, layers) bool: true where a row that is marked as written is not what was written.
        """
        chosen = self.layers if layers is None else layers
        names = [layer_dataset(stored.layer.index) for stored in chosen]
        columns = [self.layers.index(stored) for stored in chosen]
        written, stored_sums = self.written.numpy(), self._file[CHECKSUM]
        wrong = np.zeros((len(written), len(names)), bool)
        for start in range(0, len(written), rows):
            block = slice(start, start + rows)
            if written[block].any():
                sums = np.stack([row_checksums(self._file[name][block]) for name in names], axis=1)
                wrong[block] = (sums != stored_sums[block][:, columns]) & written[block, None]
            progress("rows verified", min(start + rows, len(written)), len(written))
        return torch.from_numpy(wrong)

    def damaged_layers(self, progress: Progress = silent) -> dict[str, int]:
        """How many rows and class blocks of a layer are not what was written, by name, for layers that have any."""
        counts = self.damaged(progress).sum(dim=0).numpy()
        if self.spectra:
            counts = counts + self.spectra.damaged().sum(axis=0)
        return {stored.layer.name: int(count) for stored, count in zip(self.layers, counts, strict=True) if count}

    def _dataset(self, layer: int | str) -> h5py.Dataset:
        return self._file[layer_dataset(self.layer(layer).layer.index)]


def _blocks_of(shape: Sequence[int], width: int) -> Iterator[tuple[int | slice, ...]]:
    """Indices that cover an array of this shape once, each of about ``width`` values, in order."""
    inner = math.prod(shape[1:])
    step = max(1, width // inner)
    for start in range(0, shape[0], step):
        if inner <= width:
            yield (slice(start, start + step),)
        else:
            yield from ((start, *place) for place in _blocks_of(shape[1:], width))
