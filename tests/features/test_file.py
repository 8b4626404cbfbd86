"""The feature file: what is written is read, what isn't finished isn't there."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.file import FeatureFile, FeatureFileWriter, FilePlan, StoredLayer
from layerprobe.types import Layer

LAYERS = (
    StoredLayer(Layer(0, "relu", "activation", (3, 5, 7), 10), (3, 5, 7)),
    StoredLayer(Layer(4, "fc.input", "feature", (6,), 20), (6,)),
    StoredLayer(Layer(5, "big", "block", (3, 50, 70), 30), (3, 5, 7), "avg:5x7"),
)
PROVENANCE = {"model": "net", "population": 100, "sample": {"how": "every image"}, "preprocessing": {"std": [1.0]}}


def plan(dtype: str = "float32", paths: bool = True) -> FilePlan:
    names = [f"a/{row}.png" for row in range(5)] if paths else None
    return FilePlan(LAYERS, dtype, np.array([0, 1, 1, 0, 1]), np.arange(5) * 2, names, ("ä", "b"), PROVENANCE)


def values(seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(5, *layer.shape)).astype(np.float32) for layer in LAYERS]


def write(path: Path, dtype: str = "float32") -> list[np.ndarray]:
    data = values()
    with FeatureFileWriter(path, plan(dtype)) as writer:
        writer.write([array[:2] for array in data])
        writer.write([array[2:] for array in data])
        writer.finish()
    return data


def test_what_is_written_is_read(tmp_path: Path) -> None:
    data = write(tmp_path / "f.h5")
    with FeatureFile(tmp_path / "f.h5") as file:
        assert file.layers == LAYERS
        assert file.labels.tolist() == [0, 1, 1, 0, 1] and file.image_rows.tolist() == [0, 2, 4, 6, 8]
        assert file.classes == ("ä", "b") and file.image_paths[3] == "a/3.png"
        for stored, array in zip(LAYERS, data, strict=True):
            assert np.array_equal(file.features(stored.layer.index).numpy(), array)
            assert np.array_equal(file.features(stored.layer.index, 1, 3).numpy(), array[1:3])
        assert {key: file.provenance[key] for key in PROVENANCE} == PROVENANCE
        assert file.provenance["rows"] == file.provenance["rows_done"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]


@pytest.mark.parametrize("width", [1, 36, 10_000])
def test_columns_cover_the_matrix_once(tmp_path: Path, width: int) -> None:
    data = write(tmp_path / "f.h5", "float16")
    with FeatureFile(tmp_path / "f.h5") as file:
        for stored, array in zip(LAYERS, data, strict=True):
            matrix = torch.cat(list(file.columns(stored.layer.index, width)), dim=1)
            assert matrix.dtype == torch.float32
            assert np.array_equal(matrix.numpy(), array.astype(np.float16).astype(np.float32).reshape(5, -1))


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    write(tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5") as file:
        assert file.attrs["format"] == "layerprobe-features" and file.attrs["format_version"] == 1
        assert bool(file.attrs["complete"]) is True
        assert set(file) == {"images", "classes", "layers"} and set(file["images"]) == {"label", "index", "path"}
        assert set(file["layers"]) == {"000000", "000004", "000005"}
        attributes = dict(file["layers/000005"].attrs)
        assert attributes.pop("shape").tolist() == [3, 50, 70]
        assert attributes == {"name": "big", "kind": "block", "parameters": 30, "reduction": "avg:5x7"}


def test_an_interrupted_run_leaves_no_file_and_not_the_old_one_damaged(tmp_path: Path) -> None:
    data = write(tmp_path / "f.h5")
    with pytest.raises(KeyboardInterrupt), FeatureFileWriter(tmp_path / "f.h5", plan()) as writer:
        writer.write([array[:2] for array in values(1)])
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]
    with FeatureFile(tmp_path / "f.h5") as file:
        assert np.array_equal(file.features(0).numpy(), data[0])


def test_missing_rows_are_not_finished(tmp_path: Path) -> None:
    with FeatureFileWriter(tmp_path / "f.h5", plan()) as writer:
        writer.write([array[:2] for array in values()])
        with pytest.raises(ValueError, match="2 of 5 rows"):
            writer.finish()
    assert not list(tmp_path.iterdir())


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match="no feature file at .*none.h5"):
        FeatureFile(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    with pytest.raises(LayerprobeError, match=r"text.h5 is not an HDF5 file"):
        FeatureFile(text)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(LayerprobeError, match="not a layerprobe feature file"):
        FeatureFile(tmp_path / "other.h5")
    write(tmp_path / "f.h5")
    for attribute, value, message in (
        ("complete", False, "unfinished: 5 of 5 rows"),
        ("format_version", 2, "has format version 2, this layerprobe reads 1"),
    ):
        with h5py.File(tmp_path / "f.h5", "a") as file:
            file.attrs[attribute] = value
        with pytest.raises(LayerprobeError, match=message):
            FeatureFile(tmp_path / "f.h5")
