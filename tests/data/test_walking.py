"""What is found below class folders: links followed, loops ended, names in any bytes; the rest is counted."""

import shutil
from pathlib import Path

import pytest

from layerprobe.data.datasets import open_dataset
from layerprobe.errors import LayerprobeError


def test_linked_folders_are_followed(photos: Path, tmp_path: Path) -> None:
    more = tmp_path / "elsewhere"
    shutil.copytree(photos / "test" / "cat", more / "deep")
    (photos / "train" / "cat" / "linked").symlink_to(more)
    shutil.move(photos / "train" / "eel", tmp_path / "eels")
    (photos / "train" / "eel").symlink_to(tmp_path / "eels")
    dataset = open_dataset(str(photos))
    assert [sum(dataset.labels == label) for label in range(3)] == [16, 12, 12] and dataset.notes == ()
    assert dataset.paths is not None and "train/cat/linked/deep/00.png" in dataset.paths
    assert dataset.image(dataset.paths.index("train/cat/linked/deep/00.png")).size == (32, 32)


def test_loops_of_links_end_and_are_told(photos: Path) -> None:
    cat = photos / "train" / "cat"
    (cat / "to-the-root").symlink_to(photos)
    (cat / "to-itself").symlink_to(cat)
    (cat / "zoo").mkdir()
    shutil.copy(cat / "00.png", cat / "zoo")
    (cat / "again").symlink_to(cat / "zoo")  # in order of names before what it leads to
    (cat / "circle").symlink_to(cat / "circle")
    (photos / "train" / "no-class").symlink_to(photos)
    dataset = open_dataset(str(photos))
    assert dataset.classes == ("cat", "dog", "eel") and sum(dataset.labels == 0) == 13
    links, passed = sorted(dataset.notes)
    assert links.startswith("links to folders that are read already are not followed: ") and "and 3 more" in links
    assert passed == f"not taken for images below {photos / 'train'}: 1 without a suffix"


def test_what_is_not_taken_is_counted_by_suffix(photos: Path) -> None:
    train = photos / "train"
    for name in ("a.txt", "b.TXT", "c.heic", "README", ".hidden"):
        (train / "dog" / name).write_bytes(b"")
    shutil.copy(train / "cat" / "00.png", train)
    dataset = open_dataset(str(photos))
    (said,) = dataset.notes
    begin, _, counts = said.partition(": ")
    assert begin == f"not taken for images below {train}" and counts.startswith("2 .txt, ")
    assert set(counts.split(", ")) == {
        "2 .txt", "1 outside class folders", "1 .heic", "1 without a suffix", "1 hidden"
    }  # fmt: skip
    for number in range(9):
        (train / "dog" / f"x.s{number}").write_bytes(b"")
    assert ", 9 others" in open_dataset(str(photos)).notes[0]


def test_names_that_are_not_utf8(photos: Path) -> None:
    train = photos / "train"
    (train / "cat" / "00.png").rename(train / "cat" / "caf\udce9.png")  # Python's way to say the byte e9
    (train / "dog").rename(train / "d\udcf6g")
    dataset = open_dataset(str(photos / "train"), split="all")
    assert dataset.classes == ("cat", r"d\xf6g", "eel") and dataset.paths is not None
    path = "cat/caf\udce9.png"
    assert dataset.image(dataset.paths.index(path)).size == (32, 32)
    shutil.copytree(train / "eel", train / r"d\xf6g")
    with pytest.raises(LayerprobeError, match="two class folders of .* have one name as text"):
        open_dataset(str(photos / "train"), split="all")


@pytest.mark.parametrize("inside", ["", "unlabelled"])
def test_imagenets_own_layout_takes_val(photos: Path, inside: str) -> None:
    (photos / "test").rename(photos / "val")
    (photos / "test" / inside).mkdir(parents=True)
    shutil.copy(photos / "val" / "cat" / "00.png", photos / "test" / inside)
    test = open_dataset(str(photos), split="test")
    assert len(test) == 12 and test.paths is not None and test.paths[0] == "val/cat/00.png"
    assert test.notes == (f"{photos}/test has no folders of the training classes: {photos}/val is the test split",)


def test_of_two_test_splits_the_other_is_named(photos: Path) -> None:
    shutil.copytree(photos / "test", photos / "val")
    test = open_dataset(str(photos), split="test")
    assert test.paths is not None and test.paths[0].startswith("test/")
    assert test.notes == (f"{photos}/test is the test split; {photos}/val is not read",)
