"""Finds the image files below folders; counts what is passed over."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from layerprobe.data.image_files import is_image, suffix_of

_FEW = 5
TRAIN_FOLDER = "train"
TEST_FOLDERS = ("test", "val", "valid", "validation")
"""Names of a folder of test images, beside that of training images."""


@dataclass
class PassedOver:
    """What lies in a folder and is not taken.

    Attributes:
        files: how many, by the ending of their names; what is hidden, and images outside class folders, by these words.
        links: links to folders that are read already, or lead back; paths for people.
    """

    files: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)

    def notes(self, folder: Path) -> Iterator[str]:
        """What a person must be told, each in one line."""
        kinds = sorted(self.files.items(), key=lambda item: (-item[1], item[0]))
        if kinds:
            named = [f"{count} {name}" for name, count in kinds[:_FEW]]
            rest = sum(count for _, count in kinds[_FEW:])
            yield f"not taken for images below {folder}: {', '.join([*named, *([f'{rest} others'] if rest else [])])}"
        if self.links:
            more = f" and {len(self.links) - 1} more" if len(self.links) > 1 else ""
            yield f"links to folders that are read already are not followed: {self.links[0]}{more}"


@dataclass(frozen=True)
class ClassFolder:
    """A folder of images of one class.

    Attributes:
        name: of the class: the folder's, and bytes of it that are not UTF-8 as Python writes them, ``caf\\xe9``.
        images: paths below the data set's folder, sorted.
    """

    name: str
    images: tuple[str, ...]


def read_class_folders(root: Path, folder: Path, passed: PassedOver) -> list[ClassFolder]:
    """The class folders of a folder, by name, each with every image below it.

    Folders that are links are followed, unless they lead to a folder that is read already, or to one above it.

    Args:
        root: of the data set; paths are relative to it.
        folder: the one with the class folders.
        passed: where is counted what is not taken.

    Raises:
        OSError: if a folder can't be read.
    """
    real = os.path.realpath(folder)
    above = {real, os.path.realpath(root), *map(str, Path(real).parents)}
    found = []
    for name, entry in sorted(_entries(folder, passed)):
        if not _is_folder(entry):
            passed.files["outside class folders" if is_image(name) else _kind(name)] += 1
        elif (target := os.path.realpath(entry.path)) in above:
            passed.links.append(entry.path)
        else:
            prefix = (folder / name).relative_to(root).as_posix()
            images = _images_below(entry.path, prefix, target, above, passed)
            found.append(ClassFolder(_text(name), tuple(sorted(images))))
    return found


def read_images(root: Path, folder: Path, passed: PassedOver) -> list[str]:
    """Paths of every image in a folder and in the folders below it, sorted; links as in ``read_class_folders``.

    Args:
        root: of the data set; paths are relative to it.
        folder: the one with the images.
        passed: where is counted what is not taken.

    Raises:
        OSError: if a folder can't be read.
    """
    real = os.path.realpath(folder)
    prefix = "" if folder == root else folder.relative_to(root).as_posix()
    return sorted(_images_below(str(folder), prefix, real, map(str, Path(real).parents), passed))


def class_names(folder: Path) -> set[str]:
    """The classes that the folders in a folder stand for."""
    with os.scandir(folder) as entries:
        return {_text(entry.name) for entry in entries if not entry.name.startswith(".") and _is_folder(entry)}


def _images_below(folder: str, prefix: str, real: str, above: Iterable[str], passed: PassedOver) -> list[str]:
    """Paths of the images below a folder; links wait until every other folder has been read."""
    images: list[str] = []
    seen = set(above)
    waiting, links = deque([(folder, prefix, real)]), deque[tuple[str, str, str]]()
    while waiting or links:
        path, prefix, real = waiting.popleft() if waiting else links.popleft()
        if real in seen:
            passed.links.append(path)
            continue
        seen.add(real)
        for name, entry in _entries(Path(path), passed):
            below = f"{prefix}/{name}" if prefix else name
            if _is_folder(entry):
                linked = entry.is_symlink()
                target = os.path.realpath(entry.path) if linked else f"{real}{os.sep}{name}"
                (links if linked else waiting).append((entry.path, below, target))
            elif is_image(name):
                images.append(below)
            else:
                passed.files[_kind(name)] += 1
    return images


def _entries(folder: Path, passed: PassedOver) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What lies in a folder. Hidden folders hold copies (.ipynb_checkpoints), at distance zero from their originals."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield entry.name, entry
            else:
                passed.files["hidden"] += 1


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links
        return False


def _text(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _kind(name: str) -> str:
    return suffix_of(name) or "without a suffix"
