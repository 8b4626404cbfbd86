"""What was measured before, kept beside the file it was measured from."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.files import writing
from layerprobe.geometry.measure import Values
from layerprobe.version import __version__

_log = logging.getLogger(__name__)

VERSION = 2
"""Of the formulas and the names of what they give: results of another version are computed again."""


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
        if path is not None and path.exists():
            self._read(path)

    def get(self, layer: str, task: str) -> Values | None:
        """A result; None where it isn't there."""
        return self._results.get((layer, task))

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
        try:
            with writing(self._path) as file:
                np.savez(file, **{"key": np.array(self._key), **arrays})  # type: ignore[arg-type]
        except LayerprobeError as error:
            _log.debug("results are not kept: %s", error)

    def __enter__(self) -> StatisticsCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.save()

    def _read(self, path: Path) -> None:
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                if str(file["key"]) != self._key:
                    return
                for entry in file.files:
                    if entry != "key":
                        layer, task, name = entry.rsplit("|", 2)
                        self._results.setdefault((layer, task), {})[name] = torch.from_numpy(file[entry])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            _log.debug("%s can't be read (%s): computed again", path, error)
            self._results.clear()


def open_cache(source: FeatureFile | GramFile) -> StatisticsCache:
    """The results of earlier runs on a file's content, kept beside it."""
    return StatisticsCache(cache_path(source.path), source.fingerprint)
