"""A folder of class folders, with or without splits, Tiny ImageNet's own layout included."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from layerprobe.data.image_dataset import ImageDataset, every_fifth
from layerprobe.errors import LayerprobeError
from layerprobe.files import special_file

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"}
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF")
"""What Pillow may take a file for, by its content: among its other formats are such that start other programs."""
TEST_FOLDERS = ("test", "val", "valid", "validation")
LARGEST_NATIVE_SIZE = 64

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)
"""What Pillow's decoders raise on damaged files: a broken header may even claim a size that looks like an attack."""


@dataclass(frozen=True)
class FileReader:
    """Reads the images of a list of files."""

    root: Path
    paths: tuple[str, ...]

    def __call__(self, row: int) -> Image.Image:
        """The image of a row, in RGB."""
        return read_image(self.root / self.paths[row])


def read_image(path: Path) -> Image.Image:
    """Decode a file into RGB.

    Raises:
        LayerprobeError: if it is truncated, or no image, or has more than 8 bits per channel.
    """
    try:
        if found := special_file(path):
            raise LayerprobeError(f"{path} is {found}, not an image; remove it")
        with Image.open(path, formats=FORMATS) as image:
            # Pillow clips these at 255 instead of scaling them: nearly every pixel would turn white.
            deep = image.mode == "F" or image.mode.startswith("I")
            pixels: Image.Image = image.convert("RGB")
    except UnidentifiedImageError:
        reason = "no known format"
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
    else:
        if deep:
            raise LayerprobeError(f"{path} has more than 8 bits per channel; convert the images to 8 bits")
        return pixels
    raise LayerprobeError(f"{path} is not a readable image ({reason}); repair or remove it")


@dataclass(frozen=True)
class _Files:
    """The images of one split folder: paths below the root, with the class name of each."""

    paths: tuple[str, ...]
    names: tuple[str, ...]


def open_folder(root: Path, split: str) -> ImageDataset:
    """Open a folder of class folders.

    With ``train/`` and ``test/`` (or ``val/``) those are the splits. Without, every fifth image of each class, in order
    of file names, is the test split.

    Raises:
        LayerprobeError: if there are no class folders with images, or the splits have different classes.
    """
    note = ""
    if (root / "train").is_dir():
        wanted = ("train", "test") if split == "all" else (split,)
        parts = {part: _read_split(root, part) for part in ("train", *wanted)}
        classes = tuple(sorted(set(parts["train"].names)))
        for part, files in parts.items():
            _check_same_classes(root, classes, files, part)
        files = _Files(
            paths=tuple(path for part in wanted for path in parts[part].paths),
            names=tuple(name for part in wanted for name in parts[part].names),
        )
        labels = _labels(files, classes)
    else:
        _check_no_split_alone(root)
        files = _class_folders(root, root)
        classes = tuple(sorted(set(files.names)))
        rows = every_fifth(_labels(files, classes), split)
        files = _Files(tuple(files.paths[row] for row in rows), tuple(files.names[row] for row in rows))
        labels = _labels(files, classes)
        if not len(labels):
            raise LayerprobeError(f"{root} has fewer than five images in every class: no test split; add test/")
        if split != "all":
            note = f"{root} has no train/ folder: every fifth image of a class is a test image (--split all takes all)"
    return ImageDataset(
        name=str(root),
        split=split,
        classes=classes,
        labels=labels,
        read=FileReader(root, files.paths),
        paths=files.paths,
        native_size=_native_size(root / files.paths[0]),
        note=note,
    )


def _labels(files: _Files, classes: tuple[str, ...]) -> np.ndarray:
    number = {name: label for label, name in enumerate(classes)}
    return np.array([number[name] for name in files.names], dtype=np.int64)


def _read_split(root: Path, split: str) -> _Files:
    candidates = ("train",) if split == "train" else TEST_FOLDERS
    for name in candidates:
        folder = root / name
        # Some move the images of val/ into class folders, and leave the annotations there.
        if (folder / "val_annotations.txt").is_file() and (folder / "images").is_dir():
            return _tiny_imagenet(root, folder)
        # Tiny ImageNet has a test/ folder without classes; its val/ is the one with labels.
        if folder.is_dir() and not (name == "test" and (root / "val" / "val_annotations.txt").is_file()):
            return _class_folders(root, folder)
    raise LayerprobeError(f"{root} has train/ but none of {', '.join(f'{name}/' for name in candidates)}; add one")


def _tiny_imagenet(root: Path, folder: Path) -> _Files:
    """Tiny ImageNet's validation images: ``images/``, and ``val_annotations.txt`` with the class of each."""
    rows = [line.split("\t") for line in (folder / "val_annotations.txt").read_text(encoding="utf-8").splitlines()]
    pairs = sorted((row[1], row[0]) for row in rows if len(row) >= 2)
    if not pairs:
        raise LayerprobeError(f"{folder / 'val_annotations.txt'} names no image; unpack the data set again")
    prefix = folder.relative_to(root).as_posix()
    return _Files(tuple(f"{prefix}/images/{file}" for _, file in pairs), tuple(name for name, _ in pairs))


def _class_folders(root: Path, folder: Path) -> _Files:
    """Every image below the class folders of a folder, by class, then by path."""
    entries = list(os.scandir(folder))
    names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    paths: list[str] = []
    labels: list[str] = []
    for name in names:
        found = sorted(_images_below(root, folder / name))
        if not found:
            raise LayerprobeError(f"class folder {folder / name} holds no image; remove it or fill it")
        paths += found
        labels += [name] * len(found)
    if len(names) < 2:
        held = "holds images, but" if any(_is_image(entry.name) for entry in entries) else "has"
        count = "only one class folder" if names else "no class folders"
        raise LayerprobeError(f"{folder} {held} {count}; expected one folder of images per class, two at least")
    return _Files(tuple(paths), tuple(labels))


def _images_below(root: Path, folder: Path) -> list[str]:
    found = []
    for base, folders, files in os.walk(folder):
        # Hidden folders hold copies (.ipynb_checkpoints): images at distance zero from their originals.
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = Path(base).relative_to(root).as_posix()
        found += [f"{prefix}/{file}" for file in files if _is_image(file)]
    return found


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 (speed)


def _check_no_split_alone(root: Path) -> None:
    """A test folder without its train/ would pass for a class."""
    for name in TEST_FOLDERS:
        folder = root / name
        if folder.is_dir() and any(entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir()):
            raise LayerprobeError(f"{root} has {name}/ but no train/; name the folder of training images train/")


def _check_same_classes(root: Path, classes: tuple[str, ...], files: _Files, part: str) -> None:
    different = sorted(set(classes) ^ set(files.names))
    if different:
        raise LayerprobeError(
            f"the train and {part} splits of {root} have different classes, first {different[0]!r}; "
            "give both the same class folders"
        )


def _native_size(path: Path) -> int | None:
    width, height = read_image(path).size
    return width if width == height and width <= LARGEST_NATIVE_SIZE else None
