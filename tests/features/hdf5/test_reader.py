"""The feature file: what is written is read, what isn't finished says so, what is damaged is found."""

import os
import stat
from dataclasses import replace
from io import FileIO
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from layerprobe import locks
from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5 import writer as module
from layerprobe.features.hdf5.gram_file import write_grams
from layerprobe.features.hdf5.layout import FilePlan, create_file
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.features.hdf5.writer import FeatureFileWriter
from layerprobe.ranking.grams import gram_of
from layerprobe.records import Layer, StoredLayer
from tests.helpers.feature_files import provenance

LAYERS = (
    StoredLayer(Layer(0, "relu", "activation", (3, 5, 7), 10), (3, 5, 7)),
    StoredLayer(Layer(4, "fc.input", "feature", (6,), 20), (6,)),
    StoredLayer(Layer(5, "big", "block", (3, 50, 70), 30), (3, 5, 7), "avg:5x7"),
)
PROVENANCE = provenance()


def plan(dtype: str = "float32", paths: bool = True) -> FilePlan:
    names = [f"a/{row}.png" for row in range(5)] if paths else None
    return FilePlan(LAYERS, dtype, np.array([0, 1, 1, 0, 1]), np.arange(5) * 2, names, ("ä", "b"), PROVENANCE)


def values(dtype: str = "float32") -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.normal(size=(5, *layer.shape)).astype(dtype) for layer in LAYERS]


def write(path: Path, dtype: str = "float32", rows: int = 5) -> list[np.ndarray]:
    """A file whose last rows were written first, up to ``rows`` of them."""
    data = values(dtype)
    create_file(path, plan(dtype))
    with FeatureFileWriter(path) as writer:
        for part in (slice(2, rows), slice(0, 2)):
            writer.write(part.start, [array[part] for array in data])
        if rows == 5:
            writer.finish()
    return data


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_written_is_read(tmp_path: Path, dtype: str) -> None:
    data = write(tmp_path / "f.h5", dtype)
    with FeatureFile(tmp_path / "f.h5") as file:
        assert file.layers == LAYERS and file.complete and bool(file.written.all())
        assert file.labels.tolist() == [0, 1, 1, 0, 1] and file.image_rows.tolist() == [0, 2, 4, 6, 8]
        assert file.classes == ("ä", "b") and file.image_paths[3] == "a/3.png"
        for stored, array in zip(LAYERS, data, strict=True):
            name, index = stored.layer.name, stored.layer.index
            assert np.array_equal(file.features(index).numpy(), array)
            assert np.array_equal(file.features(name, 1, 3).numpy(), array[1:3])
            assert np.array_equal(torch.cat(list(file.blocks(name, 2))).numpy(), array)
            assert np.array_equal(file.rows(name, np.array([3, 0, 3])).numpy(), array[[3, 0, 3]])
        assert {key: file.provenance[key] for key in PROVENANCE} == PROVENANCE
        assert file.provenance["rows"] == 5
        assert not file.damaged(rows=2).any() and file.damaged_layers() == {}
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]


