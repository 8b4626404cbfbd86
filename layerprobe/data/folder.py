"""A folder of images: of class folders, with or without splits, Tiny ImageNet's own layout included; or unlabelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from layerprobe.data.image_dataset import ImageDataset, every_fifth
from layerprobe.data.image_files import MOST_HEADERS, read_headers, read_image
from layerprobe.data.unlabelled import find_unlabelled, is_flat
from layerprobe.data.walking import TEST_FOLDERS, TRAIN_FOLDER, PassedOver, class_names, read_class_folders
from layerprobe.errors import LayerprobeError


@dataclass(frozen=True)
class FileReader:
    """Reads the images of a list of files."""

    root: Path
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __call__(self, row: int, upright: bool = False) -> Image.Image:
        """The image of a row, in RGB."""
        return read_image(self.root / self.paths[row], upright)


@dataclass(frozen=True)
class _Files:
    """The images of one split folder: paths below the root, with the class name of each, and what must be told."""

    paths: tuple[str, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def rows(self, rows: npt.NDArray[np.int64]) -> _Files:
        """Some of the images."""
        return replace(self, paths=tuple(self.paths[row] for row in rows), names=tuple(self.names[row] for row in rows))


def open_folder(root: Path, split: str, unlabelled: bool = False) -> ImageDataset:
    """Open a folder of class folders, or of images without labels.

    With ``train/`` and ``test/`` (or ``val/``) those are the splits. Without, every fifth image of each class, in order
    of file names, is the test split. A folder of images without folders in it has no labels.

    Args:
        root: the folder.
        split: as ``open_dataset`` has it.
        unlabelled: whether to take all images below the folder without labels, whatever folders they lie in.

    Raises:
        LayerprobeError: if there are no class folders with images, or the splits have different classes.
    """
    if unlabelled or is_flat(root):
        paths, notes = find_unlabelled(root, split, asked=unlabelled)
        return _dataset_of_files(root, split, paths, notes)
    if (root / TRAIN_FOLDER).is_dir():
        classes, files = _read_splits(root, split)
    else:
        _check_no_split_alone(root)
        files = _class_folders(root, root)
        classes = tuple(sorted(set(files.names)))
        files = files.rows(every_fifth(_labels(files, classes), split))
        if not files.paths:
            raise LayerprobeError(f"{root} has fewer than five images in every class: no test split; add test/")
        if split != "all":
            note = f"{root} has no train/ folder: every fifth image of a class is a test image (--split all takes all)"
            files = replace(files, notes=(note, *files.notes))
    return _dataset_of_files(root, split, files.paths, files.notes, classes, _labels(files, classes))


def _dataset_of_files(
    root: Path,
    split: str,
    paths: tuple[str, ...],
    notes: tuple[str, ...],
    classes: tuple[str, ...] = (),
    labels: npt.NDArray[np.int64] | None = None,
) -> ImageDataset:
    headers = read_headers(root, paths)
    count = len(paths)
    of = (
        f"{count} images of {root}"
        if count <= MOST_HEADERS
        else f"{MOST_HEADERS} looked at of {count} images of {root}"
    )
    return ImageDataset(
        name=str(root),
        split=split,
        classes=classes,
        labels=labels,
        read=FileReader(root, paths),
        paths=paths,
        native_size=headers.native_size,
        squares=headers.squares,
        notes=(*notes, *headers.notes(of)),
    )


def _read_splits(root: Path, split: str) -> tuple[tuple[str, ...], _Files]:
    """The classes of ``train/``, and the images of a split, or of both."""
    wanted = ("train", "test") if split == "all" else (split,)
    train = _split_folder(root, root / TRAIN_FOLDER)
    classes = tuple(sorted(set(train.names)))
    parts = [train if part == "train" else _read_test(root, classes) for part in wanted]
    for part, files in zip(wanted, parts, strict=True):
        _check_same_classes(root, classes, files, part)
    return classes, _Files(
        paths=tuple(path for files in parts for path in files.paths),
        names=tuple(name for files in parts for name in files.names),
        notes=tuple(note for files in parts for note in files.notes),
    )


def _labels(files: _Files, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    number = {name: label for label, name in enumerate(classes)}
    return np.array([number[name] for name in files.names], dtype=np.int64)


def _read_test(root: Path, classes: Sequence[str]) -> _Files:
    """The first test folder with folders of the training classes; ImageNet's ``test/`` has none, its ``val/`` has."""
    there = [root / name for name in TEST_FOLDERS if (root / name).is_dir()]
    if not there:
        names = ", ".join(f"{name}/" for name in TEST_FOLDERS)
        raise LayerprobeError(f"{root} has train/ but none of {names}; add one")
    labelled = [folder for folder in there if _is_annotated(folder) or class_names(folder) & set(classes)]
    chosen = (labelled or there)[0]
    return replace(_split_folder(root, chosen), notes=tuple(_notes_on_test(there, labelled, chosen)))


def _notes_on_test(there: Sequence[Path], labelled: Sequence[Path], chosen: Path) -> Iterator[str]:
    """Which folders might have been the test split, too."""
    for folder in there:
        if labelled and folder not in labelled:
            yield f"{folder} has no folders of the training classes: {chosen} is the test split"
        elif folder != chosen:
            yield f"{chosen} is the test split; {folder} is not read"


def _split_folder(root: Path, folder: Path) -> _Files:
    return _tiny_imagenet(root, folder) if _is_annotated(folder) else _class_folders(root, folder)


def _is_annotated(folder: Path) -> bool:
    """Whether it is of Tiny ImageNet: some move the images into class folders, and leave the annotations there."""
    return (folder / "val_annotations.txt").is_file() and (folder / "images").is_dir()


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
    passed = PassedOver()
    found = read_class_folders(root, folder, passed)
    for one in found:
        if not one.images:
            raise LayerprobeError(f"class folder {folder / one.name} holds no image; remove it or fill it")
    if len({one.name for one in found}) < len(found):
        raise LayerprobeError(f"two class folders of {folder} have one name as text; rename that which is not UTF-8")
    if len(found) < 2:
        held = "holds images, but" if passed.files["outside class folders"] else "has"
        count = "only one class folder" if found else "no class folders"
        raise LayerprobeError(
            f"{folder} {held} {count}; expected one folder of images per class, two at least, or images alone "
            f"(--unlabelled, in YAML data.unlabelled, takes every image without a label)"
        )
    return _Files(
        paths=tuple(path for one in found for path in one.images),
        names=tuple(one.name for one in found for _ in one.images),
        notes=tuple(passed.notes(folder)),
    )


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
