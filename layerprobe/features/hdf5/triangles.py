"""Symmetric matrices on disk: their lower triangles, row after row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def triangle_size(n: int) -> int:
    """How many values the lower triangle of an n x n matrix has, its diagonal included."""
    return n * (n + 1) // 2


def pack(matrix: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    """The lower triangle of a symmetric matrix, row after row: (n (n + 1) / 2,)."""
    return np.concatenate([row[: number + 1].astype(np.float32) for number, row in enumerate(matrix)])


def unpack(triangle: npt.NDArray[np.float32], n: int) -> npt.NDArray[np.float64]:
    """The whole symmetric matrix, (n, n), of its lower triangle."""
    matrix = np.empty((n, n), np.float64)
    start = 0
    for row in range(n):
        matrix[row, : row + 1] = triangle[start : start + row + 1]
        start += row + 1
    for first in range(0, n, 512):  # a block of rows at a time: a column of the whole matrix is slow to read
        block = slice(first, first + 512)
        matrix[:first, block] = matrix[block, :first].T
        square = matrix[block, block]
        square[:] = np.tril(square) + np.tril(square, -1).T
    return matrix
