"""The second sample of a file, which the spectra of the classes come from.

No feature of its images is kept, but of every layer the inner products of those of a class: class blocks, centred on
the class's mean. A class's block of one layer is written whole, and then marked, so that a run that was stopped goes
on. Products of images of different classes are never taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import h5py
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from layerprobe.features.hdf5.checksums import row_checksums
from layerprobe.features.hdf5.texts import read_paths
from layerprobe.features.hdf5.triangles import triangle_size, unpack

SPECTRA = "spectra"
SPECTRA_LABEL, SPECTRA_INDEX, SPECTRA_PATH = f"{SPECTRA}/label", f"{SPECTRA}/index", f"{SPECTRA}/path"
SPECTRA_WRITTEN, SPECTRA_CHECKSUM = f"{SPECTRA}/written", f"{SPECTRA}/checksum"
BLOCKS = f"{SPECTRA}/blocks"


def blocks_dataset(index: int) -> str:
    """The data set of a layer's class blocks."""
    return f"{BLOCKS}/{index:06d}"


@dataclass(frozen=True)
class ClassPlaces:
    """Where each class lies: its images among those of the sample, and its triangle among a layer's.

    Args:
        labels: (m,) class labels, class after class.
    """

    labels: npt.NDArray[np.int64]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """n_c, the images of each class that has any."""
        return tuple(int(count) for count in np.unique(self.labels, return_counts=True)[1])

    @property
    def values(self) -> int:
        """How many values the triangles of all classes have."""
        return sum(map(triangle_size, self.sizes))

    def images(self, number: int) -> slice:
        """The images of a class, by its place among those that have any."""
        start = sum(self.sizes[:number])
        return slice(start, start + self.sizes[number])

    def triangle(self, number: int) -> slice:
        """The values of a class's triangle."""
        start = sum(map(triangle_size, self.sizes[:number]))
        return slice(start, start + triangle_size(self.sizes[number]))


class StoredSpectra:
    """Reads the second sample of an open file, whose arrays were checked.

    Args:
        file: the file.
        layers: indices of its layers in the network, in order.

    Attributes:
        places: where its classes lie.
    """

    def __init__(self, file: h5py.File, layers: Sequence[int]) -> None:
        self._file, self._layers = file, tuple(layers)
        self.places = ClassPlaces(file[SPECTRA_LABEL][:])

    @property
    def image_rows(self) -> Tensor:
        """(m,) int64, the row of every image in its data set, class after class."""
        return torch.from_numpy(self._file[SPECTRA_INDEX][:])

    @property
    def image_paths(self) -> tuple[str, ...] | None:
        """Path of every image below the data set's folder; None where the data set has no files."""
        return read_paths(self._file[SPECTRA_PATH]) if SPECTRA_PATH in self._file else None

    @property
    def labels(self) -> Tensor:
        """(m,) int64 class labels, ascending."""
        return torch.from_numpy(self.places.labels)

    @property
    def written(self) -> npt.NDArray[np.bool_]:
        """(classes, layers) which blocks are there."""
        return np.asarray(self._file[SPECTRA_WRITTEN][:] != 0)

    @property
    def checksums(self) -> npt.NDArray[np.uint32]:
        """(classes, layers) CRC-32 of each block's bytes."""
        return np.asarray(self._file[SPECTRA_CHECKSUM][:])

    def blocks(self, index: int) -> tuple[Tensor, ...]:
        """Of each class the inner products of a layer's features, centred on the class's mean: (n_c, n_c) float32."""
        triangles = self._file[blocks_dataset(index)]
        return tuple(
            torch.from_numpy(unpack(triangles[self.places.triangle(number)], size).astype(np.float32))
            for number, size in enumerate(self.places.sizes)
        )

    def damaged(self, layers: Sequence[int] | None = None) -> npt.NDArray[np.bool_]:
        """Read blocks back and compare them with their checksums.

        Args:
            layers: positions of the layers among those of the file; None: all.

        Returns:
            (classes, layers) true where a block that is marked as written is not what was written.
        """
        chosen = range(len(self._layers)) if layers is None else layers
        written, checksums = self.written, self.checksums
        wrong = np.zeros((len(written), len(chosen)), np.bool_)
        for column, layer in enumerate(chosen):
            triangles = self._file[blocks_dataset(self._layers[layer])]
            for number in np.flatnonzero(written[:, layer]):
                found = row_checksums(triangles[self.places.triangle(int(number))][None])
                wrong[number, column] = found[0] != checksums[number, layer]
        return wrong
