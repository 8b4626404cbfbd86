"""The layout of a feature file: what lies where, and how an empty one is made.

Its format version is 2, and 3 where it has a second sample for the spectra of the classes, or no labels.

An HDF5 file dies when its writer is killed between two changes of its metadata. So the metadata never change: every
data set is contiguous and has its place from the start, progress included, and rows are then written to their places.
The file can be opened at any moment, and several processes can fill it.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import torch

from layerprobe.errors import FileError
from layerprobe.features.hdf5.naming import give_name
from layerprobe.features.hdf5.room import check_room, creating
from layerprobe.features.hdf5.spectra import (
    SPECTRA_CHECKSUM,
    SPECTRA_INDEX,
    SPECTRA_LABEL,
    SPECTRA_PATH,
    SPECTRA_WRITTEN,
    ClassPlaces,
    blocks_dataset,
)
from layerprobe.features.hdf5.texts import create_texts, encoded
from layerprobe.files import errors_of_writing, open_temporary, real_path
from layerprobe.locks import open_alone
from layerprobe.records import StoredLayer
from layerprobe.records.feature_header import REMEDY
from layerprobe.version import __version__

FORMAT = "layerprobe-features"
FORMAT_VERSION, LATER_VERSION = 2, 3

COMPLETE = "complete"
WRITTEN = "images/written"
CHECKSUM = "images/checksum"
LABEL, INDEX, PATH = "images/label", "images/index", "images/path"
CLASSES = "classes"
LAYERS = "layers"

JSON_ATTRIBUTES = ("preprocessing", "sample", "spectrum_sample", "data_options", "adapted", "view")


@dataclass(frozen=True)
class SecondSample:
    """The images that the spectra of the classes come from, class after class.

    Attributes:
        labels: (m,) int64 class labels, ascending.
        rows: (m,) int64 row of every image in its data set, ascending within a class.
        paths: path of every image, where the data set has files.
    """

    labels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    paths: Sequence[str] | None

    @cached_property
    def places(self) -> ClassPlaces:
        """Where its classes lie."""
        return ClassPlaces(self.labels)


@dataclass(frozen=True)
class FilePlan:
    """Everything about a feature file that is known before the first image is read.

    Attributes:
        layers: the layers, in execution order.
        dtype: ``float32`` or ``float16``.
        labels: (rows,) int64 class labels; None: the images have none.
        rows: (rows,) int64 row of every image in its data set.
        paths: path of every image, where the data set has files.
        classes: class names; none where there are no labels.
        provenance: model, weights_sha256, dataset, split, population, preprocessing, sample, ...
        spectra: the second sample; None: the spectra of the classes come from these images too.
    """

    layers: tuple[StoredLayer, ...]
    dtype: str
    labels: npt.NDArray[np.int64] | None
    rows: npt.NDArray[np.int64]
    paths: Sequence[str] | None
    classes: Sequence[str]
    provenance: Mapping[str, Any]
    spectra: SecondSample | None = None

    @property
    def needs_later_version(self) -> bool:
        """Whether the file holds what its first format version can't: a second sample, or images without labels."""
        return self.spectra is not None or self.labels is None

    @property
    def size(self) -> int:
        """Bytes of features, and of the second sample's class blocks, that the file will hold."""
        return len(self.rows) * bytes_per_image(self.layers, self.dtype) + self.spectra_size

    @property
    def spectra_size(self) -> int:
        """Bytes of the second sample's class blocks."""
        values = self.spectra.places.values if self.spectra else 0
        return len(self.layers) * values * np.dtype(np.float32).itemsize

    @property
    def description_size(self) -> int:
        """Bytes that will do for everything else in the file: names, images, marks, checksums, and where they lie."""
        images, layers = len(self.rows), len(self.layers)
        paths = [path for sample in (self, self.spectra) if sample and sample.paths for path in sample.paths]
        texts = sum(len(encoded(text)) + _TEXT for text in (*paths, *self.classes))
        of_spectra = len(self.spectra.labels) * 16 + len(self.classes) * layers * 5 if self.spectra else 0
        attributes = sum(len(str(value).encode()) for value in self.provenance.values())
        return 2 * (_HEADERS * (layers + 16) + images * (17 + 4 * layers) + texts + of_spectra + attributes)


_TEXT, _HEADERS = 48, 4096
"""Bytes at most that HDF5 puts around a text, and around an array, its attributes included."""


def bytes_per_image(layers: Sequence[StoredLayer], dtype: str) -> int:
    """Bytes that the features of one image take on disk."""
    return sum(stored.dimension for stored in layers) * np.dtype(dtype).itemsize


