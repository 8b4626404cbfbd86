"""A file of Gram matrices: everything that the statistics of a network's layers need, without a feature."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from layerprobe.features.hdf5.checksums import row_checksums
from layerprobe.features.hdf5.header import DescribedFile
from layerprobe.features.hdf5.layout import (
    FilePlan,
    describe,
    describe_images,
    lay_out_spectra,
    layer_attributes,
    layer_dataset,
)
from layerprobe.features.hdf5.naming import give_name
from layerprobe.features.hdf5.opening import FileKind
from layerprobe.features.hdf5.room import creating
from layerprobe.features.hdf5.spectra import SPECTRA_CHECKSUM, SPECTRA_WRITTEN, ClassPlaces, blocks_dataset
from layerprobe.features.hdf5.triangles import pack, triangle_size, unpack
from layerprobe.files import errors_of_writing, open_temporary, real_path
from layerprobe.geometry.gram import NotFiniteError
from layerprobe.records import Gram, StoredLayer
from layerprobe.records.feature_header import GramLayer
from layerprobe.records.layers import as_layer

FORMAT = "layerprobe-gram"
FORMAT_VERSION, LATER_VERSION = 1, 2
_KIND = FileKind(FORMAT, (FORMAT_VERSION, LATER_VERSION), "Gram", "`layerprobe extract --stats-only` writes one")


class GramFile(DescribedFile):
    """Reads a file of Gram matrices.

    Args:
        path: the HDF5 file that ``layerprobe extract --stats-only`` wrote.

    Raises:
        LayerprobeError: if there is no such file, or it isn't one of this version.
    """

    def __init__(self, path: Path | str) -> None:
        self._undefined: dict[str, str] = {}
        super().__init__(Path(path), _KIND)

    def _read_layers(self) -> Iterator[StoredLayer]:
        rows = self.header.rows
        for found in self._layer_records(GramLayer):
            name = layer_dataset(found.index)
            self._array(f"{name}/centred", (triangle_size(rows),), "float32")
            self._array(f"{name}/mean_products", (rows,), "float64")
            self._array(f"{name}/squared_norms", (rows,), "float64")
            self._undefined[found.name] = found.undefined
            yield StoredLayer(as_layer(found), found.stored_shape, found.reduction)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content: labels, layers, and the length of every image's features in each."""
        groups = [self._file[layer_dataset(stored.layer.index)] for stored in self.layers]
        return self._fingerprint(*(group[part][:] for group in groups for part in ("squared_norms", "mean_products")))

    def gram(self, stored: StoredLayer) -> Gram:
        """Read the Gram matrix of a layer; products of two images are float32 in the file.

        Raises:
            NotFiniteError: if the layer has none, since its features were not finite.
            LayerprobeError: if a class block of the second sample is not what was written.
        """
        if reason := self._undefined[stored.layer.name]:
            raise NotFiniteError(reason)
        group = self._file[layer_dataset(stored.layer.index)]
        return Gram(
            centred=torch.from_numpy(unpack(group["centred"][:], self.header.rows)),
            mean_products=torch.from_numpy(group["mean_products"][:]),
            mean_square=float(group.attrs["mean_square"]),
            squared_norms=torch.from_numpy(group["squared_norms"][:]),
            labels=self.labels,
            dimension=stored.dimension,
            population=self.header.population,
            class_blocks=self._checked_blocks(stored),
        )


def _size(plan: FilePlan) -> int:
    """Bytes of all Gram matrices, with the norms, and of the second sample's class blocks."""
    n = len(plan.rows)
    return len(plan.layers) * (4 * triangle_size(n) + 16 * n) + plan.spectra_size


def write_grams(
    path: Path,
    plan: FilePlan,
    grams: Iterable[tuple[StoredLayer, Gram | NotFiniteError]],
    blocks: Iterable[tuple[int, StoredLayer, Tensor]] = (),
) -> None:
    """Write Gram matrices as they come; the file bears its name when all are there.

    Args:
        path: the file; what bore the name is replaced.
        plan: of the feature file that isn't written: labels, images and provenance.
        grams: each layer with its Gram matrix, or with why it has none: its values are NaN then.
        blocks: of the second sample, where the plan has one: each class's place, a layer, and the class's block of it.

    Raises:
        LayerprobeError: if another process writes a feature file of that name.
    """
    with errors_of_writing(path):
        real_path(path).parent.mkdir(parents=True, exist_ok=True)
        partial, opened = open_temporary(path)
    try:
        with creating(partial, opened, path, plan.description_size + _size(plan)) as file:
            describe(file, plan, FORMAT, LATER_VERSION if plan.needs_later_version else FORMAT_VERSION)
            describe_images(file, plan)
            for stored, gram in grams:
                group = file.create_group(layer_dataset(stored.layer.index))
                group.attrs.update({**layer_attributes(stored), "stored_shape": np.asarray(stored.shape, np.int64)})
                _write_gram(group, gram, len(plan.rows))
            if plan.spectra:
                lay_out_spectra(file, plan.layers, plan.spectra)
                _write_blocks(file, plan.layers, plan.spectra.places, blocks)
        if sys.platform == "win32":  # an open file can't be renamed there
            opened.close()
        give_name(partial, path, overwrite=True)
    finally:
        opened.close()
        partial.unlink(missing_ok=True)


def _write_gram(group: h5py.Group, gram: Gram | NotFiniteError, rows: int) -> None:
    if isinstance(gram, NotFiniteError):
        group.attrs.update({"mean_square": 0.0, "undefined": str(gram)})
        group.create_dataset("centred", data=np.full(triangle_size(rows), np.nan, np.float32))
        for name in ("mean_products", "squared_norms"):
            group.create_dataset(name, data=np.full(rows, np.nan))
        return
    group.attrs["mean_square"] = gram.mean_square
    group.create_dataset("centred", data=pack(gram.centred.numpy()))
    group.create_dataset("mean_products", data=gram.mean_products.numpy())
    group.create_dataset("squared_norms", data=gram.squared_norms.numpy())


def _write_blocks(
    file: h5py.File,
    layers: Sequence[StoredLayer],
    places: ClassPlaces,
    blocks: Iterable[tuple[int, StoredLayer, Tensor]],
) -> None:
    for number, stored, block in blocks:
        triangle, layer = pack(block.numpy()), layers.index(stored)
        file[blocks_dataset(stored.layer.index)][places.triangle(number)] = triangle
        file[SPECTRA_CHECKSUM][number, layer] = row_checksums(triangle[None])[0]
        file[SPECTRA_WRITTEN][number, layer] = 1
