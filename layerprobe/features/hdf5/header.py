"""What feature files and Gram files say about themselves: labels, images, classes, layers and provenance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import h5py
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from layerprobe.errors import FileError, LayerprobeError
from layerprobe.features.hdf5.layout import CLASSES, INDEX, JSON_ATTRIBUTES, LABEL, LAYERS, PATH, layer_dataset
from layerprobe.features.hdf5.opening import (
    FileKind,
    check_inside,
    is_stored,
    one_line,
    open_described,
    plain_attributes,
)
from layerprobe.features.hdf5.spectra import (
    SPECTRA_CHECKSUM,
    SPECTRA_INDEX,
    SPECTRA_LABEL,
    SPECTRA_PATH,
    SPECTRA_WRITTEN,
    ClassPlaces,
    StoredSpectra,
    blocks_dataset,
)
from layerprobe.features.hdf5.texts import read_paths, read_texts
from layerprobe.records import StoredLayer
from layerprobe.records.feature_header import REMEDY, FeatureHeader, FeatureLayer, parse_feature_header
from layerprobe.records.parsing import parse

TEXT = "text"
"""Stands for the type of data sets of texts."""

Opened = TypeVar("Opened", bound="DescribedFile")
LayerRecord = TypeVar("LayerRecord", bound=FeatureLayer)


class DescribedFile:
    """An open HDF5 file with labels, layers and provenance. Its header is checked when it is opened.

    Args:
        path: the file.
        kind: what it must be.

    Attributes:
        path: the file.
        provenance: the file's attributes as plain values: model, weights, data, preprocessing, sample, versions.

    Raises:
        LayerprobeError: if it isn't there, or isn't a whole file of this kind.
    """

    layers: tuple[StoredLayer, ...]
    """The stored layers, in execution order."""
    spectra: StoredSpectra | None
    """The second sample, for the spectra of the classes; None: there is none, they come from the images of the rows."""

    def __init__(self, path: Path, kind: FileKind) -> None:
        self.path = path
        self._file = open_described(path, kind)
        try:
            check_inside(self._file)
            self.provenance = plain_attributes(self._file, str(path))
            self.header: FeatureHeader = parse_feature_header(self.provenance, path)
            for name in JSON_ATTRIBUTES:
                if name in self.provenance:
                    self.provenance[name] = json.loads(self.provenance[name])
            self._has_labels = not self._is_unlabelled(kind)
            self._check_images()
            self.layers = tuple(self._read_layers())
            self.spectra = self._read_spectra()
        except BaseException:
            self._file.close()
            raise

    @property
    def labels(self) -> Tensor | None:
        """(rows,) int64 class labels; None: the images have none."""
        return torch.from_numpy(self._file[LABEL][:]) if self._has_labels else None

    @property
    def image_rows(self) -> Tensor:
        """(rows,) int64, the row of every image in its data set."""
        return torch.from_numpy(self._file[INDEX][:])

    @property
    def image_paths(self) -> tuple[str, ...] | None:
        """Path of every image below the data set's folder; None where the data set has no files."""
        return self._texts(PATH) if PATH in self._file else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is a position in this tuple. Empty: the images have no labels."""
        return self._texts(CLASSES) if self._has_labels else ()

    def _checked_blocks(self, stored: StoredLayer) -> tuple[Tensor, ...] | None:
        """Of each class the products of a layer's features in the second sample; None: the file has none.

        Raises:
            FileError: if a block is not what was written, or was never.
        """
        if self.spectra is None:
            return None
        place = [self.layers.index(stored)]
        if wrong := int((self.spectra.damaged(place) | ~self.spectra.written[:, place]).sum()):
            raise self._malformed(f"{wrong} class blocks of {stored.layer.name} are not what was written")
        return self.spectra.blocks(stored.layer.index)

    def _is_unlabelled(self, kind: FileKind) -> bool:
        """Whether it says that its images have no labels: its later version has those, or a second sample."""
        there, version = self.header.spectrum_sample is not None, self.header.format_version
        later = version == kind.versions[-1]
        if there and not later:
            raise self._malformed(f"format version {version} has no attribute spectrum_sample")
        if later and not there and (found := next((name for name in (LABEL, CLASSES) if name in self._file), None)):
            raise self._malformed(f"format version {version} with {found} needs an attribute spectrum_sample")
        return later and not there

    def _check_images(self) -> None:
        """Refuse a file without images of the right number, or with labels of another or of no class."""
        rows = (self.header.rows,)
        for name in (*((LABEL,) if self._has_labels else ()), INDEX):
            self._array(name, rows, "int64")
        if PATH in self._file:
            self._array(PATH, rows, TEXT)
        if self._has_labels:
            self._check_labels()

    def _check_labels(self) -> None:
        """Refuse a file with a label of no class."""
        count = len(self._array(CLASSES, (None,), TEXT))
        with self._reading(LABEL):
            lowest, highest = int(self._file[LABEL][:].min()), int(self._file[LABEL][:].max())
        if lowest < 0 or highest >= count:
            wrong = lowest if lowest < 0 else highest
            raise self._malformed(f"{LABEL} has a label {wrong}, and there are {count} classes")

    def _read_layers(self) -> Iterator[StoredLayer]:
        """The layers, with what the file holds of each checked."""
        raise NotImplementedError

    def _read_spectra(self) -> StoredSpectra | None:
        """The second sample, with what the file holds of it checked; None where there is none."""
        if self.header.spectrum_sample is None:
            return None
        count, labels = len(self.classes), self._array(SPECTRA_LABEL, (None,), "int64")
        with self._reading(SPECTRA_LABEL):
            found = labels[:]
        if len(found) == 0 or found[0] < 0 or found[-1] >= count or (np.diff(found) < 0).any():
            raise self._malformed(f"{SPECTRA_LABEL} must have labels below {count} in ascending order")
        self._array(SPECTRA_INDEX, (len(found),), "int64")
        if SPECTRA_PATH in self._file:
            self._array(SPECTRA_PATH, (len(found),), TEXT)
        places = ClassPlaces(found)
        self._array(SPECTRA_WRITTEN, (len(places.sizes), len(self.layers)), "uint8")
        self._array(SPECTRA_CHECKSUM, (len(places.sizes), len(self.layers)), "uint32")
        for stored in self.layers:
            self._array(blocks_dataset(stored.layer.index), (places.values,), "float32")
        return StoredSpectra(self._file, [stored.layer.index for stored in self.layers])

    def _layer_records(self, kind: type[LayerRecord]) -> Iterator[LayerRecord]:
        """What the file says of its layers, in execution order."""
        with self._reading(LAYERS):
            keys = sorted(self._file[LAYERS].keys())
        known: set[str] = set()
        for key in keys:
            if not key.isdecimal() or layer_dataset(int(key)) != f"{LAYERS}/{key}":
                raise self._malformed(f"{LAYERS} has {key!r}, which is no index of six digits")
            where = f"{self.path}, {LAYERS}/{key}"
            with self._reading(f"{LAYERS}/{key}"):
                values = plain_attributes(self._file[f"{LAYERS}/{key}"], where)
            found = parse(kind, {**values, "index": int(key)}, where, REMEDY)
            if found.name in known:
                raise self._malformed(f"{LAYERS} has two layers {found.name!r}")
            known.add(found.name)
            yield found
        if not keys:
            raise self._malformed(f"{LAYERS} is empty")

    def _array(self, name: str, shape: tuple[int | None, ...], dtype: str, more: bool = False) -> h5py.Dataset:
        """A data set, made sure to be there.

        Args:
            name: of it.
            shape: that it must have; None: any size.
            dtype: that it must have, or ``TEXT``.
            more: whether any further axes may follow.
        """
        with self._reading(name):
            found = self._file.get(name)
            if not isinstance(found, h5py.Dataset):
                raise self._malformed(f"it has no data set {name}")
            sizes = found.shape[: len(shape)] if more else found.shape
            fits = len(sizes) == len(shape) and all(
                wanted in (None, size) for wanted, size in zip(shape, sizes, strict=True)
            )
            kind = TEXT if h5py.check_string_dtype(found.dtype) else str(found.dtype)
            if not fits or kind != dtype:
                there = f"{kind} {_spelled(found.shape)}"
                raise self._malformed(f"{name} must be {dtype} {_spelled(shape, more)}, not {there}")
            if not is_stored(found):
                raise self._malformed(f"{name} says that it has {found.nbytes:,} bytes, and the file hasn't")
        return found

    def _texts(self, name: str) -> tuple[str, ...]:
        with self._reading(name):
            return (read_paths if name == PATH else read_texts)(self._file[name])

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Have whatever HDF5 raises over a damaged file raised as one line."""
        try:
            yield
        except LayerprobeError:
            raise
        except (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, MemoryError) as error:
            raise self._malformed(f"{name} can't be read ({one_line(error)})") from None

    def _malformed(self, what: str) -> FileError:
        return FileError(f"{self.path} is damaged: {what}; {REMEDY}")

    def _fingerprint(self, *arrays: npt.NDArray[Any]) -> str:
        """SHA-256 of labels, what layers there are, the split's size, these arrays, and the second sample's blocks."""
        digest = hashlib.sha256()
        layers = [(f"{one.layer.index:06d}", one.layer.name, list(one.layer.shape)) for one in self.layers]
        digest.update(repr((self.header.population, layers)).encode())
        second = (self.spectra.places.labels, self.spectra.checksums) if self.spectra else ()
        labels = (self._file[LABEL][:],) if self._has_labels else ()
        for array in (*labels, *arrays, *second):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _spelled(shape: tuple[int | None, ...], more: bool = False) -> str:
    sizes = ["any" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes + ['...'] * more)})"
