"""What was measured before, kept beside the file it was measured from."""

from __future__ import annotations

import glob
import hashlib
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.files import check_archive, check_replaceable, writing
from layerprobe.geometry.measure import Values
from layerprobe.runtime.alive import lives
from layerprobe.version import __version__

_log = logging.getLogger(__name__)

VERSION = 3
"""Of the formulas, the names of what they give, and the file: results of another version are computed again."""
_KEY, _DIGEST = "key", "digest"
"""Entries of the file that are no results: what they are of, and a hash of all of them."""


def cache_path(source: Path) -> Path:
    """Where the results of a file are kept: ``NAME.statistics.npz`` beside ``NAME.h5``."""
    return source.with_name(f"{source.stem}.statistics.npz")


class StatisticsCache:
    """Results by layer and task, in an .npz file.

    The file holds nothing that can't be computed again: one that is damaged, or that belongs to other content or
    another version, is replaced, and where it can't be written there is none.

    Args:
        path: the .npz file; None: keep results in memory only.
        fingerprint: of the content that the results are computed from.
    """

    def __init__(self, path: Path | None, fingerprint: str = "") -> None:
        self._path = path
        self._key = f"{VERSION} {__version__} {fingerprint}"
        self._results: dict[tuple[str, str], Values] = {}
        self._changed = False
        if path is not None and path.is_file():
            self._read(path)

    def get(self, layer: str, task: str) -> Values | None:
        """A result; None where it isn't there."""
        return self._results.get((layer, task))

    def tasks(self, layer: str) -> tuple[str, ...]:
        """The tasks whose results are kept of a layer."""
        return tuple(task for name, task in self._results if name == layer)

    def put(self, layer: str, task: str, values: Mapping[str, torch.Tensor]) -> None:
        """Keep a result."""
        self._results[layer, task] = dict(values)
        self._changed = True

    def save(self) -> None:
        """Write the file, if there is something new."""
        if self._path is None or not self._changed:
            return
        arrays = {
            f"{layer}|{task}|{name}": tensor.numpy()
            for (layer, task), values in self._results.items()
            for name, tensor in values.items()
        }
        heading = {_KEY: np.array(self._key), _DIGEST: np.array(_digest(arrays))}
        try:
            check_replaceable(self._path, "a file of results", lambda head: head.startswith(b"PK"))
            with writing(self._path) as file:
                np.savez(file, **heading, **arrays)  # type: ignore[arg-type]
        except LayerprobeError as error:
            _log.info("results are not kept: %s", error)

    def __enter__(self) -> StatisticsCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.save()

    def _read(self, path: Path) -> None:
        try:
            check_archive(path)
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                if str(file[_KEY]) != self._key:
                    _log.info("%s holds results of other features or another version: computed again", path)
                    return
                arrays = {name: file[name] for name in file.files if name not in (_KEY, _DIGEST)}
                if str(file[_DIGEST]) != _digest(arrays):
                    raise ValueError("its arrays are not those that were written")
            for entry, array in arrays.items():
                layer, task, name = entry.rsplit("|", 2)
                self._results.setdefault((layer, task), {})[name] = torch.from_numpy(array)
        except Exception as error:  # whatever NumPy and zipfile raise over a damaged archive: nothing in it is needed
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            _log.warning("%s is damaged (%s): its results are computed again", path, reason)


def _remove_leftovers(path: Path) -> None:
    """Delete what killed processes of version 0.1.0 left, which wrote results to ``.NAME.statistics.npz.PID``.

    A number of no process here may be another machine's, whose results are then not kept this once.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        pid = left.suffix[1:]
        if pid.isdecimal() and not lives(int(pid)):
            with suppress(OSError):
                left.unlink()


def _digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 of arrays with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(repr((name, str(array.dtype), array.shape)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def open_cache(source: FeatureFile | GramFile) -> StatisticsCache:
    """The results of earlier runs on a file's content, kept beside it."""
    _remove_leftovers(cache_path(source.path))
    return StatisticsCache(cache_path(source.path), source.fingerprint)
