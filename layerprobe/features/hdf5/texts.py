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
    return read_texts(dataset, _ERRORS)


_TEXTS_AT_ONCE = 256


def read_texts(dataset: h5py.Dataset, errors: str = "strict") -> tuple[str, ...]:
    """The texts of a data set.

    Args:
        dataset: of texts.
        errors: what becomes of bytes that are not UTF-8, as ``bytes.decode`` has it.

    Raises:
        ValueError: if they are longer than the file: each may be the same, of any length.
    """
    texts: list[str] = []
    room = dataset.file.id.get_filesize()
    for start in range(0, len(dataset), _TEXTS_AT_ONCE):
        texts.extend(dataset.asstr(errors=errors)[start : start + _TEXTS_AT_ONCE])
        room -= sum(map(len, texts[start:]))
        if room < 0:
            raise ValueError("its texts are longer than the file")
    return tuple(texts)
