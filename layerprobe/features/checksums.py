"""A checksum for every row of every layer: what tells a row that is there from one that a crash left half written."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def row_checksums(features: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.uint32]:
    """CRC-32 (that of zlib and PNG) of each row's bytes, as they lie on disk.

    Args:
        features: for every layer an array (rows, ...).

    Returns:
        (rows, layers) uint32.

    Example:
        >>> row_checksums([np.zeros((2, 1), np.float32)]).tolist()
        [[558161692], [558161692]]
    """
    sums = np.empty((len(features[0]), len(features)), np.uint32)
    for column, values in enumerate(features):
        rows = bytes_of(values).reshape(len(values), -1)
        for row, data in enumerate(rows):
            sums[row, column] = zlib.crc32(data.data)
    return sums


def bytes_of(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The bytes of an array in row-major order."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