def format_size(count: float) -> str:
    """Bytes for people, in decimal units."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def layer_dataset(index: int) -> str:
    """The data set of a layer."""
    return f"{LAYERS}/{index:06d}"


def create_file(path: Path, plan: FilePlan) -> None:
    """Lay out a feature file with no row written. What bore the name until then is replaced in one step.

    Raises:
        LayerprobeError: if another process writes the file.
    """
    open_new(path, plan, overwrite=True).close()


def open_new(path: Path, plan: FilePlan, overwrite: bool) -> FileIO:
    """Lay out a feature file with no row written, and keep other runs from writing it.

    Args:
        path: its name. What bore it until then is replaced in one step, once the new file is on the disk.
        plan: what the file will hold.
        overwrite: whether a file of that name may be replaced.

    Returns:
        The file, as ``open_alone`` gives it.

    Raises:
        LayerprobeError: if another process writes the file, or one is there and may not be replaced.
    """
    with errors_of_writing(path):
        real_path(path).parent.mkdir(parents=True, exist_ok=True)
        new, opened = open_temporary(path)
    try:
        # Rows are written past HDF5, which says where the disk is full.
        check_room(opened, path, plan.description_size)
        with creating(new, opened, path, 0) as file:
            describe(file, plan, FORMAT, LATER_VERSION if plan.needs_later_version else FORMAT_VERSION)
            _lay_out(file, plan)
        os.fsync(opened.fileno())
        if sys.platform == "win32":  # an open file can't be renamed there
            opened.close()
        give_name(new, path, overwrite)
    except BaseException:
        opened.close()
        raise
    finally:
        new.unlink(missing_ok=True)
    return open_alone(path) if sys.platform == "win32" else opened


def describe(file: h5py.File, plan: FilePlan, format: str, version: int) -> None:
    """Write where the features come from: the file's attributes."""
    file.attrs.update(
        {
            "format": format,
            "format_version": version,
            "layerprobe_version": __version__,
            "torch_version": str(torch.__version__),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "rows": len(plan.rows),
            "dtype": plan.dtype,
        }
    )
    for key, value in plan.provenance.items():
        file.attrs[key] = json.dumps(value) if key in JSON_ATTRIBUTES else value


def _lay_out(file: h5py.File, plan: FilePlan) -> None:
    rows = len(plan.rows)
    file.create_dataset(COMPLETE, data=np.zeros(1, np.uint8))
    file.create_dataset(WRITTEN, data=np.zeros(rows, np.uint8))
    file.create_dataset(CHECKSUM, data=np.zeros((rows, len(plan.layers)), np.uint32))
    describe_images(file, plan)
    for stored in plan.layers:
        place = _place(file, layer_dataset(stored.layer.index), (rows, *stored.shape), plan.dtype)
        place.attrs.update(layer_attributes(stored))
    if plan.spectra:
        lay_out_spectra(file, plan.layers, plan.spectra)


def lay_out_spectra(file: h5py.File, layers: Sequence[StoredLayer], sample: SecondSample) -> None:
    """Lay out the class blocks of a second sample, with none of them written."""
    shape = (len(sample.places.sizes), len(layers))
    file.create_dataset(SPECTRA_WRITTEN, data=np.zeros(shape, np.uint8))
    file.create_dataset(SPECTRA_CHECKSUM, data=np.zeros(shape, np.uint32))
    file.create_dataset(SPECTRA_LABEL, data=sample.labels.astype(np.int64))
    file.create_dataset(SPECTRA_INDEX, data=sample.rows.astype(np.int64))
    if sample.paths is not None:
        create_texts(file, SPECTRA_PATH, sample.paths)
    for stored in layers:
        _place(file, blocks_dataset(stored.layer.index), (sample.places.values,), "float32")


def describe_images(file: h5py.File, plan: FilePlan) -> None:
    """Write which images the rows belong to."""
    file.create_dataset(INDEX, data=plan.rows.astype(np.int64))
    if plan.paths is not None:
        create_texts(file, PATH, plan.paths)
    if plan.labels is not None:
        file.create_dataset(LABEL, data=plan.labels.astype(np.int64))
        create_texts(file, CLASSES, plan.classes)


def layer_attributes(stored: StoredLayer) -> dict[str, Any]:
    """What a layer's data set says about it."""
    return {
        "name": stored.layer.name,
        "kind": stored.layer.kind,
        "shape": np.asarray(stored.layer.shape, dtype=np.int64),
        "parameters": stored.layer.parameters,
        "reduction": stored.reduction,
    }


def _place(file: h5py.File, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
    """A contiguous data set that has its place in the file now, and is not filled with zeros first."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    return file.create_dataset(name, shape, dtype, dcpl=properties)


@dataclass(frozen=True)
class Place:
    """Where the rows of one data set lie in the file.

    Attributes:
        offset: first byte of row 0.
        row_bytes: bytes of one row.
    """

    offset: int
    row_bytes: int


def find_place(dataset: h5py.Dataset) -> Place:
    """The place of a data set's rows.

    Raises:
        FileError: if they don't lie one after another, as in a file that another program has packed anew.
    """
    offset = dataset.id.get_offset()
    if offset is None:
        name = f"{dataset.file.filename} is damaged: {dataset.name[1:]}"
        raise FileError(f"{name} must be contiguous; {REMEDY}")
    return Place(offset, math.prod(dataset.shape[1:]) * dataset.dtype.itemsize)
