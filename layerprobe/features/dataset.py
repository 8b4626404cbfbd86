"""A feature file as a torch data set, for a DataLoader with any number of workers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from layerprobe.features.hdf5.reader import FeatureFile


class FeatureDataset(Dataset[dict[str, Tensor]]):
    """Rows of a feature file: for each image a dictionary with its features by layer name, and its ``label`` if any.

    Every process opens the file when it reads its first row, because an HDF5 handle must not cross a fork
    (PyTorch issue 11929).

    Args:
        path: the feature file.
        layers: names or indices; None: every layer.
        dtype: type of the features; None: as stored.

    Raises:
        LayerprobeError: if the file can't be opened, is unfinished, or lacks a layer.
    """

    def __init__(
        self, path: Path | str, layers: Sequence[int | str] | None = None, dtype: torch.dtype | None = torch.float32
    ) -> None:
        self._path, self._dtype = Path(path), dtype
        with FeatureFile(path) as file:
            stored = file.layers if layers is None else tuple(file.layer(layer) for layer in layers)
            self.layers = tuple(each.layer.name for each in stored)
            self.labels = file.labels
            self._count = file.header.rows
        self._opened: tuple[int, FeatureFile] | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Tensor]]:
        """Several rows, in any order, with one read per layer."""
        count = len(self)
        wanted = np.asarray([row + count if row < 0 else row for row in map(int, rows)])
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < count):
            raise IndexError(f"rows {min(rows)} to {max(rows)} of a file of {count}")
        features = {name: self._file.rows(name, wanted) for name in self.layers}
        if self._dtype is not None:
            features = {name: values.to(self._dtype) for name, values in features.items()}
        return [
            {name: values[position] for name, values in features.items()} | self._label(row)
            for position, row in enumerate(wanted)
        ]

    def _label(self, row: int) -> dict[str, Tensor]:
        return {} if self.labels is None else {"label": self.labels[row]}

    @property
    def _file(self) -> FeatureFile:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), FeatureFile(self._path))
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}
