"""Images without labels: flat folders, nested ones by the option, and data sets whose labels are left out."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from layerprobe.data.damaged import leave_out_damaged
from layerprobe.data.datasets import open_dataset, open_split
from layerprobe.data.loading import Pixels, batches, make_loader
from layerprobe.data.sampling import reduced, uniform_sample
from layerprobe.errors import LayerprobeError
from layerprobe.records import Preprocessing
from layerprobe.settings.data import DataSettings


@pytest.fixture
def flat(photos: Path, tmp_path: Path) -> Path:
    """The photographs of the training split in one folder."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for path in sorted((photos / "train").rglob("*.png")):
        shutil.copy(path, folder / f"{path.parent.name}-{path.name}")
    return folder


def test_a_flat_folder_has_no_labels_and_says_so(flat: Path) -> None:
    (flat / "notes.txt").write_text("no image")
    (flat / ".hidden.png").write_bytes(b"")
    dataset = open_dataset(str(flat))
    assert dataset.classes == () and dataset.labels is None and len(dataset) == 36
    assert (
        dataset.paths is not None and dataset.paths[0] == "cat-00.png" and list(dataset.paths) == sorted(dataset.paths)
    )
    assert dataset.notes[0] == f"{flat} holds images and no folders: the images have no labels"
    assert dataset.notes[1] == f"not taken for images below {flat}: 1 .txt, 1 hidden"
    assert dataset.native_size == 32 and dataset.image(0).size == (32, 32)
    with pytest.raises(LayerprobeError, match="have no labels"):
        assert dataset.known_labels


def test_a_nested_folder_by_the_option(photos: Path) -> None:
    data = DataSettings(name=str(photos), unlabelled=True)
    train, test, everything = (open_split(data, split) for split in ("train", "test", "all"))
    labelled = open_dataset(str(photos), split="all")
    assert (len(train), len(test)) == (36, 12) and train.labels is None and train.notes == ()
    assert everything.paths == (*(train.paths or ()), *(test.paths or ())) == labelled.paths
    whole = open_dataset(str(photos / "train"), unlabelled=True)  # no splits, and nothing is kept for a test
    assert len(whole) == 36 and whole.paths is not None and whole.paths[0] == "cat/00.png"


def test_flat_folders_of_two_splits(flat: Path, tmp_path: Path) -> None:
    root = tmp_path / "both"
    shutil.copytree(flat, root / "train")
    (root / "val").mkdir()
    shutil.copy(flat / "dog-01.png", root / "val")
    assert [len(open_dataset(str(root), split=split)) for split in ("train", "test", "all")] == [36, 1, 37]


def test_a_built_in_data_set_without_its_labels() -> None:
    plain, without = (open_dataset("digits", unlabelled=unlabelled) for unlabelled in (False, True))
    assert without.labels is None and without.classes == () and len(without) == len(plain) == 1198
    assert np.array_equal(np.asarray(without.image(7)), np.asarray(plain.image(7)))


def test_refusals_name_the_remedy(flat: Path, tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match="no test split: its images have no labels.*--split train takes them"):
        open_dataset(str(flat), split="test")
    (tmp_path / "one" / "all").mkdir(parents=True)
    shutil.copy(flat / "cat-00.png", tmp_path / "one" / "all")
    with pytest.raises(LayerprobeError, match="only one class folder; .*--unlabelled.*takes every image"):
        open_dataset(str(tmp_path / "one"))
    (tmp_path / "one" / "all" / "cat-00.png").unlink()
    with pytest.raises(LayerprobeError, match="must hold images, and there are none"):
        open_dataset(str(tmp_path / "one"), unlabelled=True)


def test_uniform_samples() -> None:
    images = range(50)
    sample = uniform_sample(images, 20, seed=3)
    assert len(set(sample.rows.tolist())) == 20 and (np.diff(sample.rows) > 0).all() and sample.rows.max() < 50
    assert np.array_equal(sample.rows, uniform_sample(images, 20, seed=3).rows)
    assert not np.array_equal(sample.rows, uniform_sample(images, 20, seed=4).rows)
    assert sample.description == {
        "how": "uniform over all images, without replacement", "requested": 20, "images": 20, "seed": 3,
    }  # fmt: skip
    assert len(uniform_sample(images, None, 0).rows) == 50
    assert reduced(sample, sample.rows[:18], None).description["left_out"] == 2
    with pytest.raises(LayerprobeError, match="51 samples of 50 images; ask for 1 to 50"):
        uniform_sample(images, 51, 0)


def test_every_image_is_as_likely() -> None:
    """Drawn 4,000 times, each of 10 images comes in 3 of 10 samples: 1,200 times, give or take 29 (binomial)."""
    counts = np.bincount(np.concatenate([uniform_sample(range(10), 3, seed).rows for seed in range(4000)]))
    assert np.abs(counts - 1200).max() < 5 * 29


def test_batches_without_labels_and_damaged_images(flat: Path) -> None:
    (flat / "cat-00.png").write_bytes(b"no image")
    dataset = open_dataset(str(flat))
    rows = leave_out_damaged(dataset, np.arange(3))
    assert rows.tolist() == [1, 2]
    pixels = Pixels(dataset, rows, Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3))
    batch = next(iter(batches(make_loader(pixels, 2))))
    assert batch.labels is None and batch.pixels.shape == (2, 3, 8, 8)
    with pytest.raises(ValueError, match="no labels"):
        assert batch.known_labels
    with pytest.raises(LayerprobeError, match="no image of .* can be read"):
        leave_out_damaged(dataset, np.arange(1))
