"""The images of a folder that have no labels: it is flat, or the folders in it mean nothing."""

from __future__ import annotations

import os
from pathlib import Path

from layerprobe.data.image_files import is_image
from layerprobe.data.walking import TEST_FOLDERS, TRAIN_FOLDER, PassedOver, read_images
from layerprobe.errors import LayerprobeError


def is_flat(root: Path) -> bool:
    """Whether a folder, or its ``train/``, holds images and no folders, so that there are no classes."""
    with os.scandir(_train_folder(root)) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    return any(is_image(entry.name) for entry in shown) and not any(entry.is_dir() for entry in shown)


def find_unlabelled(root: Path, split: str, asked: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find every image of a folder and of the folders in it, in order of their paths.

    With ``train/`` and ``test/`` (or ``val/``) those are the splits. Without, every image is a training image: what a
    test split is for, the accuracy, needs labels.

    Args:
        root: the folder.
        split: as ``open_dataset`` has it.
        asked: whether the user asked for images without labels; else it is said that they have none.

    Returns:
        Paths below the root, and what the user must be told.

    Raises:
        LayerprobeError: if there is no image, or the split isn't there.
    """
    passed = PassedOver()
    folders = _folders_of(root, split)
    paths = tuple(path for folder in folders for path in read_images(root, folder, passed))
    if not paths:
        raise LayerprobeError(f"{' and '.join(map(str, folders))} must hold images, and there are none; put some there")
    told = () if asked else (f"{_train_folder(root)} holds images and no folders: the images have no labels",)
    return paths, (*told, *passed.notes(root))


def _train_folder(root: Path) -> Path:
    return root / TRAIN_FOLDER if (root / TRAIN_FOLDER).is_dir() else root


def _folders_of(root: Path, split: str) -> list[Path]:
    """The folders of a split, or of both."""
    train = _train_folder(root)
    test = [root / name for name in TEST_FOLDERS if train != root and (root / name).is_dir()][:1]
    if split == "test" and not test:
        raise LayerprobeError(
            f"{root} has no test split: its images have no labels, and all of them are training images; "
            "--split train takes them, and folders train/ and test/ make two splits"
        )
    return {"train": [train], "test": test, "all": [train, *test]}[split]
