"""Texts in a file: names, and paths, which on Linux need not be UTF-8."""

from __future__ import annotations

from collections.abc import Iterable

import h5py
import numpy as np

_ERRORS = "surrogateescape"
"""Python keeps bytes of a name that are not UTF-8 as halves of a character; in the file they are these bytes again."""


def encoded(text: str) -> bytes:
    """The bytes that stand for a text in a file."""
    return text.encode("utf-8", _ERRORS)


def create_texts(file: h5py.File, name: str, texts: Iterable[str]) -> None:
    """Write a data set of texts."""
    values = np.array(list(map(encoded, texts)), dtype=object)
    file.create_dataset(name, data=values, dtype=h5py.string_dtype("utf-8"))


def read_paths(dataset: h5py.Dataset) -> tuple[str, ...]:
    """The texts of a data set of paths."""
    return tuple(dataset.asstr(errors=_ERRORS)[:])
