"""Data sets by name, from small local files in their real formats."""

import pickle
import struct
from http.client import IncompleteRead
from pathlib import Path
from tarfile import ReadError
from zipfile import BadZipFile

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_digits

from layerprobe.data.datasets import open_dataset
from layerprobe.errors import LayerprobeError

RANDOM = np.random.default_rng(0)


def test_digits_are_scikit_learns() -> None:
    train, test, everything = (open_dataset("digits", split=split) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(everything)) == (1198, 599, 1797)
    reference = {image.tobytes(): label for image, label in zip(*load_digits(return_X_y=True), strict=True)}
    for dataset in (train, test):
        for row in range(0, len(dataset), 50):
            grey = np.asarray(dataset.image(row), dtype=np.float64)[:, :, 0] / 15
            assert reference[grey.reshape(-1).tobytes()] == dataset.labels[row]
    shares = np.bincount(test.labels) / np.bincount(everything.labels)
    assert shares.min() > 0.32 and shares.max() < 0.35
    with_test = {everything.image(row).tobytes() for row in range(1797)}
    assert {test.image(row).tobytes() for row in range(599)} <= with_test


def cifar(root: Path, name: str, key: str, files: dict[str, int], classes: int, meta: tuple[str, str]) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    for file, count in files.items():
        labels = [number % classes for number in range(count)]
        data = RANDOM.integers(0, 256, (count, 3072), dtype=np.uint8)
        (folder / file).write_bytes(pickle.dumps({"data": data, key: labels}))
    (folder / meta[0]).write_bytes(pickle.dumps({meta[1]: [f"class{number}" for number in range(classes)]}))


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small files have other checksums than the real ones."""
    for name in ("cifar", "utils", "flowers102", "svhn"):
        module = getattr(torchvision.datasets, name)
        if hasattr(module, "check_integrity"):
            monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: Path(path).exists())
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)


@pytest.mark.usefixtures("unchecked")
def test_cifar10(tmp_path: Path) -> None:
    files = {f"data_batch_{number}": 20 for number in range(1, 6)} | {"test_batch": 10}
    cifar(tmp_path, "cifar-10-batches-py", "labels", files, 10, ("batches.meta", "label_names"))
    train, test = (open_dataset("cifar10", split=split, root=tmp_path) for split in ("train", "test"))
    assert (train.name, len(train), len(test), train.native_size) == ("CIFAR10", 100, 10, 32)
    raw = pickle.loads((tmp_path / "cifar-10-batches-py" / "test_batch").read_bytes())["data"]
    assert np.array_equal(np.asarray(test.image(7)), raw[7].reshape(3, 32, 32).transpose(1, 2, 0))
    assert test.labels.tolist() == list(range(10)) and test.classes[3] == "class3"


@pytest.mark.usefixtures("unchecked")
def test_cifar100(tmp_path: Path) -> None:
    cifar(
        tmp_path, "cifar-100-python", "fine_labels", {"train": 200, "test": 100}, 100, ("meta", "fine_label_names")
    )  # fmt: skip
    train = open_dataset("CIFAR100", root=tmp_path)
    assert len(train) == 200 and len(train.classes) == 100 and train.labels[150] == 50


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def test_fashion_mnist(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    images = RANDOM.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = np.arange(20, dtype=np.uint8) % 10
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    test = open_dataset("FashionMNIST", split="test", root=tmp_path)
    assert np.array_equal(np.asarray(test.image(5))[:, :, 1], images[5]) and test.labels[15] == 5


@pytest.mark.usefixtures("unchecked")
def test_svhn(tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (32, 32, 3, 12), dtype=np.uint8)
    labels = np.arange(1, 13)[:, None] % 11
    labels[labels == 0] = 10  # SVHN writes the digit 0 as class 10
    savemat(tmp_path / "train_32x32.mat", {"X": images, "y": labels})
    train = open_dataset("svhn", root=tmp_path)
    assert np.array_equal(np.asarray(train.image(4)), images[..., 4])
    assert train.labels[9] == 0 and train.classes == tuple("0123456789")


def save_image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 64), (value, 0, 0)).save(path)


def test_eurosat_has_no_split_of_its_own(tmp_path: Path) -> None:
    for name in ("Forest", "River"):
        for number in range(10):
            save_image(tmp_path / "eurosat" / "2750" / name / f"{name}_{number}.jpg", number)
    train, test = (open_dataset("EuroSAT", split=split, root=tmp_path) for split in ("train", "test"))
    assert (len(train), len(test)) == (16, 4) and not set(train.paths) & set(test.paths)
    assert "every fifth image" in test.notes[0]


@pytest.mark.usefixtures("unchecked")
def test_flowers102(tmp_path: Path) -> None:
    base = tmp_path / "flowers-102"
    for number in range(1, 7):
        save_image(base / "jpg" / f"image_{number:05d}.jpg", 40 * number)
    savemat(base / "imagelabels.mat", {"labels": np.array([[1, 2, 1, 2, 1, 2]])})
    savemat(base / "setid.mat", {"trnid": [[1, 2]], "valid": [[3, 3]], "tstid": [[4, 5, 6]]})
    train, test = (open_dataset("Flowers102", split=split, root=tmp_path) for split in ("train", "test"))
    assert train.labels.tolist() == [0, 1, 0, 0] and test.labels.tolist() == [1, 0, 1]
    assert test.paths[0] == "flowers-102/jpg/image_00004.jpg" and "train and val together" in train.notes[0]
    assert abs(np.asarray(test.image(0))[0, 0, 0].astype(int) - 160) < 3


def test_oxford_pets(tmp_path: Path) -> None:
    base = tmp_path / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    for name in ("Abyssinian_1", "beagle_2"):
        save_image(base / "images" / f"{name}.jpg", 9)
    (base / "annotations" / "trainval.txt").write_text("Abyssinian_1 1 1 1\nbeagle_2 2 2 1\n")
    dataset = open_dataset("OxfordIIITPet", root=tmp_path)
    assert dataset.classes == ("Abyssinian", "Beagle") and dataset.labels.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["CIFAR10", "FashionMNIST", "SVHN", "EuroSAT", "Flowers102", "OxfordIIITPet"])
def test_missing_files_name_the_remedy(name: str, tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match=rf"{name} is not in .*--download fetches it, --data-root DIR"):
        open_dataset(name, root=tmp_path)


def test_a_root_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("Forest", "River"):
        save_image(tmp_path / "data" / "eurosat" / "2750" / name / "1.jpg", 9)
    assert open_dataset("EuroSAT", root=Path("~/data")).paths == (
        "eurosat/2750/Forest/1.jpg",
        "eurosat/2750/River/1.jpg",
    )


def test_damaged_files_name_the_remedy(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("images-idx3", "labels-idx1"):
        for part in ("train", "t10k"):
            (raw / f"{part}-{name}-ubyte").write_bytes(idx(np.zeros((3, 28, 28), dtype=np.uint8))[:15])
    with pytest.raises(LayerprobeError, match=r"FashionMNIST is not in .* \(or is damaged\); --download fetches it"):
        open_dataset("FashionMNIST", root=tmp_path)


def test_a_folder_named_like_a_data_set_is_mentioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_dataset("digits").notes == ()
    save_image(tmp_path / "digits" / "one" / "1.png", 9)
    assert open_dataset("digits").notes == ("digits means the built-in data set; --data ./digits means the folder",)
    (tmp_path / "cifar10").mkdir()
    with pytest.raises(LayerprobeError, match=r"CIFAR10 is not in data/.*; .*--data ./cifar10 means the folder$"):
        open_dataset("cifar10")


@pytest.mark.parametrize("error", [TimeoutError(), IncompleteRead(b""), ReadError("truncated"), BadZipFile("cut")])
def test_every_failed_download_is_one_line(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise error

    monkeypatch.setattr(torchvision.datasets.EuroSAT, "download", refuse)
    with pytest.raises(LayerprobeError, match=r"^can.t fetch EuroSAT into \S+: \S.*$"):
        open_dataset("EuroSAT", root=tmp_path, download=True)


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", refuse)
    with pytest.raises(LayerprobeError, match=r"can.t fetch CIFAR10 into .*: no route; put its files there"):
        open_dataset("CIFAR10", root=tmp_path, download=True)
