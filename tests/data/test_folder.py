"""Folders of class folders, in every layout."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layerprobe.data.datasets import open_dataset
from layerprobe.data.image_files import read_image
from layerprobe.errors import LayerprobeError


def test_splits_labels_and_paths(photos: Path) -> None:
    train, test, everything = (open_dataset(str(photos), split=split) for split in ("train", "test", "all"))
    assert train.classes == test.classes == everything.classes == ("cat", "dog", "eel")
    assert np.bincount(train.labels).tolist() == [12, 12, 12] and np.bincount(test.labels).tolist() == [4, 4, 4]
    assert train.paths is not None and train.paths[0] == "train/cat/00.png" and train.paths[-1] == "train/eel/11.png"
    assert everything.paths == (*train.paths, *(test.paths or ()))
    assert train.native_size == 32 and train.notes == ()


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
    assert "every fifth image" in train.notes[0] and everything.notes == ()


def test_nested_grey_and_hidden_files(photos: Path) -> None:
    deep = photos / "train" / "cat" / "more" / "deep"
    deep.mkdir(parents=True)
    Image.new("L", (32, 32), 7).save(deep / "GREY.JPG")
    (photos / "train" / "cat" / ".hidden.png").write_bytes(b"")
    (photos / "train" / "cat" / "notes.txt").write_text("no image")
    for hidden in (photos / "train" / ".cache", photos / "train" / "cat" / ".ipynb_checkpoints"):
        hidden.mkdir()
        shutil.copy(photos / "train" / "cat" / "00.png", hidden)
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


def test_tiny_imagenet_with_its_validation_images_moved_into_class_folders(photos: Path) -> None:
    (photos / "test").rename(photos / "val")
    (photos / "val" / "val_annotations.txt").write_text("val_0.png\tcat\t0\t0\t62\t62\n")
    (photos / "test" / "images").mkdir(parents=True)
    test = open_dataset(str(photos), split="test")
    assert len(test) == 12 and test.paths is not None and test.paths[0] == "val/cat/00.png"


@pytest.mark.parametrize("name", ["test", "val"])
def test_a_test_folder_without_train_is_no_class(photos: Path, name: str) -> None:
    (photos / "train").rename(photos / "training")
    if name != "test":
        (photos / "test").rename(photos / name)
    with pytest.raises(LayerprobeError, match=rf"photos has {name}/ but no train/; name the folder of training images"):
        open_dataset(str(photos), split="all")


def test_a_class_may_be_called_test(photos: Path) -> None:
    root = photos / "train"
    (root / "cat").rename(root / "test")
    assert open_dataset(str(root)).classes == ("dog", "eel", "test")


def damaged(photos: Path) -> Path:
    path = photos / "train" / "dog" / "03.png"
    path.write_bytes(path.read_bytes()[:300])
    return path


def test_a_truncated_image_is_named(photos: Path) -> None:
    path = damaged(photos)
    dataset = open_dataset(str(photos))
    with pytest.raises(
        LayerprobeError,
        match=r"03.png is not a readable image \(.*\); repair it, or leave it out \(--skip-damaged",
    ):
        dataset.image(dataset.paths.index("train/dog/03.png"))
    path.write_bytes(b"text")
    with pytest.raises(LayerprobeError, match="no known format"):
        dataset.image(dataset.paths.index("train/dog/03.png"))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM"])
@pytest.mark.filterwarnings("ignore")  # Pillow warns of some damaged headers before it refuses them
def test_no_damage_shows_a_traceback(format: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "image"
    Image.fromarray(generator.integers(0, 256, (24, 20, 3), dtype=np.uint8)).save(path, format=format)
    whole = path.read_bytes()
    refused = 0
    for number in range(120):
        damaged = bytearray(whole[: generator.integers(1, len(whole))] if number % 2 else whole)
        damaged[generator.integers(0, min(len(damaged), 60))] = generator.integers(0, 256)
        path.write_bytes(damaged)
        try:
            assert read_image(path).mode == "RGB"  # some damage can't be seen
        except LayerprobeError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
    assert refused > 20


def test_deep_images_are_refused_instead_of_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((9, 9), 30000, dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((9, 9), 0.5, dtype=np.float32)).save(tmp_path / "float.tif")
    for name in ("deep.png", "float.tif"):
        with pytest.raises(LayerprobeError, match=rf"{name} has more than 8 bits per channel; convert"):
            read_image(tmp_path / name)


def test_bad_folders(photos: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(LayerprobeError, match="empty has no class folders; expected one folder of images per class"):
        open_dataset(str(empty))
    (photos / "test" / "cat" / "more").mkdir()
    with pytest.raises(LayerprobeError, match=r"class folder .*more holds no image"):
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
