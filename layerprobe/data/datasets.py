"""Data sets by name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from layerprobe.data.builtin import open_builtin
from layerprobe.data.catalogue import DATASETS, HUGGING_FACE, SHARDS
from layerprobe.data.contents import Columns
from layerprobe.data.folder import open_folder
from layerprobe.data.hugging_face import open_hugging_face
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.shards import open_shards
from layerprobe.data.unlabelled import is_flat
from layerprobe.errors import LayerprobeError
from layerprobe.settings.data import DataSettings

_log = logging.getLogger(__name__)

SPLITS = ("train", "test", "all")


def open_dataset(
    name: str,
    split: str = "train",
    root: Path | None = None,
    download: bool = False,
    unlabelled: bool = False,
    columns: Columns | None = None,
) -> ImageDataset:
    """Open one split of a built-in data set or of a folder of images.

    Args:
        name: a key of ``DATASETS`` (in any case), ``hf:`` with a Hugging Face dataset, ``wds:``
            with tar archives, or a folder.
        split: ``train``, ``test`` or ``all`` (train, then test).
        root: where torchvision's data sets lie; None: ``data``.
        download: whether a missing one may be downloaded.
        unlabelled: whether to leave labels out; of a folder every image is taken, whatever folder it lies in.
        columns: of a Hugging Face dataset or of JSON in archives, that hold images and labels.

    Raises:
        LayerprobeError: if there is no such data set or split, or it holds no usable images.
    """
    if split not in SPLITS:
        raise LayerprobeError(f"--split is one of {', '.join(SPLITS)}, not {split!r}")
    if name.startswith(HUGGING_FACE):
        return open_hugging_face(name, split, columns or Columns(), download, unlabelled)
    if name.startswith(SHARDS):
        return open_shards(name, split, columns or Columns(), unlabelled)
    builtin = next((known for known in DATASETS if known.lower() == name.lower()), None)
    if builtin:
        # torchvision expands ~ in some of its paths only.
        dataset = _beside_a_folder(
            name, lambda: open_builtin(builtin, split, (root or Path("data")).expanduser(), download)
        )
        return dataset.without_labels() if unlabelled else dataset
    if Path(name).is_dir():
        return open_folder(Path(name), split, unlabelled)
    raise LayerprobeError(f"no data set and no folder {name!r}; built in: {', '.join(DATASETS)}")


def open_split(data: DataSettings, split: str, beside: ImageDataset | None = None) -> ImageDataset:
    """Open one split of the images that settings name, and log what must be told of it.

    Args:
        data: which images.
        split: as ``open_dataset`` has it.
        beside: another split of theirs that was opened; what was told of it is not told again.

    Raises:
        LayerprobeError: as ``open_dataset``.
    """
    dataset = open_quietly(data, split)
    for note in dataset.notes:
        if beside is None or note not in beside.notes:
            _log.info("%s", note, extra={"once": True})
    return dataset


def open_quietly(data: DataSettings, split: str) -> ImageDataset:
    """Open one split of the images that settings name, and say nothing.

    Raises:
        LayerprobeError: as ``open_dataset``.
    """
    columns = Columns(data.image_column, data.label_column)
    return open_dataset(data.name, split, data.data_root, data.download, data.unlabelled, columns)


def has_no_labels(data: DataSettings) -> bool:
    """Whether images are known to have no labels, without reading a folder of them.

    Raises:
        LayerprobeError: as ``open_dataset``, of tables and archives.
    """
    if data.unlabelled or data.name.startswith((HUGGING_FACE, SHARDS)):
        return data.unlabelled or open_quietly(data, "train").labels is None
    known = any(data.name.lower() == one.lower() for one in DATASETS)
    return not known and Path(data.name).is_dir() and is_flat(Path(data.name))


def _beside_a_folder(name: str, opened: Callable[[], ImageDataset]) -> ImageDataset:
    """Open a built-in data set; where a folder has the same name, say which of the two the name means."""
    if not Path(name).is_dir():
        return opened()
    hint = f"{name} means the built-in data set; --data ./{name} means the folder"
    try:
        dataset = opened()
    except LayerprobeError as error:
        raise LayerprobeError(f"{error}; {hint}") from None
    return replace(dataset, notes=(*dataset.notes, hint))
