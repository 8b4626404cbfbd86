"""HDF5 files of ours opened to read, whatever lies there in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from layerprobe.errors import FileError, LayerprobeError, shown
from layerprobe.files import check_replaceable, special_file
from layerprobe.records.feature_header import REMEDY

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""What an HDF5 file begins with."""


@dataclass(frozen=True)
class FileKind:
    """A kind of file of ours.

    Attributes:
        format: its attribute ``format``.
        versions: of which its attribute ``format_version`` is one.
        what: what it is called in messages.
        remedy: what to do where a file isn't one.
    """

    format: str
    versions: tuple[int, ...]
    what: str
    remedy: str


def open_described(path: Path, kind: FileKind) -> h5py.File:
    """Open a file of ours to read.

    Args:
        path: the file.
        kind: what it must be.

    Raises:
        LayerprobeError: if it isn't there, isn't HDF5, or is another kind of file.
    """
    if special := special_file(path):
        raise LayerprobeError(f"{path} is {special}, not a {kind.what} file; {kind.remedy}")
    if not path.is_file():
        raise LayerprobeError(f"no {kind.what} file at {path}; {kind.remedy}")
    try:
        # Without a lock: network file systems often have none, and a file that is being written can be looked at.
        file = h5py.File(path, "r", locking=False)
    except PermissionError:
        raise
    except (OSError, RuntimeError, ValueError):
        with path.open("rb") as raw:
            cut_off = raw.read(len(_SIGNATURE)) == _SIGNATURE
        state = "is cut off or damaged" if cut_off else "is not an HDF5 file"
        raise LayerprobeError(f"{path} {state}; {kind.remedy}") from None
    try:
        found = tuple(_plain(file.attrs.get(name)) for name in ("format", "format_version"))
    except (OSError, RuntimeError, ValueError, TypeError):
        found = (None, None)
    if found[0] == kind.format and found[1] in kind.versions:
        return file
    file.close()
    if found[0] != kind.format:
        said = f"its attribute format is {shown(found[0])}"
        raise LayerprobeError(f"{path} is an HDF5 file, but not a layerprobe {kind.what} file ({said}); {kind.remedy}")
    raise LayerprobeError(
        f"{path} has format version {shown(found[1])}, this layerprobe reads {' and '.join(map(str, kind.versions))}; "
        f"{kind.remedy}"
    )


_DEEPEST = 8
"""Groups in groups at most; ours are two."""


def check_inside(file: h5py.File) -> None:
    """Refuse a file whose names lead into other files, which would be opened too, whatever they are.

    Raises:
        FileError: if there is such a link, or a data set whose values lie elsewhere; or groups in groups without end.
    """
    path, links = file.filename, file.id.links
    names: list[bytes] = []

    def is_deep(name: bytes) -> bool | None:
        names.append(name)
        return name.count(b"/") > _DEEPEST or None  # anything but None ends the visit

    try:
        if links.visit(is_deep):
            raise FileError(f"{path} is damaged: its groups are nested too deeply; {REMEDY}")
        for name in names:
            outside = links.get_info(name).type == h5py.h5l.TYPE_EXTERNAL
            if not outside and links.get_info(name).type == h5py.h5l.TYPE_HARD:
                found = file[name]
                outside = isinstance(found, h5py.Dataset) and (found.is_virtual or found.external is not None)
            if outside:
                raise FileError(f"{path} is damaged: {name.decode(errors='replace')} lies in another file; {REMEDY}")
    except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
        raise FileError(f"{path} is damaged: its links can't be read ({one_line(error)}); {REMEDY}") from None


def check_replaceable_features(path: Path) -> None:
    """Refuse to replace what is no file of features or Gram matrices; of a damaged one its signature is enough.

    Raises:
        LayerprobeError: if something else is at the path.
    """
    check_replaceable(path, _OURS, lambda head: head.startswith(_SIGNATURE) and not _is_of_others(path))


def _is_of_others(path: Path) -> bool:
    """Whether a whole HDF5 file says that another program wrote it, or doesn't say who did."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            found = file.attrs.get("format")
    except (OSError, RuntimeError, ValueError, TypeError):
        return False
    return not (isinstance(found, str) and found.startswith("layerprobe-"))


_OURS = "a file of features or Gram matrices"


def file_format(path: Path) -> str | None:
    """What kind of file of ours this is; None where it is none, or isn't there."""
    if special_file(path):
        return None
    try:
        with h5py.File(path, "r", locking=False) as file:
            found = file.attrs.get("format")
            return found if isinstance(found, str) else None
    except (OSError, RuntimeError, ValueError, TypeError):
        return None


_CLOSEST = 1032
"""Bytes of values in a byte of the file at most: deflate, which packs most closely, makes no more of it."""


def is_stored(dataset: h5py.Dataset) -> bool:
    """Whether a file has the values of a data set: it may as well say that there are terabytes, and hold none."""
    return bool(dataset.nbytes <= _CLOSEST * dataset.id.get_storage_size())


_MOST_TEXTS = 100
"""Values of an attribute whose lengths only reading tells."""


def plain_attributes(thing: h5py.File | h5py.Group | h5py.Dataset, where: str) -> dict[str, Any]:
    """Attributes as plain values, whatever they are."""
    try:
        for name in thing.attrs:
            found = thing.attrs.get_id(name)
            of_any_length = any(map(found.get_type().detect_class, (h5py.h5t.VLEN, h5py.h5t.STRING)))
            if of_any_length and found.get_space().get_simple_extent_npoints() > _MOST_TEXTS:
                raise ValueError(f"{name} has more than {_MOST_TEXTS} texts")
        values: Mapping[str, Any] = dict(thing.attrs.items())
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError) as error:
        raise FileError(f"{where} is damaged: its attributes can't be read ({one_line(error)}); {REMEDY}") from None
    return {key: _plain(value) for key, value in values.items()}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def one_line(error: Exception) -> str:
    """An error of HDF5 or NumPy in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
