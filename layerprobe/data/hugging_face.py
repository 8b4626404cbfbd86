"""Hugging Face datasets: folders of ``save_to_disk``, Arrow and Parquet files, and the hub's.

Only tables are read. No code of a dataset is run, no loading script, and nothing is unpickled.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layerprobe.data.catalogue import HUGGING_FACE
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
from layerprobe.data.image_files import UnreadableImageError
from layerprobe.errors import LayerprobeError, first_of

_FILES = (".arrow", ".parquet")


def open_hugging_face(
    name: str, split: str, columns: Columns, download: bool = False, unlabelled: bool = False
) -> ImageDataset:
    """Open one split of a Hugging Face dataset.

    Its splits are ``train`` and ``test`` (or ``val``, ``valid``, ``validation``). Of a dataset with one split every
    fifth image of each class is a test image, as in a folder.

    Args:
        name: ``hf:PATH`` or ``hf:NAME``, a folder or file, or a dataset of the hub.
        split: ``train``, ``test`` or ``all``.
        columns: that hold images and labels.
        download: whether a dataset of the hub may be downloaded.
        unlabelled: whether to leave labels out.

    Raises:
        LayerprobeError: if it can't be read, or lacks such columns or the split.
    """
    if find_spec("datasets") is None:
        raise LayerprobeError(f"{name} needs the package datasets; `pip install 'layerprobe[hf]'`")
    place = Path(name.removeprefix(HUGGING_FACE)).expanduser()
    with _errors_in_one_line(name):
        splits = _read(place, download)
    notes: tuple[str, ...] = ()
    tables = parts_of(splits, split, name)
    image, label = _image_column(tables[0][1], columns, name), None
    classes: tuple[str, ...] = ()
    labels: npt.NDArray[np.int64] | None = None
    if not unlabelled:
        label, notes = _label_column(tables[0][1], columns, name)
    parts = [(each, table.select_columns([image, *([label] if label else [])])) for each, table in tables]
    with _errors_in_one_line(name):
        if label:
            whose = {TRAIN: splits[TRAIN]} if label in getattr(splits.get(TRAIN), "features", ()) else {}
            classes, labels = _labels(whose | dict(tables), [each for each, _ in tables], label, name)
            notes = notes if labels is not None else (f"{name} has no label in {label}: the images have no labels",)
        content = _Content(name, [_undecoded(table, image) for _, table in parts], image, _roots(place))
        for _, table in parts:
            table.data.validate(full=True)  # Arrow trusts a file's offsets, and reads beyond its end by wrong ones
    check_test_split(name, split, splits, labels)
    names = tuple(f"{each}/{row}" for each, table in parts for row in range(len(table)))
    return dataset_of_contents(name, split, names, content, classes, labels, notes, whole=len(splits) == 1)


def _read(place: Path, download: bool) -> Mapping[str, Any]:
    """The tables of a dataset, by the names of their splits."""
    datasets = import_module("datasets")
    datasets.disable_progress_bars()
    if place.is_file():
        return {TRAIN: _table([place])}
    if not place.is_dir():
        return _read_hub(str(place), download)
    if any((place / name).is_file() for name in ("dataset_dict.json", "state.json")):
        found = datasets.load_from_disk(str(place))
        splits = dict(found) if isinstance(found, datasets.DatasetDict) else {TRAIN: found}
        for file in (file["filename"] for table in splits.values() for file in table.cache_files):
            if not Path(file).resolve().is_relative_to(place.resolve()):
                raise LayerprobeError(f"{place} names the table {file!r}, which lies outside it; save it anew")
        return splits
    files: dict[str, list[Path]] = {}
    for path in sorted(path for path in place.rglob("*") if path.suffix in _FILES and path.is_file()):
        files.setdefault(split_in(path.relative_to(place)), []).append(path)
    if not files:
        raise LayerprobeError(f"{place} holds no dataset: no folder of save_to_disk, and no Arrow or Parquet file")
    return {split: _table(paths) for split, paths in files.items()}


def _table(paths: Sequence[Path]) -> Any:
    """Files as one table: Arrow files are mapped into memory, Parquet files are read. No cache is written."""
    datasets, parquet = import_module("datasets"), import_module("pyarrow.parquet")
    tables = [
        datasets.Dataset.from_file(str(path))
        if path.suffix == ".arrow"
        else datasets.Dataset(datasets.table.InMemoryTable(parquet.read_table(path)))
        for path in paths
    ]
    return datasets.concatenate_datasets(tables) if len(tables) > 1 else tables[0]


def _read_hub(name: str, download: bool) -> Mapping[str, Any]:
    """A dataset of the hub: from the cache, or downloaded. Datasets that come with a script are refused."""
    datasets = import_module("datasets")
    # Versions before 4 knew scripts, and would ask whether to run one.
    known = inspect.signature(datasets.load_dataset).parameters
    options: dict[str, Any] = {"trust_remote_code": False} if "trust_remote_code" in known else {}
    try:
        with nullcontext() if download else _offline():
            return dict(datasets.load_dataset(name, **options))
    except Exception as error:
        reason = _reason(error)
        remedy = "" if download else "; --download fetches one of the hub"
        raise LayerprobeError(f"no folder or file {name}, and no dataset of the hub: {reason}{remedy}") from None


@contextmanager
def _offline() -> Iterator[None]:
    """Have the hub not asked: ``DownloadConfig(local_files_only=True)`` is not heeded by datasets 3 to 5."""
    places: list[Any] = [import_module("datasets.config"), import_module("huggingface_hub.constants")]
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


def _image_column(table: Any, columns: Columns, name: str) -> str:
    datasets, found = import_module("datasets"), table.features
    if columns.image is not None:
        return _named(table, columns.image, "--image-column", name)
    images = [column for column, kind in found.items() if isinstance(kind, datasets.Image)]
    if len(images) != 1:
        there = f"the columns {', '.join(images)}" if images else "no column"
        raise LayerprobeError(
            f"{name} has {there} of images, among {first_of(list(found))}; --image-column names the one to take"
        )
    return str(images[0])


def _label_column(table: Any, columns: Columns, name: str) -> tuple[str | None, tuple[str, ...]]:
    """The column of labels, and what must be told where there is none."""
    datasets, found = import_module("datasets"), table.features
    if columns.label is not None:
        return _named(table, columns.label, "--label-column", name), ()
    labels = [column for column, kind in found.items() if isinstance(kind, datasets.ClassLabel)]
    if len(labels) > 1:
        raise LayerprobeError(
            f"{name} has the columns {', '.join(labels)} of class labels; --label-column names the one to take, or "
            "--unlabelled leaves them out"
        )
    if not labels:
        return None, (f"{name} has no column of class labels: the images have no labels (--label-column names one)",)
    return str(labels[0]), ()


def _named(table: Any, column: str, option: str, name: str) -> str:
    if column not in table.features:
        raise LayerprobeError(f"{option}: {name} has no column {column!r}, but {first_of(list(table.features))}")
    return column


def _labels(
    tables: Mapping[str, Any], opened: Sequence[str], column: str, name: str
) -> tuple[tuple[str, ...], npt.NDArray[np.int64] | None]:
    """Class names, and the label of every image of the splits that are opened, as ``number_labels`` has them."""
    kind = next(iter(tables.values())).features[column]
    found = {split: _texts(table, column, name) for split, table in tables.items()}
    return number_labels(name, found, opened, tuple(map(str, getattr(kind, "names", None) or ())))


def _texts(table: Any, column: str, name: str) -> list[Label]:
    """What a column says of the class of every image: the names of a column of class labels, else its values."""
    values: list[Any] = table.data.column(column).to_pylist()
    if names := getattr(table.features[column], "names", None):
        if any(value is not None and not -1 <= value < len(names) for value in values):
            raise LayerprobeError(
                f"{name}: {column} has numbers that are none of its {len(names)} classes; save it anew"
            )
        return [None if value is None or value < 0 else str(names[value]) for value in values]
    if not all(value is None or isinstance(value, (int, str)) for value in values):
        raise LayerprobeError(f"{name}: {column} must hold whole numbers or texts to be labels; name another column")
    return values


def _undecoded(table: Any, column: str) -> Any:
    """The images of a table as bytes, which are decoded as all our images are."""
    datasets = import_module("datasets")
    images = table.select_columns([column])
    is_image = isinstance(images.features[column], datasets.Image)
    return images.cast_column(column, datasets.Image(decode=False)) if is_image else images


def _roots(place: Path) -> tuple[Path, ...]:
    """Where images may lie that a dataset names by their path: in its folder, or in the cache of the hub's."""
    if place.exists():
        return ((place if place.is_dir() else place.parent).resolve(),)
    return (Path(import_module("datasets").config.HF_CACHE_HOME).resolve(),)


