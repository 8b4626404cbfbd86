"""One split of a data set: its images, labels and classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class ImageDataset:
    """One split of a data set.

    Attributes:
        name: a built-in data set's own spelling, or the folder that the user typed.
        split: ``train``, ``test`` or ``all``.
        classes: class names; a label is a position in this tuple.
        labels: (n,) int64.
        read: gives the image of a row, in RGB, turned upright or as it is stored; called in worker processes.
        paths: of every image below the data set's folder; None where it has no files.
        native_size: height and width in pixels, where the images are small squares of one size, or most of them are.
        squares: whether all images are squares, whose aspect no resizing changes.
        statistics: known per-channel mean and standard deviation on the scale [0, 1].
        notes: what the user must be told, each in one line, e.g. how a missing split was made.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    read: Callable[[int, bool], Image.Image] = field(repr=False)
    paths: tuple[str, ...] | None = None
    native_size: int | None = None
    squares: bool = False
    statistics: Statistics | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, row: int, upright: bool = False) -> Image.Image:
        """The image of a row, in RGB.

        Args:
            row: of the image.
            upright: whether to turn it as the EXIF orientation of its file says.

        Raises:
            LayerprobeError: if its file can't be read.
        """
        return self.read(row, upright)


def every_fifth(labels: npt.NDArray[np.int64], split: str) -> npt.NDArray[np.int64]:
    """Rows of a split that the data set doesn't have: every fifth image of each class is a test image."""
    rows = np.arange(len(labels), dtype=np.int64)
    if split == "all":
        return rows
    number_in_class = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        number_in_class[members] = np.arange(len(members))
    in_test: npt.NDArray[np.bool_] = number_in_class % 5 == 4
    return rows[in_test] if split == "test" else rows[~in_test]
