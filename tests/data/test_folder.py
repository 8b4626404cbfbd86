"""Folders of class folders, in every layout."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layerprobe.data.datasets import open_dataset
from layerprobe.errors import LayerprobeError


def test_splits_labels_and_paths(photos: Path) -> None:
    train, test, everything = (open_dataset(str(photos), split=split) for split in ("train", "test", "all"))
    assert train.classes == test.classes == everything.classes == ("cat", "dog", "eel")
    assert np.bincount(train.labels).tolist() == [12, 12, 12] and np.bincount(test.labels).tolist() == [4, 4, 4]
    assert train.paths is not None and train.paths[0] == "train/cat/00.png" and train.paths[-1] == "train/eel/11.png"
    assert everything.paths == (*train.paths, *(test.paths or ()))
    assert train.native_size == 32 and train.note == ""


def test_pixels_are_the_files(photos: Path) -> None:
    dataset = open_dataset(str(photos))
    for row in (0, 20, 35):
        with Image.open(photos / dataset.paths[row]) as image:
            assert np.array_equal(np.asarray(dataset.image(row)), np.asarray(image))


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_other_names_of_the_test_folder(photos: Path, name: str) -> None:
    (photos / "test").rename(photos / name)
    assert len(open_dataset(str(photos), split="test")) == 12


def test_without_splits_every_fifth_image_is_for_the_test(photos: Path) -> None:
    root = photos / "train"
    train, test, everything = (open_dataset(str(root), split=split) for split in ("train", "test", "all"))
    assert test.paths == tuple(f"{name}/{number}.png" for name in ("cat", "dog", "eel") for number in ("04", "09"))
    assert sorted((*train.paths, *test.paths)) == sorted(everything.paths)
    assert "every fifth image" in train.note and everything.note == ""


def test_nested_grey_and_hidden_files(photos: Path) -> None:
    deep = photos / "train" / "cat" / "more" / "deep"
    deep.mkdir(parents=True)
    Image.new("L", (32, 32), 7).save(deep / "GREY.JPG")
    (photos / "train" / "cat" / ".hidden.png").write_bytes(b"")
    (photos / "train" / "cat" / "notes.txt").write_text("no image")
    (photos / "train" / ".cache").mkdir()
    dataset = open_dataset(str(photos))
    assert np.bincount(dataset.labels).tolist() == [13, 12, 12]
    assert dataset.image(dataset.paths.index("train/cat/more/deep/GREY.JPG")).mode == "RGB"


def test_tiny_imagenets_own_layout(photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "tiny"
    for name, wnid in (("cat", "n01"), ("dog", "n02")):
        shutil.copytree(photos / "train" / name, root / "train" / wnid / "images")
    (root / "test" / "images").mkdir(parents=True)
    shutil.copy(photos / "test" / "cat" / "00.png", root / "test" / "images" / "test_0.png")
    (root / "val" / "images").mkdir(parents=True)
    for number in range(3):
        shutil.copy(photos / "test" / "cat" / f"0{number}.png", root / "val" / "images" / f"val_{number}.png")
    (root / "val" / "val_annotations.txt").write_text(
        "val_0.png\tn02\t0\t0\t62\t62\nval_1.png\tn01\t0\t0\t62\t62\nval_2.png\tn02\t0\t0\t62\t62\n"
    )
    train, test = open_dataset(str(root)), open_dataset(str(root), split="test")
    assert train.classes == ("n01", "n02") and len(train) == 24
    assert test.paths == ("val/images/val_1.png", "val/images/val_0.png", "val/images/val_2.png")
    assert test.labels.tolist() == [0, 1, 1]


def damaged(photos: Path) -> Path:
    path = photos / "train" / "dog" / "03.png"
    path.write_bytes(path.read_bytes()[:300])
    return path


def test_a_truncated_image_is_named(photos: Path) -> None:
    path = damaged(photos)
    dataset = open_dataset(str(photos))
    with pytest.raises(LayerprobeError, match=r"03.png is not a readable image \(.*\); repair or remove it"):
        dataset.image(dataset.paths.index("train/dog/03.png"))
    path.write_bytes(b"text")
    with pytest.raises(LayerprobeError, match="no known format"):
        dataset.image(dataset.paths.index("train/dog/03.png"))


def test_bad_folders(photos: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(LayerprobeError, match="empty has no class folders; expected one folder of images per class"):
        open_dataset(str(empty))
    with pytest.raises(LayerprobeError, match="cat holds images, but no class folders"):
        open_dataset(str(photos / "test" / "cat"))
    with pytest.raises(LayerprobeError, match=r"no data set and no folder 'nowhere'; built in: digits, CIFAR10"):
        open_dataset("nowhere")
    with pytest.raises(LayerprobeError, match="--split is one of train, test, all, not 'dev'"):
        open_dataset(str(photos), split="dev")
    (photos / "train" / "fox").mkdir()
    with pytest.raises(LayerprobeError, match=r"class folder .*fox holds no image"):
        open_dataset(str(photos))
    shutil.copy(photos / "train" / "cat" / "00.png", photos / "train" / "fox")
    with pytest.raises(LayerprobeError, match=r"the train and test splits .* different classes, first 'fox'"):
        open_dataset(str(photos), split="test")
    shutil.rmtree(photos / "test")
    with pytest.raises(LayerprobeError, match="has train/ but none of test/, val/"):
        open_dataset(str(photos), split="test")
