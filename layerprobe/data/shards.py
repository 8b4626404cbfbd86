"""WebDataset's tar archives: an index of the images in them, which are read where they lie.

Nothing is unpacked, and nothing but images, ``.cls`` and ``.json`` is read: no pickle.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from layerprobe.data.catalogue import SHARDS
from layerprobe.data.contents import (
    TRAIN,
    Columns,
    Label,
    check_test_split,
    dataset_of_contents,
    number_labels,
    parts_of,
    split_in,
)
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.image_files import is_image
from layerprobe.errors import LayerprobeError
from layerprobe.files import special_file

_BLOCK = 512
_MOST = 2**20
"""Bytes of a label's file."""
_KEYS = ("label", "cls")
"""Of JSON, that hold a label."""


@dataclass(frozen=True)
class _Place:
    """Where a file lies in an archive."""

    shard: Path
    name: str
    offset: int
    size: int

    def read(self) -> bytes:
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass
class _Sample:
    """The files of one key: an image, and what may say its class."""

    image: _Place | None = None
    labels: dict[str, _Place] = field(default_factory=dict)


def open_shards(name: str, split: str, columns: Columns, unlabelled: bool = False) -> ImageDataset:
    """Open one split of images in tar archives.

    The files of a sample have one name up to its first dot. Its label is what ``.cls`` holds, or ``.json`` under
    ``label`` or ``cls``. Splits are as those of ``open_hugging_face``.

    Args:
        name: ``wds:PATH``, an archive or a folder of archives.
        split: ``train``, ``test`` or ``all``.
        columns: the key of JSON that holds labels.
        unlabelled: whether to leave labels out.

    Raises:
        LayerprobeError: if an archive is damaged or holds links, or some images have a label and others none.
    """
    passed: Counter[str] = Counter()
    splits = _read(Path(name.removeprefix(SHARDS)).expanduser(), passed)
    parts = parts_of(splits, split, name)
    notes = () if not passed else (f"not taken for images in {name}: {_counted(passed)}",)
    classes: tuple[str, ...] = ()
    labels: npt.NDArray[np.int64] | None = None
    if not unlabelled:
        whose = {each: splits[each] for each in (TRAIN,) if each in splits} | dict(parts)
        found = {each: [_label(sample, columns, name) for sample in samples] for each, samples in whose.items()}
        classes, labels = number_labels(name, found, [each for each, _ in parts])
        if labels is None:
            notes = (*notes, f"{name} has no .cls and no label in JSON: the images have no labels")
    check_test_split(name, split, splits, labels)
    images = [sample.image for _, samples in parts for sample in samples if sample.image]
    names = tuple(f"{image.shard.name}/{image.name}" for image in images)
    return dataset_of_contents(
        name, split, names, _Contents(tuple(images)), classes, labels, notes, whole=len(splits) == 1
    )


@dataclass(frozen=True)
class _Contents:
    """Gives the contents of images by their row."""

    images: tuple[_Place, ...]

    def __call__(self, row: int) -> bytes | Path:
        return self.images[row].read()


def _read(place: Path, passed: Counter[str]) -> Mapping[str, list[_Sample]]:
    """The samples with an image of every archive, by the names of their splits."""
    shards = sorted(place.rglob("*.tar")) if place.is_dir() else [place]
    splits: dict[str, list[_Sample]] = {}
    for shard in shards:
        split = split_in(shard.relative_to(place)) if place.is_dir() else TRAIN
        splits.setdefault(split, []).extend(_samples(shard, passed))
    splits = {split: samples for split, samples in splits.items() if samples}
    if not splits:
        raise LayerprobeError(f"{place} holds no .tar archive with images; name one, or a folder of them")
    return splits


def _samples(shard: Path, passed: Counter[str]) -> list[_Sample]:
    found: dict[str, _Sample] = {}
    for member in _members(shard):
        path = PurePosixPath(member.name)
        stem, _, ending = path.name.partition(".")
        sample = found.setdefault(str(path.with_name(stem or "_")), _Sample())
        place = _Place(shard, member.name, member.offset_data, member.size)
        if is_image(path.name) and sample.image is None:
            sample.image = place
        elif ending in ("cls", "json"):
            sample.labels[ending] = place
        else:
            passed["." + ending.rpartition(".")[2]] += 1
    return [sample for sample in found.values() if sample.image]


def _members(shard: Path) -> list[tarfile.TarInfo]:
    """The files in an archive, made sure to lie in it whole.

    Raises:
        LayerprobeError: if it is none, is cut off or packed, or holds anything but files and folders.
    """
    if not shard.is_file():
        found = special_file(shard) or "not there"
        raise LayerprobeError(f"{shard} is {found}; name an uncompressed .tar archive")
    size = shard.stat().st_size
    try:
        with tarfile.open(shard, "r:") as archive:
            members = archive.getmembers()
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise LayerprobeError(
            f"{shard} is no uncompressed .tar archive ({reason}); unpack it, or write it anew"
        ) from None
    for member in members:
        path = PurePosixPath(member.name)
        if not (member.isreg() or member.isdir()) or member.issparse():
            raise LayerprobeError(f"{shard} holds {member.name!r}, a link or a device; write it anew with files alone")
        if path.is_absolute() or ".." in path.parts:
            raise LayerprobeError(f"{shard} holds {member.name!r}, which names a place outside; write it anew")
        if member.offset_data + member.size > size:
            raise LayerprobeError(f"{shard} is cut off in {member.name!r}; fetch it again")
    _check_end(shard, members)
    return [member for member in members if member.isreg()]


def _check_end(shard: Path, members: Sequence[tarfile.TarInfo]) -> None:
    """Refuse an archive whose next entry can't be read: Python passes for its end what is no mark of it."""
    last = max((member.offset_data + -(-member.size // _BLOCK) * _BLOCK for member in members), default=0)
    with shard.open("rb") as file:
        file.seek(last)
        mark = file.read(_BLOCK)
    if mark != bytes(_BLOCK):
        raise LayerprobeError(f"{shard} is cut off or damaged after {len(members)} entries; fetch it again")


def _label(sample: _Sample, columns: Columns, name: str) -> Label:
    """What is said of an image's class; None: nothing."""
    place = sample.labels.get("json" if columns.label or "cls" not in sample.labels else "cls")
    if place is None:
        return None
    where = f"{name}: {place.shard.name}/{place.name}"
    if place.size > _MOST:
        raise LayerprobeError(f"{where} is too large for a label; --unlabelled takes the images without")
    try:
        text = place.read().decode()
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise LayerprobeError(f"{where} holds no label; --unlabelled takes the images without") from None
    if isinstance(value, dict):
        keys = (columns.label,) if columns.label else _KEYS
        value = next((value[key] for key in keys if key in value), None)
    if value is None or (isinstance(value, (int, str)) and not isinstance(value, bool)):
        return value
    raise LayerprobeError(f"{where}: a label is a whole number or a text; --unlabelled takes the images without")


def _counted(passed: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in passed.most_common(5))
