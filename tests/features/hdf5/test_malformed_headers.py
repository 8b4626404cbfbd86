"""Whatever is wrong with the header of a feature file or a Gram file is one line that names the file and the field."""

from __future__ import annotations

import itertools
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from layerprobe.errors import FileError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.features.hdf5.writer import FeatureFileWriter
from tests.helpers.malformed import refused
from tests.helpers.places import time_limit

Reader = Callable[[Path], FeatureFile | GramFile]
BOTH = pytest.mark.parametrize(("name", "read"), [("features.h5", FeatureFile), ("grams.h5", GramFile)])
ATTRIBUTES: tuple[Any, ...] = (
    1.5, -1, "x", True, np.zeros(2), np.array(["a", "b"], "S1"), b"\xff", h5py.Empty("f4"), math.nan,
)  # fmt: skip
FREE_TEXT = {
    "created", "layerprobe_version", "torch_version", "model", "weights", "dataset", "split", "precision", "device",
    "name", "reduction",
}  # fmt: skip


def attribute_places(file: h5py.File) -> list[tuple[str, str]]:
    first = f"layers/{min(file['layers'])}"
    return [("/", key) for key in file.attrs] + [(first, key) for key in file[first].attrs]


@BOTH
def test_every_attribute_of_an_hdf5_file_is_checked(name: str, read: Reader, written: Path, tmp_path: Path) -> None:
    with h5py.File(written / name) as file:
        found = attribute_places(file)
    path = tmp_path / name
    for where, key in found:
        for value in (None, *ATTRIBUTES):
            shutil.copy(written / name, path)
            with h5py.File(path, "r+") as file:
                original = file[where].attrs[key]
                del file[where].attrs[key]
                if value is not None:
                    file[where].attrs[key] = value
            said = refused(lambda folder: read(path).close(), tmp_path, path, key, "format", "shape")
            text = isinstance(value, str) and key in FREE_TEXT
            number = key in ("mean_square",) and isinstance(value, (float, int)) and not math.isnan(value)
            whole = value is True and isinstance(original, np.integer)  # HDF5 has true and false as an enumeration
            assert said or (text and key != "kind") or number or (value is None and key == "reduction") or whole, (
                key,
                value,
            )


@BOTH
def test_every_data_set_of_an_hdf5_file_is_checked(name: str, read: Reader, written: Path, tmp_path: Path) -> None:
    path, names = tmp_path / name, []
    with h5py.File(written / name) as file:
        file.visititems(lambda key, item: names.append(key) if isinstance(item, h5py.Dataset) else None)
    assert len(names) >= 10
    for key in names:
        for spoil in ("delete", "group", "short", "type", "text", "scalar"):
            shutil.copy(written / name, path)
            with h5py.File(path, "r+") as file:
                attributes, values = dict(file[key].attrs), file[key][()]
                del file[key]
                if spoil == "group":
                    file.create_group(key)
                elif spoil != "delete":
                    new = {
                        "short": values[1:],
                        "type": np.zeros(values.shape, bool),
                        "text": ["x"] * len(values),
                        "scalar": 1,
                    }
                    file[key] = new[spoil]
                if spoil != "delete":
                    file[key].attrs.update(attributes)
            said = refused(lambda folder: read(path).close(), tmp_path, path, key.split("/")[-1], "layers", "checksum")
            assert said or (key == "classes" and spoil == "text"), (key, spoil)


def test_labels_of_no_class_and_marks_that_contradict_each_other(written: Path, tmp_path: Path) -> None:
    def change(name: str, place: Any, value: Any) -> str:
        path = tmp_path / "f.h5"
        shutil.copy(written / "features.h5", path)
        with h5py.File(path, "r+") as file:
            file[name][place] = value
        return refused(lambda folder: FeatureFile(path).close(), tmp_path, path)

    assert "images/label has a label 10, and there are 10 classes" in change("images/label", 3, 10)
    assert "images/label has a label -1" in change("images/label", 3, -1)
    assert "it is marked as complete, and has 29 of 30 rows" in change("images/written", 3, 0)


@BOTH
def test_layers_that_are_no_group(name: str, read: Reader, written: Path, tmp_path: Path) -> None:
    path = shutil.copy(written / name, tmp_path)
    with h5py.File(path, "r+") as file:
        del file["layers"]
        file["layers"] = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
    with pytest.raises(FileError, match="layers can't be read"):
        read(path)


