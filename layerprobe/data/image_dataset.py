"""One split of a data set: its images, labels and classes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from layerprobe.errors import LayerprobeError

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


class ImageReader(Protocol):
    """Gives images by their row; called in worker processes."""

    def __len__(self) -> int:
        """How many images there are."""
        ...

    def __call__(self, row: int, upright: bool = False) -> Image.Image:
        """The image of a row, in RGB, turned upright or as it is stored."""
        ...


@dataclass(frozen=True)
class ImageDataset:
    """One split of a data set.

    Attributes:
        name: a built-in data set's own spelling, or the folder that the user typed.
        split: ``train``, ``test`` or ``all``.
        classes: class names; a label is a position in this tuple; empty: the images have no labels.
        labels: (n,) int64; None: the images have no labels.
        read: gives the image of a row, in RGB, turned upright or as it is stored.
        paths: of every image below the data set's folder; None where it has no files.
        native_size: height and width in pixels, where the images are small squares of one size, or most of them are.
        squares: whether all images are squares, whose aspect no resizing changes.
        statistics: known per-channel mean and standard deviation on the scale [0, 1].
        notes: what the user must be told, each in one line, e.g. how a missing split was made.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64] | None
    read: ImageReader = field(repr=False)
    paths: tuple[str, ...] | None = None
    native_size: int | None = None
    squares: bool = False
    statistics: Statistics | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.read)

    @property
    def known_labels(self) -> npt.NDArray[np.int64]:
        """(n,) int64 class labels.

        Raises:
            LayerprobeError: if the images have none.
        """
        if self.labels is None:
            raise LayerprobeError(f"the images of {self.name} have no labels; this takes a folder of class folders")
        return self.labels

    def without_labels(self) -> ImageDataset:
        """The same images without their labels and classes."""
        return replace(self, classes=(), labels=None)

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