@pytest.mark.parametrize("width", [1, 10, 36, 10_000])
def test_columns_cover_the_matrix_once(tmp_path: Path, width: int) -> None:
    data = write(tmp_path / "f.h5", "float16")
    with FeatureFile(tmp_path / "f.h5") as file:
        for stored, array in zip(LAYERS, data, strict=True):
            blocks = list(file.columns(stored.layer.index, width))
            assert max(block.shape[1] for block in blocks) <= width
            matrix = torch.cat(blocks, dim=1)
            assert matrix.dtype == torch.float32
            assert np.array_equal(matrix.numpy(), array.astype(np.float32).reshape(5, -1))


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    write(tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5") as file:
        assert file.attrs["format"] == "layerprobe-features" and file.attrs["format_version"] == 2
        assert set(file) == {"complete", "images", "classes", "layers"}
        assert set(file["images"]) == {"label", "index", "path", "written", "checksum"}
        assert file["complete"][:].tolist() == [1] and file["images/written"][:].tolist() == [1] * 5
        assert (file["images/checksum"].dtype, file["images/checksum"].shape) == (np.uint32, (5, 3))
        assert set(file["layers"]) == {"000000", "000004", "000005"}
        attributes = dict(file["layers/000005"].attrs)
        assert attributes.pop("shape").tolist() == [3, 50, 70]
        assert attributes == {"name": "big", "kind": "block", "parameters": 30, "reduction": "avg:5x7"}
        for dataset in file["layers"].values():  # so that no metadata change while rows are written
            assert dataset.chunks is None and dataset.id.get_offset() is not None


def test_an_unfinished_file_is_refused_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    data = write(path, rows=4)
    with pytest.raises(
        LayerprobeError, match=r"f.h5 is unfinished: 4 of 5 rows; the same `layerprobe extract` command"
    ):
        FeatureFile(path)
    with FeatureFile(path, unfinished=True) as file:
        assert not file.complete and file.written.tolist() == [True] * 4 + [False]
        assert np.array_equal(file.features(0, 0, 4).numpy(), data[0][:4]) and not file.damaged().any()
    with FeatureFileWriter(path) as writer:
        with pytest.raises(ValueError, match="4 of 5 rows were written"):
            writer.finish()
        writer.write(4, [array[4:] for array in data])
        writer.finish()
    assert FeatureFile(path).complete


def test_a_row_that_is_not_what_was_written_is_found(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    write(path)
    with h5py.File(path, "r+") as file:
        file["layers/000004"][3, 2] += 1
    with FeatureFile(path) as file:
        assert file.damaged(rows=2).nonzero().tolist() == [[3, 1]]
        assert file.damaged_layers() == {"fc.input": 1}
        gram_of(file, LAYERS[0])
        with pytest.raises(LayerprobeError, match="f.h5 is damaged: 1 rows of fc.input are not what was written"):
            gram_of(file, LAYERS[1])
    with FeatureFileWriter(path) as writer:
        writer.forget(np.arange(5) == 3)
        assert writer.written.tolist() == [True, True, True, False, True] and writer.rows_done == 4


def test_rows_that_do_not_fit_are_a_mistake(tmp_path: Path) -> None:
    create_file(tmp_path / "f.h5", plan())
    with FeatureFileWriter(tmp_path / "f.h5") as writer:
        with pytest.raises(ValueError, match="rows 3 to 8 of a file of 5"):
            writer.write(3, values())
        first, *others = values()
        with pytest.raises(ValueError, match="48 bytes for 1 rows of 24"):
            writer.write(0, [first[:1], *(array[:2] for array in others)])
        assert writer.rows_done == 0


def test_two_writers_do_not_share_a_file_unknowingly(tmp_path: Path) -> None:
    create_file(tmp_path / "f.h5", plan())
    with (
        FeatureFileWriter(tmp_path / "f.h5"),
        pytest.raises(LayerprobeError, match=r"f.h5 is being written by another process; wait for it"),
    ):
        FeatureFileWriter(tmp_path / "f.h5")
    with FeatureFileWriter(tmp_path / "f.h5"), FeatureFileWriter(tmp_path / "f.h5", alone=False):
        assert not FeatureFile(tmp_path / "f.h5", unfinished=True).written.any()


def test_a_file_that_is_being_written_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    create_file(path, plan())
    with FeatureFileWriter(path) as writer:
        for replace_it in (create_file, lambda path, plan: write_grams(path, plan, [])):
            with pytest.raises(LayerprobeError, match=r"f.h5 is being written by another process; wait for it"):
                replace_it(path, plan())
        writer.write(0, values())
        writer.finish()
    with FeatureFile(path) as file:
        assert file.complete
    assert [each.name for each in tmp_path.iterdir()] == ["f.h5"]
    create_file(path, plan())
    assert not FeatureFile(path, unfinished=True).complete


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_has_come_meanwhile_is_not_replaced(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.h5"
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here")))
    FeatureFileWriter.create(path, plan(), overwrite=False).close()
    before = path.stat().st_ino
    with pytest.raises(LayerprobeError, match=r"f.h5 is being written by another process"):
        FeatureFileWriter.create(path, plan(), overwrite=False)
    assert path.stat().st_ino == before and [each.name for each in tmp_path.iterdir()] == ["f.h5"]


def test_a_laid_out_file_is_locked_before_it_has_its_name(tmp_path: Path) -> None:
    with (
        FeatureFileWriter.create(tmp_path / "f.h5", plan(), overwrite=False),
        pytest.raises(LayerprobeError, match="is being written by another process"),
    ):
        FeatureFileWriter(tmp_path / "f.h5")


def test_a_file_that_was_replaced_before_it_was_locked_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = tmp_path / "f.h5", locks.fcntl.flock
    create_file(path, plan())
    create_file(tmp_path / "other.h5", plan())

    def late(file: FileIO, how: int) -> None:
        (tmp_path / "other.h5").replace(path)
        flock(file, how)

    monkeypatch.setattr(locks.fcntl, "flock", late)
    with pytest.raises(LayerprobeError, match="is being written by another process"):
        FeatureFileWriter(path)


def test_only_its_own_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    with FeatureFileWriter.create(path, plan(), overwrite=False) as writer:
        path.unlink()
        path.write_text("mine")
        writer.remove()
    assert path.read_text() == "mine"
    path.unlink()
    FeatureFileWriter.create(path, plan(), overwrite=False).remove()
    assert not path.exists()


def test_marks_are_read_from_the_file_that_is_written(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    write(tmp_path / "other.h5")
    create_file(path, plan())
    with FeatureFileWriter(path) as writer:
        (tmp_path / "other.h5").replace(path)
        assert not writer.written.any()


def test_no_write_is_too_large_for_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, pwrite = [], os.pwrite

    def note(descriptor: int, data: memoryview, offset: int) -> int:
        sizes.append(len(data))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", note)
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 100)
    data = write(tmp_path / "f.h5")
    assert max(sizes) == 100
    with FeatureFile(tmp_path / "f.h5") as file:
        assert np.array_equal(file.features(0).numpy(), data[0]) and not file.damaged().any()


def test_the_name_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fsync = [], os.fsync

    def note(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), (tmp_path / "f.h5").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    create_file(tmp_path / "f.h5", plan())
    assert synced == [(False, False), (True, True)]


def test_a_file_that_lacks_the_last_mark_says_so(tmp_path: Path) -> None:
    create_file(tmp_path / "f.h5", plan())
    with FeatureFileWriter(tmp_path / "f.h5") as writer:
        writer.write(0, values())
    with pytest.raises(LayerprobeError, match=r"unfinished: 5 of 5 rows; the same `.*` command finishes the file"):
        FeatureFile(tmp_path / "f.h5")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "disk" / "f.h5", tmp_path / "f.h5"
    link.symlink_to(target)
    for make in (create_file, create_file, lambda path, plan: write_grams(path, plan, [])):
        make(link, plan())
        assert link.is_symlink() and target.is_file() and [each.name for each in target.parent.iterdir()] == ["f.h5"]


def test_neighbours_names_are_left_alone(tmp_path: Path) -> None:
    for name in ("f.h5.new", "f.h5.partial"):
        (tmp_path / name).write_text("mine")
    create_file(tmp_path / "f.h5", plan())
    write_grams(tmp_path / "f.h5", plan(), [])
    assert [(tmp_path / name).read_text() for name in ("f.h5.new", "f.h5.partial")] == ["mine", "mine"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_that_cannot_be_laid_out_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    write(path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        create_file(path, replace(plan(), provenance={"model": object()}))
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["f.h5"]


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
    whole = (tmp_path / "f.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LayerprobeError, match="cut.h5 is cut off or damaged"):
        FeatureFile(tmp_path / "cut.h5")
    with h5py.File(tmp_path / "f.h5", "a") as file:
        file.attrs["format_version"] = 1
    with pytest.raises(LayerprobeError, match="has format version 1, this layerprobe reads 2"):
        FeatureFile(tmp_path / "f.h5")


def test_a_layer_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path / "f.h5")
    with FeatureFile(tmp_path / "f.h5") as file:
        with pytest.raises(LayerprobeError, match=r"no layer 'rely' in .*f.h5; closest: 'relu'"):
            file.features("rely")
        with pytest.raises(LayerprobeError, match=r"no layer 1 in .*f.h5; it has \[0, 4, 5\]"):
            file.features(1)
