"""A checksum for every row of every layer: what tells a row that is there from one that a crash left half written."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt


def row_checksums(features: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """CRC-32 (that of zlib and PNG) of each row's bytes, as they lie on disk.

    Args:
        features: (rows, ...) of one layer.

    Returns:
        (rows,) uint32.

    Examples:
        >>> row_checksums(np.zeros((2, 1), np.float32)).tolist()
        [558161692, 558161692]
    """
    rows = bytes_of(features).reshape(len(features), -1)
    return np.array([zlib.crc32(row.data) for row in rows], np.uint32)


def bytes_of(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The bytes of an array in row-major order."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
