"""Data sets that are known by name: scikit-learn's digits and torchvision's."""

from __future__ import annotations

import http.client
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from layerprobe.data.catalogue import DATASETS, DIGITS
from layerprobe.data.image_dataset import ImageDataset, ImageReader, every_fifth
from layerprobe.data.image_files import read_image
from layerprobe.errors import LayerprobeError


@dataclass(frozen=True)
class ArrayReader:
    """Gives rows of an array of images: (n, height, width) grey or (n, height, width, 3), uint8."""

    images: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.images)

    def __call__(self, row: int, upright: bool = False) -> Image.Image:
        """The image of a row, in RGB; it is upright."""
        return Image.fromarray(self.images[row]).convert("RGB")


@dataclass(frozen=True)
class PathReader:
    """Reads the images of a list of files."""

    files: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __call__(self, row: int, upright: bool = False) -> Image.Image:
        """The image of a row, in RGB."""
        return read_image(self.files[row], upright)


@dataclass(frozen=True)
class _Part:
    """Images and labels of one torchvision object: an array, or files."""

    images: npt.NDArray[np.uint8] | list[Path]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]


_UNREADABLE = (
    *(RuntimeError, OSError, ValueError, EOFError, AssertionError, pickle.UnpicklingError),
    *(http.client.HTTPException, tarfile.TarError, zipfile.BadZipFile),
)
"""What torchvision raises for files that are missing, damaged, or cut off on their way."""


def open_builtin(name: str, split: str, root: Path, download: bool) -> ImageDataset:
    """Open one split of a data set of ``DATASETS``.

    Raises:
        LayerprobeError: if its files aren't there or can't be downloaded.
    """
    builtin = DATASETS[name]
    if name == DIGITS:
        return _digits(split)
    if not builtin.parts:
        part = _load(name, root, download, {})
        rows = every_fifth(part.labels, split)
        chosen = [_Part([part.images[row] for row in rows], part.labels[rows], part.classes)]
    else:
        splits = ("train", "test") if split == "all" else (split,)
        chosen = [_load(name, root, download, arguments) for each in splits for arguments in builtin.parts[each]]
    reader, paths = _reader(chosen, root)
    return ImageDataset(
        name=name,
        split=split,
        classes=chosen[0].classes,
        labels=np.concatenate([part.labels for part in chosen]),
        read=reader,
        paths=paths,
        native_size=builtin.native_size,
        statistics=builtin.statistics,
        notes=(builtin.note,) if builtin.note and split != "all" else (),
    )


def _reader(parts: Sequence[_Part], root: Path) -> tuple[ImageReader, tuple[str, ...] | None]:
    arrays = [part.images for part in parts if isinstance(part.images, np.ndarray)]
    if arrays:
        return ArrayReader(np.concatenate(arrays)), None
    files = tuple(Path(file) for part in parts for file in part.images)
    return PathReader(files), tuple(file.relative_to(root).as_posix() for file in files)


def _load(name: str, root: Path, download: bool, arguments: Mapping[str, Any]) -> _Part:
    """Let torchvision find (or download) the files, and take its images and labels without decoding any."""
    import torchvision.datasets

    try:
        dataset = getattr(torchvision.datasets, name)(root, download=download, **arguments)
    except _UNREADABLE as error:
        if download:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise LayerprobeError(
                f"can't fetch {name} into {root}: {reason}; put its files there, or name their folder with --data-root"
            ) from None
        raise LayerprobeError(
            f"{name} is not in {root}/ (or is damaged); --download fetches it, --data-root DIR points elsewhere"
        ) from None
    return _PARTS[name](dataset)


def _array_part(dataset: Any, images: npt.NDArray[np.uint8], labels: Any, classes: Sequence[str]) -> _Part:
    return _Part(images, np.asarray(labels, dtype=np.int64), tuple(classes))


_PARTS: Mapping[str, Callable[[Any], _Part]] = {
    "CIFAR10": lambda d: _array_part(d, d.data, d.targets, d.classes),
    "CIFAR100": lambda d: _array_part(d, d.data, d.targets, d.classes),
    "FashionMNIST": lambda d: _array_part(d, d.data.numpy(), d.targets.numpy(), d.classes),
    "SVHN": lambda d: _array_part(d, d.data.transpose(0, 2, 3, 1), d.labels, [str(digit) for digit in range(10)]),
    "EuroSAT": lambda d: _Part(
        [Path(path) for path, _ in d.samples], np.asarray(d.targets, dtype=np.int64), tuple(d.classes)
    ),
    "Flowers102": lambda d: _Part(
        list(d._image_files),
        np.asarray(d._labels, dtype=np.int64),
        tuple(getattr(d, "classes", None) or (f"flower {number}" for number in range(1, 103))),
    ),
    "OxfordIIITPet": lambda d: _Part(list(d._images), np.asarray(d._labels, dtype=np.int64), tuple(d.classes)),
}


def _digits(split: str) -> ImageDataset:
    """scikit-learn's 1,797 handwritten digits: 8x8 pixels of 17 grey levels, a third of them for the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    rows = np.arange(len(labels))
    train, test = train_test_split(rows, test_size=1 / 3, random_state=0, stratify=labels)
    rows = {"train": np.sort(train), "test": np.sort(test), "all": np.concatenate([np.sort(train), np.sort(test)])}[
        split
    ]
    pixels = (images.reshape(-1, 8, 8) * 15).astype(np.uint8)  # levels 0 to 16 become 0 to 240, exactly
    return ImageDataset(
        name="digits",
        split=split,
        classes=tuple(str(digit) for digit in range(10)),
        labels=labels[rows].astype(np.int64),
        read=ArrayReader(pixels[rows]),
        native_size=8,
        statistics=((0.2873,) * 3, (0.3539,) * 3),
    )