class _Content:
    """Gives the contents of images by their row, of several tables in a row.

    Args:
        name: of the dataset.
        tables: with a column of images.
        column: its name.
        roots: folders in which a path may lie.
    """

    def __init__(self, name: str, tables: Sequence[Any], column: str, roots: Sequence[Path]) -> None:
        self._name, self._tables, self._column, self._roots = name, tables, column, roots
        self._ends = np.cumsum([len(table) for table in tables])

    def __call__(self, row: int) -> bytes | Path:
        number = int(np.searchsorted(self._ends, row, side="right"))
        start = int(self._ends[number - 1]) if number else 0
        value = self._tables[number][row - start][self._column]
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if isinstance(content, bytes):
            return content
        if not isinstance(path, str) or "\0" in path:
            raise UnreadableImageError(Path(self._name, str(row)), "not there", "repair it")
        found = (self._roots[0] / path).resolve()
        if not any(found.is_relative_to(root) for root in self._roots):
            raise LayerprobeError(f"{self._name} names the image {path!r}, which lies outside {self._roots[0]}")
        return found


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def _errors_in_one_line(name: str) -> Iterator[None]:
    """Have whatever the package raises over a damaged dataset raised as one line."""
    try:
        yield
    except LayerprobeError:
        raise
    except Exception as error:
        raise LayerprobeError(
            f"{name} can't be read as a dataset ({type(error).__name__}: {_reason(error)}); save it anew"
        ) from None
