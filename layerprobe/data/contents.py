"""Images that lie in other files: in tables of a Hugging Face dataset, or in archives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from layerprobe.data.image_dataset import ImageDataset, every_fifth
from layerprobe.data.image_files import MOST_HEADERS, read_headers, read_image
from layerprobe.data.walking import TEST_FOLDERS
from layerprobe.errors import LayerprobeError, first_of

TRAIN = "train"
Part = TypeVar("Part")
Label = int | str | None
Content = Callable[[int], "bytes | Path"]
"""Gives what is in the image file of a row, or its path; it raises a ``LayerprobeError`` where there is none."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table, or keys of JSON, hold images and labels; None: those that are found by themselves.

    Attributes:
        image: of images.
        label: of labels.
    """

    image: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class ContentReader:
    """Reads images from their contents.

    Attributes:
        root: what holds them, for messages.
        names: of every image below it.
        content: gives what is in the file of a row of what was opened.
        rows: (n,) of these rows, those that are images of the data set.
    """

    root: Path
    names: tuple[str, ...]
    content: Content
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def __call__(self, row: int, upright: bool = False) -> Image.Image:
        """The image of a row, in RGB."""
        found = self.content_of(row)
        return read_image(found, upright) if isinstance(found, Path) else read_image(self.path(row), upright, found)

    def path(self, row: int) -> Path:
        """What messages call the image of a row."""
        return self.root / self.names[row]

    def content_of(self, row: int) -> bytes | Path:
        """What is in the file of a row, or its path."""
        return self.content(int(self.rows[row]))


def split_in(path: Path) -> str:
    """The split that a file's path names, as ``data/test-00000-of-00001.parquet`` does; else it is for training."""
    words = re.findall(r"[a-z]+", str(path).lower())
    return next((word for word in words if word in (TRAIN, *TEST_FOLDERS)), TRAIN)


def parts_of(splits: Mapping[str, Part], split: str, name: str) -> list[tuple[str, Part]]:
    """What makes up a split of ours, by the names of theirs; of one alone both splits are made.

    Raises:
        LayerprobeError: if it isn't there.
    """
    if len(splits) == 1:
        return list(splits.items())
    test = next((each for each in TEST_FOLDERS if each in splits), "test")
    ours = {"train": (TRAIN,), "test": (test,), "all": (TRAIN, test)}[split]
    if lacking := [each for each in ours if each not in splits]:
        raise LayerprobeError(f"{name} has no split {lacking[0]}, but {first_of(sorted(splits))}")
    return [(each, splits[each]) for each in ours]


def number_labels(
    name: str, labels: Mapping[str, Sequence[Label]], opened: Sequence[str], known: Sequence[str] = ()
) -> tuple[tuple[str, ...], npt.NDArray[np.int64] | None]:
    """The classes, which are the labels of the training split, and the number of every image's class.

    Args:
        name: of the data set.
        labels: of the images, by split: of those that are opened, and of the training split where there is one.
        opened: the splits that are opened, in order.
        known: the classes, where the data set names them; else they are the labels, in order.

    Returns:
        The names of the classes, and the number of the class of every image that is opened; None: no image has a label.

    Raises:
        LayerprobeError: if some images have a label and others none, or an image has one that is no class.
    """
    missing = {split: sum(label is None for label in found) for split, found in labels.items()}
    if all(missing[split] == len(found) for split, found in labels.items()):
        return (), None
    if bare := [f"{count} of {len(labels[split])} images of {split}" for split, count in missing.items() if count]:
        raise LayerprobeError(
            f"{name}: some images have a label and others none; --unlabelled takes them without ({first_of(bare)})"
        )
    classes = known or _in_order(label for label in labels.get(TRAIN, labels[opened[0]]) if label is not None)
    number: dict[Label, int] = {label: place for place, label in enumerate(classes)}
    for split in opened:
        if strange := [repr(label) for label in labels[split] if label not in number]:
            raise LayerprobeError(
                f"{name}: the classes are the labels of the training split, but {len(strange)} images of {split} have "
                f"others, first {strange[0]}; leave these images out, or --unlabelled takes all without labels"
            )
    found = [number[label] for split in opened for label in labels[split]]
    return tuple(map(str, classes)), np.array(found, dtype=np.int64)


def _in_order(labels: Iterable[int | str]) -> list[int | str]:
    return sorted(set(labels), key=lambda label: (isinstance(label, str), label))


def check_test_split(name: str, split: str, splits: Sized, labels: npt.NDArray[np.int64] | None) -> None:
    """Refuse the test split of images without labels that have one split.

    Raises:
        LayerprobeError: if so.
    """
    if split == "test" and labels is None and len(splits) == 1:
        raise LayerprobeError(f"{name} has no test split: its images have no labels, and all are training images")


def dataset_of_contents(
    name: str,
    split: str,
    names: tuple[str, ...],
    content: Content,
    classes: tuple[str, ...],
    labels: npt.NDArray[np.int64] | None,
    notes: tuple[str, ...],
    whole: bool,
) -> ImageDataset:
    """The images of a split.

    Args:
        name: of the data set.
        split: of it.
        names: of every image.
        content: of every image.
        classes: class names.
        labels: of every image; None: they have none.
        notes: what the user must be told.
        whole: whether the images are those of both splits, which are made of them: every fifth image of a class is a
            test image.
    """
    rows = np.arange(len(names), dtype=np.int64)
    if whole and labels is not None:
        rows = every_fifth(labels, split)
        if split != "all":
            notes = (
                *notes,
                f"{name} has one split: every fifth image of a class is a test image (--split all takes all)",
            )
    reader = ContentReader(Path(name), tuple(names[row] for row in rows), content, rows)
    headers = read_headers(reader.root, reader.names, reader.content_of)
    of = f"{len(reader)} images of {name}"
    if len(reader) > MOST_HEADERS:
        of = f"{MOST_HEADERS} looked at of {of}"
    return ImageDataset(
        name=name,
        split=split,
        classes=classes,
        labels=None if labels is None else labels[rows],
        read=reader,
        paths=reader.names,
        native_size=headers.native_size,
        squares=headers.squares,
        notes=(*notes, *headers.notes(of)),
    )
