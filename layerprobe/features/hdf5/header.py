"""What feature files and Gram files say about themselves: labels, images, classes and provenance."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import h5py
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.layout import CLASSES, INDEX, JSON_ATTRIBUTES, LABEL, LAYERS, PATH
from layerprobe.records import Layer

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""What an HDF5 file begins with."""

Opened = TypeVar("Opened", bound="DescribedFile")


class DescribedFile:
    """An open HDF5 file with labels and provenance."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file

    @property
    def labels(self) -> Tensor:
        """(rows,) int64 class labels."""
        return torch.from_numpy(self._file[LABEL][:])

    @property
    def image_rows(self) -> Tensor:
        """(rows,) int64, the row of every image in its data set."""
        return torch.from_numpy(self._file[INDEX][:])

    @property
    def image_paths(self) -> tuple[str, ...] | None:
        """Path of every image below the data set's folder; None where the data set has no files."""
        return tuple(self._file[PATH].asstr()[:]) if PATH in self._file else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is a position in this tuple."""
        return tuple(self._file[CLASSES].asstr()[:])

    @property
    def provenance(self) -> dict[str, Any]:
        """The file's attributes as plain values: model, weights, data, preprocessing, sample, versions."""
        values = {key: value.item() if hasattr(value, "item") else value for key, value in self._file.attrs.items()}
        return {key: json.loads(value) if key in JSON_ATTRIBUTES else value for key, value in values.items()}

    def _fingerprint(self, *arrays: npt.NDArray[Any]) -> str:
        """SHA-256 of labels, what layers there are, the split's size, and these arrays."""
        digest = hashlib.sha256()
        layers = [
            (key, str(item.attrs["name"]), item.attrs["shape"].tolist())
            for key, item in sorted(self._file[LAYERS].items())
        ]
        digest.update(repr((int(self._file.attrs["population"]), layers)).encode())
        for array in (self._file[LABEL][:], *arrays):
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


def open_described(path: Path, format: str, version: int, what: str, remedy: str) -> h5py.File:
    """Open a file of ours to read.

    Args:
        path: the file.
        format: what its attribute ``format`` must be.
        version: what its attribute ``format_version`` must be.
        what: the kind of file, for messages.
        remedy: what to do where it isn't one.

    Raises:
        LayerprobeError: if it isn't there, isn't HDF5, or is another kind of file.
    """
    if not path.is_file():
        raise LayerprobeError(f"no {what} file at {path}; {remedy}")
    try:
        # Without a lock: network file systems often have none, and a file that is being written can be looked at.
        file = h5py.File(path, "r", locking=False)
    except PermissionError:
        raise
    except OSError:
        with path.open("rb") as raw:
            cut_off = raw.read(len(_SIGNATURE)) == _SIGNATURE
        state = "is cut off or damaged" if cut_off else "is not an HDF5 file"
        raise LayerprobeError(f"{path} {state}; {remedy}") from None
    found = file.attrs.get("format"), file.attrs.get("format_version")
    if found == (format, version):
        return file
    file.close()
    if found[0] != format:
        raise LayerprobeError(f"{path} is an HDF5 file, but not a layerprobe {what} file; {remedy}")
    raise LayerprobeError(f"{path} has format version {found[1]}, this layerprobe reads {version}; {remedy}")


def file_format(path: Path) -> str | None:
    """What kind of file of ours this is; None where it is none, or isn't there."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            found = file.attrs.get("format")
            return found if isinstance(found, str) else None
    except OSError:
        return None


def read_layer(index: int, attributes: h5py.AttributeManager) -> Layer:
    """A layer from the attributes of its data set."""
    return Layer(
        index=index,
        name=str(attributes["name"]),
        kind=str(attributes["kind"]),
        shape=tuple(int(size) for size in attributes["shape"]),
        parameters=int(attributes["parameters"]),
    )