def test_rows_that_another_program_packed_are_read_and_not_written(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    shutil.copy(written / "features.h5", path)
    with h5py.File(path, "r+") as file:
        attributes, values = dict(file["layers/000001"].attrs), file["layers/000001"][:]
        del file["layers/000001"]
        file.create_dataset("layers/000001", data=values, chunks=True, compression="gzip").attrs.update(attributes)
    with FeatureFile(path) as file:
        assert np.array_equal(file.features(1).numpy(), values) and not file.damaged().any()
        assert refused(lambda folder: file.mapped(1), tmp_path, path, "layers/000001 must be contiguous")
    assert refused(lambda folder: FeatureFileWriter(path).close(), tmp_path, path, "layers/000001 must be contiguous")


def only_say(file: h5py.File, key: str, *shape: int) -> None:
    """Put a data set of that shape in the place of another one, without a value in it."""
    attributes, dtype = dict(file[key].attrs), file[key].dtype
    del file[key]
    file.create_dataset(key, shape, dtype, chunks=True).attrs.update(attributes)


def say_rows(file: h5py.File) -> None:
    """Say that there are many images."""
    file.attrs["rows"] = 10**9
    only_say(file, "images/label", 10**9)


def share_texts(file: h5py.File) -> None:
    """Have many classes share one long name."""
    del file["classes"]
    names = file.create_dataset("classes", data=["x" * 10_000] + ["x"] * 9_999, dtype=h5py.string_dtype())
    offset, path = names.id.get_offset(), file.filename
    file.close()
    with Path(path).open("r+b") as raw:
        raw.seek(offset)
        first = raw.read(16)
        raw.seek(offset)
        raw.write(first * 10_000)


BOMBS: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "rows": (say_rows, "images/label says that it has 8,000,000,000 bytes, and the file hasn't"),
    "width": (lambda file: only_say(file, "layers/000000", 30, 10**9), "layers/000000 says that it has 60,000,000,000"),
    "groups": (lambda file: file.create_group("a/" * 2000), "its groups are nested too deeply"),
    "texts": (share_texts, "classes can't be read .*longer than the file"),
    "attribute": (lambda file: file.attrs.update({"notes": ["x"] * 101}), "notes has more than 100 texts"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_asks_for_no_large_memory(name: str, written: Path, tmp_path: Path) -> None:
    spoil, message = BOMBS[name]
    path = tmp_path / "f.h5"
    shutil.copy(written / "features.h5", path)
    with h5py.File(path, "r+") as file:
        spoil(file)
    with time_limit(20), pytest.raises(FileError, match=message), FeatureFile(path) as file:
        assert len(file.classes) < 100


def test_gram_matrices_that_are_not_there(written: Path, tmp_path: Path) -> None:
    path = tmp_path / "g.h5"
    shutil.copy(written / "grams.h5", path)
    with h5py.File(path, "r+") as file:
        rows = file.attrs["rows"] = 10**6
        sizes = {"centred": rows * (rows + 1) // 2, "mean_products": rows, "squared_norms": rows}
        for key in ("images/label", "images/index"):
            del file[key]
            file[key] = np.zeros(rows, np.int64)
        for layer, (part, size) in itertools.product(list(file["layers"]), sizes.items()):
            only_say(file, f"layers/{layer}/{part}", size)
    with pytest.raises(FileError, match="centred says that it has 2,000,002,000,000 bytes, and the file hasn't"):
        GramFile(path)


@BOTH
def test_bytes_that_flip_are_never_another_error(name: str, read: Reader, written: Path, tmp_path: Path) -> None:
    path, generator = tmp_path / name, np.random.default_rng(0)
    whole = (written / name).read_bytes()
    # Of texts whose length flips HDF5 reads gigabytes: their collections of 4096 bytes are left as they are.
    texts = [found.start() for found in re.finditer(b"GCOL", whole)]
    for place in generator.integers(0, len(whole), 40):
        if any(start <= place < start + 4096 for start in texts):
            continue
        path.write_bytes(whole[:place] + bytes([whole[place] ^ int(generator.integers(1, 256))]) + whole[place + 1 :])

        def look(folder: Path) -> None:
            with read(path) as file:
                assert file.labels.shape == (30,) and len(file.classes) == 10 and file.fingerprint
                for stored in file.layers:
                    if isinstance(file, FeatureFile):
                        file.check(stored.layer.index)
                    else:
                        file.gram(stored)

        refused(look, tmp_path, path)
