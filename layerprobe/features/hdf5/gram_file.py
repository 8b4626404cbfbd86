"""A file of Gram matrices: everything that the statistics of a network's layers need, without a feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import torch

from layerprobe.features.hdf5.header import DescribedFile
from layerprobe.features.hdf5.layout import FilePlan, describe, describe_images, layer_attributes, layer_dataset
from layerprobe.features.hdf5.locks import give_name
from layerprobe.features.hdf5.opening import FileKind
from layerprobe.files import temporary_name
from layerprobe.records import Gram, StoredLayer
from layerprobe.records.feature_header import GramLayer
from layerprobe.records.layers import as_layer

FORMAT = "layerprobe-gram"
FORMAT_VERSION = 1
_KIND = FileKind(FORMAT, FORMAT_VERSION, "Gram", "`layerprobe extract --stats-only` writes one")


class GramFile(DescribedFile):
    """Reads a file of Gram matrices.

    Args:
        path: the HDF5 file that ``layerprobe extract --stats-only`` wrote.

    Raises:
        LayerprobeError: if there is no such file, or it isn't one of this version.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(Path(path), _KIND)

    def _read_layers(self) -> Iterator[StoredLayer]:
        rows = self.header.rows
        for found in self._layer_records(GramLayer):
            name = layer_dataset(found.index)
            self._array(f"{name}/centred", (rows * (rows + 1) // 2,), "float32")
            self._array(f"{name}/mean_products", (rows,), "float64")
            self._array(f"{name}/squared_norms", (rows,), "float64")
            yield StoredLayer(as_layer(found), found.stored_shape, found.reduction)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content: labels, layers, and the length of every image's features in each."""
        groups = [self._file[layer_dataset(stored.layer.index)] for stored in self.layers]
        return self._fingerprint(*(group[part][:] for group in groups for part in ("squared_norms", "mean_products")))

    def gram(self, stored: StoredLayer) -> Gram:
        """The Gram matrix of a layer; products of two images are float32 in the file."""
        group = self._file[layer_dataset(stored.layer.index)]
        labels = self.labels
        return Gram(
            centred=torch.from_numpy(_unpack(group["centred"][:], len(labels))),
            mean_products=torch.from_numpy(group["mean_products"][:]),
            mean_square=float(group.attrs["mean_square"]),
            squared_norms=torch.from_numpy(group["squared_norms"][:]),
            labels=labels,
            dimension=stored.dimension,
            population=self.header.population,
        )


def write_grams(path: Path, plan: FilePlan, grams: Iterable[tuple[StoredLayer, Gram]]) -> None:
    """Write Gram matrices as they come; the file bears its name when all are there.

    Args:
        path: the file; what bore the name is replaced.
        plan: of the feature file that isn't written: labels, images and provenance.
        grams: each layer with its Gram matrix.

    Raises:
        LayerprobeError: if another process writes a feature file of that name.
    """
    partial = temporary_name(path)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        with h5py.File(partial, "x") as file:
            describe(file, plan, FORMAT, FORMAT_VERSION)
            describe_images(file, plan)
            for stored, gram in grams:
                group = file.create_group(layer_dataset(stored.layer.index))
                group.attrs.update(
                    {
                        **layer_attributes(stored),
                        "stored_shape": np.asarray(stored.shape, np.int64),
                        "mean_square": gram.mean_square,
                    }
                )
                group.create_dataset("centred", data=_pack(gram.centred.numpy()))
                group.create_dataset("mean_products", data=gram.mean_products.numpy())
                group.create_dataset("squared_norms", data=gram.squared_norms.numpy())
        give_name(partial, path, overwrite=True)
    finally:
        partial.unlink(missing_ok=True)


def _pack(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The lower triangle of a symmetric matrix, row after row: (n (n + 1) / 2,)."""
    return np.concatenate([row[: number + 1].astype(np.float32) for number, row in enumerate(matrix)])


def _unpack(triangle: npt.NDArray[np.float32], n: int) -> npt.NDArray[np.float64]:
    matrix = np.empty((n, n), np.float64)
    start = 0
    for row in range(n):
        matrix[row, : row + 1] = triangle[start : start + row + 1]
        start += row + 1
    for first in range(0, n, 512):  # a block of rows at a time: a column of the whole matrix is slow to read
        block = slice(first, first + 512)
        matrix[:first, block] = matrix[block, :first].T
        square = matrix[block, block]
        square[:] = np.tril(square) + np.tril(square, -1).T
    return matrix
