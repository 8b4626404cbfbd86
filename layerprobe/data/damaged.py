"""Finds images that can't be read, so that they are left out before anything is computed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.image_files import UnreadableImageError
from layerprobe.data.loading import EpochBatches, batch_loader
from layerprobe.errors import LayerprobeError
from layerprobe.records import Progress, silent

_log = logging.getLogger(__name__)

_NAMED = 3
_BATCH = 64


def leave_out_damaged(
    dataset: ImageDataset, rows: npt.NDArray[np.int64], workers: int = 0, progress: Progress = silent
) -> npt.NDArray[np.int64]:
    """Decode images, and leave out those that can't be read; a warning says which.

    Args:
        dataset: the images.
        rows: (n,) which of them.
        workers: processes that decode; 0: this one does.
        progress: told after every batch.

    Returns:
        (m,) the rows of the others, in the same order.

    Raises:
        LayerprobeError: if every image of a class is damaged, or an image has more than 8 bits per channel.
    """
    if dataset.paths is None:
        return rows
    errors: list[LayerprobeError | None] = []
    for found in batch_loader(_Errors(dataset, rows), EpochBatches(len(rows), _BATCH), workers):
        errors += found
        progress("images checked", len(errors), len(rows))
    other = next((error for error in errors if error and not isinstance(error, UnreadableImageError)), None)
    if other is not None:
        raise other
    damaged = np.array([error is not None for error in errors], dtype=np.bool_)
    if damaged.any():
        _tell(dataset, [error for error in errors if isinstance(error, UnreadableImageError)], len(rows))
        _check_classes(dataset, rows, rows[~damaged])
    return rows[~damaged]


def _tell(dataset: ImageDataset, errors: Sequence[UnreadableImageError], count: int) -> None:
    named = [f"{error.path} is {error.what}" for error in errors[:_NAMED]]
    more = [f"{len(errors) - _NAMED} more"] if len(errors) > _NAMED else []
    _log.warning(
        "%d of %d images of %s (%s) can't be read and are left out: %s",
        len(errors),
        count,
        dataset.name,
        dataset.split,
        "; ".join(named + more),
    )


def _check_classes(dataset: ImageDataset, before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> None:
    if dataset.labels is None:
        if not len(after):
            raise LayerprobeError(f"no image of {dataset.name} ({dataset.split}) can be read; repair its images")
        return
    lost = np.setdiff1d(dataset.labels[before], dataset.labels[after])
    if len(lost):
        raise LayerprobeError(
            f"class {dataset.classes[lost[0]]!r} of {dataset.name} ({dataset.split}) has no image that can be read; "
            "repair its images, or remove the class"
        )


class _Errors(Dataset[Any]):
    """What is wrong with each image; None: nothing is."""

    def __init__(self, dataset: ImageDataset, rows: npt.NDArray[np.int64]) -> None:
        self._dataset, self._rows = dataset, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitems__(self, positions: Sequence[int]) -> list[LayerprobeError | None]:
        return [self._error(int(self._rows[position])) for position in positions]

    def _error(self, row: int) -> LayerprobeError | None:
        try:
            self._dataset.image(row)
        except LayerprobeError as error:
            return error
        return None
