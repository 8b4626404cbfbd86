"""Hugging Face datasets: their splits, columns, images and labels, against what they were made of."""

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from layerprobe.data import hugging_face
from layerprobe.data.contents import Columns
from layerprobe.data.damaged import leave_out_damaged
from layerprobe.data.datasets import open_dataset, open_split
from layerprobe.errors import LayerprobeError
from layerprobe.settings.base import SettingsError
from layerprobe.settings.data import DataSettings
from tests.helpers.commands import run

datasets = pytest.importorskip("datasets")
huggingface_hub = pytest.importorskip("huggingface_hub")
CLASSES = ["cat", "dog", "<eel>"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    yield


def pixels(count: int, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(256, size=(8, 8, 3), dtype=np.uint8) for _ in range(count)]


def table(count: int = 15, seed: int = 0, **columns: Any) -> Any:
    content = {"image": [Image.fromarray(one) for one in pixels(count, seed)], "label": [n % 3 for n in range(count)]}
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)}
    kinds |= {name: kind for name, (kind, _) in columns.items()}
    content |= {name: values for name, (_, values) in columns.items()}
    return datasets.Dataset.from_dict(content, features=datasets.Features(kinds))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Two splits, as ``save_to_disk`` writes them."""
    datasets.DatasetDict({"train": table(15, 0), "validation": table(6, 1)}).save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_a_saved_folder(saved: Path) -> None:
    train, test, everything = (open_dataset(f"hf:{saved}", split=split) for split in ("train", "test", "all"))
    assert train.classes == ("cat", "dog", "<eel>") and train.name == f"hf:{saved}" and train.native_size == 8
    assert train.labels.tolist() == [n % 3 for n in range(15)] and len(test) == 6 and len(everything) == 21
    for dataset, seed, count in ((train, 0, 15), (test, 1, 6)):
        for row, expected in enumerate(pixels(count, seed)):
            assert np.array_equal(np.asarray(dataset.image(row)), expected)
    assert np.array_equal(np.asarray(everything.image(20)), pixels(6, 1)[5])
    assert train.paths[14] == "train/14" and everything.paths[20] == "validation/5"
    free = open_dataset(f"hf:{saved}", unlabelled=True)
    assert free.labels is None and free.classes == () and len(free) == 15


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_files_of_tables_and_a_single_split(ending: str, tmp_path: Path) -> None:
    folder = tmp_path / "files" / "data"
    folder.mkdir(parents=True)
    if ending == "parquet":
        table().to_parquet(str(folder / "train-00000-of-00002.parquet"))
        table(9, 4).to_parquet(str(folder / "train-00001-of-00002.parquet"))
        table(6, 1).to_parquet(str(folder / "test-00000-of-00001.parquet"))
    else:
        for name, one in (("train-0", table()), ("train-1", table(9, 4)), ("test-0", table(6, 1))):
            one.save_to_disk(str(tmp_path / name))
            next((tmp_path / name).glob("*.arrow")).rename(folder / f"{name}.arrow")
    train, test = (open_dataset(f"hf:{folder.parent}", split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (24, 6) and train.classes == tuple(CLASSES)
    assert np.array_equal(np.asarray(train.image(15)), pixels(9, 4)[0])
    alone = next(folder.glob("test*"))
    train, test, both = (open_dataset(f"hf:{alone}", split=split) for split in ("train", "test", "all"))
    assert len(both) == 6 and len(test) == 0 + (2 // 5) * 3 and "every fifth image" in train.notes[0]
    assert not (tmp_path / "cache").exists()  # nothing is converted or copied


def test_columns_by_type_and_by_name(tmp_path: Path) -> None:
    two = table(
        6,
        0,
        coarse=(datasets.ClassLabel(names=["x", "y"]), [0, 1] * 3),
        word=(datasets.Value("string"), list("cabcab")),
    )
    two.save_to_disk(str(tmp_path / "two"))
    name = f"hf:{tmp_path / 'two'}"
    with pytest.raises(LayerprobeError, match="columns label, coarse of class labels; --label-column names the one"):
        open_dataset(name)
    other = open_dataset(name, "all", columns=Columns(label="coarse"))
    assert other.classes == ("x", "y") and other.labels.tolist() == [0, 1] * 3
    words = open_dataset(name, "all", columns=Columns(label="word"))
    assert words.classes == ("a", "b", "c") and words.labels.tolist() == [2, 0, 1] * 2
    with pytest.raises(LayerprobeError, match="--image-column: .* has no column 'picture', but "):
        open_dataset(name, columns=Columns(image="picture"))
    plain = two.remove_columns(["label", "coarse"])
    plain.save_to_disk(str(tmp_path / "plain"))
    free = open_dataset(f"hf:{tmp_path / 'plain'}")
    assert free.labels is None and "has no column of class labels" in free.notes[0]
    two.remove_columns(["image"]).save_to_disk(str(tmp_path / "none"))
    with pytest.raises(LayerprobeError, match="no column of images, among label .*; --image-column names"):
        open_dataset(f"hf:{tmp_path / 'none'}")


def test_classes_are_those_of_the_training_split(tmp_path: Path) -> None:
    words = datasets.Value("string")

    def texts(*labels: str | None) -> Any:
        return table(len(labels)).remove_columns("label").add_column("label", list(labels)).cast_column("label", words)

    def opened(split: str, **parts: Any) -> Any:
        datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "set"))
        return open_dataset(f"hf:{tmp_path / 'set'}", split, columns=Columns(label="label"))

    three = texts("a", "b", "c", "b")
    for split, numbers in (("train", [0, 1, 2, 1]), ("test", [2, 1]), ("all", [0, 1, 2, 1, 2, 1])):
        found = opened(split, train=three, test=texts("c", "b"))
        assert found.classes == ("a", "b", "c") and found.labels.tolist() == numbers
    with pytest.raises(LayerprobeError, match="labels of the training split, but 2 images of test have .* first 'd'"):
        opened("test", train=three, test=texts("a", "d", "e"))
    assert opened("train", train=three, test=texts("d")).classes == ("a", "b", "c")
    with pytest.raises(LayerprobeError, match=r"others none; .*\(1 of 2 images of test\)"):
        opened("test", train=three, test=texts("a", None))
    other = table(6, 1).cast_column("label", datasets.ClassLabel(names=["dog", "<eel>", "cat"]))
    turned = opened("test", train=table(), test=other)  # the same classes in another order: by name, not by number
    assert turned.classes == tuple(CLASSES) and turned.labels.tolist() == [1, 2, 0] * 2
    bare = opened("train", train=texts(None, None))
    assert bare.labels is None and "has no label in label: the images have no labels" in bare.notes[0]


def test_images_turned_by_exif_and_damaged_ones(tmp_path: Path) -> None:
    wide, exif = Image.fromarray(np.arange(8 * 4 * 3, dtype=np.uint8).reshape(4, 8, 3)), Image.Exif()
    exif[0x0112] = 6
    turned, whole = io.BytesIO(), io.BytesIO()
    wide.save(turned, "PNG", exif=exif)
    wide.save(whole, "PNG")
    contents = [{"bytes": one, "path": None} for one in (turned.getvalue(), b"no image", whole.getvalue())]
    datasets.Dataset.from_dict(
        {"image": contents, "label": [0, 0, 1]},
        features=datasets.Features(
            {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["a", "b"])}
        ),
    ).save_to_disk(str(tmp_path / "set"))
    dataset = open_dataset(f"hf:{tmp_path / 'set'}", "all")
    assert dataset.image(0).size == (8, 4) and dataset.image(0, upright=True).size == (4, 8)
    assert leave_out_damaged(dataset, np.arange(3)).tolist() == [0, 2]
    with pytest.raises(LayerprobeError, match=r"set/train/1 is not a readable image"):
        dataset.image(1)


def test_an_image_outside_the_folder_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    folder = tmp_path / "set"
    folder.mkdir()
    kinds = datasets.Features({"image": datasets.Image(decode=False)})
    paths = ["../outside.png", str(tmp_path / "outside.png"), "inside.png"]
    rows = {"image": [{"bytes": None, "path": path} for path in paths]}
    found = datasets.Dataset.from_dict(rows, features=kinds)  # its own writers would put the files' contents in
    pytest.importorskip("pyarrow.parquet").write_table(found.data.table, folder / "train.parquet")
    Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / "inside.png")
    dataset = open_dataset(f"hf:{folder}")
    for row in (0, 1):
        with pytest.raises(LayerprobeError, match="which lies outside"):
            dataset.image(row)
    assert dataset.image(2).getpixel((0, 0)) == (1, 2, 3)


def test_no_code_is_run_and_refusals_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "scripted"
    script.mkdir()
    (script / "scripted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(LayerprobeError, match="holds no dataset: no folder of save_to_disk"):
        open_dataset(f"hf:{script}")
    with pytest.raises(LayerprobeError, match="no folder or file some/name, and no dataset of the hub: .*--download"):
        open_dataset("hf:some/name")
    assert not (tmp_path / "ran").exists()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(LayerprobeError, match="can't be read as a dataset .*; save it anew") as caught:
        open_dataset(f"hf:{tmp_path / 'bad.parquet'}")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(hugging_face, "find_spec", lambda name: None)
    with pytest.raises(LayerprobeError, match=r"needs the package datasets; `pip install 'layerprobe\[hf\]'`"):
        open_dataset("hf:any")
    with pytest.raises(SettingsError, match="is of Hugging Face datasets and tar archives"):
        DataSettings(name="digits", label_column="label")


def test_scripts_are_refused_by_versions_that_know_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def load_dataset(path: str, trust_remote_code: bool | None = None) -> dict[str, Any]:
        asked.update(path=path, trusted=trust_remote_code)
        return {"train": table(6, 0), "test": table(3, 1)}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert len(open_dataset("hf:org/name", "test")) == 3
    assert asked == {"path": "org/name", "trusted": False}


def test_the_hub_is_not_asked_without_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.getaddrinfo", lambda *host, **options: pytest.fail(f"{host[0]} is asked"))
    with pytest.raises(LayerprobeError, match="no dataset of the hub: .*; --download fetches one"):
        open_dataset("hf:some/name")
    assert not datasets.config.HF_HUB_OFFLINE and not huggingface_hub.constants.HF_HUB_OFFLINE


def test_tables_that_lie(saved: Path, tmp_path: Path) -> None:
    rows = {"image": [{"bytes": bytes(7), "path": None}, {"bytes": bytes(12345), "path": None}]}
    kinds = datasets.Features({"image": datasets.Image(decode=False)})
    datasets.Dataset.from_dict(rows, features=kinds).save_to_disk(str(tmp_path / "two"))
    written = next((tmp_path / "two").glob("*.arrow"))
    true, false = (struct.pack("<3i", 0, 7, end) for end in (7 + 12345, 2**30))
    assert written.read_bytes().count(true) == 1
    (tmp_path / "lies.arrow").write_bytes(written.read_bytes().replace(true, false))
    with pytest.raises(LayerprobeError, match="can't be read as a dataset .*save it anew"):
        open_dataset(f"hf:{tmp_path / 'lies.arrow'}").image(1)
    state = json.loads((saved / "train" / "state.json").read_text())
    table = saved / "train" / state["_data_files"][0]["filename"]
    table.rename(tmp_path / "outside.arrow")
    state["_data_files"][0]["filename"] = "../../outside.arrow"
    (saved / "train" / "state.json").write_text(json.dumps(state))
    with pytest.raises(LayerprobeError, match="outside.arrow', which lies outside it; save it anew"):
        open_dataset(f"hf:{saved}")


def test_a_path_that_is_none_is_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    rows = {"image": [{"bytes": None, "path": "a\0.png"}]}
    found = datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image(decode=False)}))
    pytest.importorskip("pyarrow.parquet").write_table(found.data.table, tmp_path / "train.parquet")
    with pytest.raises(LayerprobeError, match="0 is not there; repair it"):
        open_dataset(f"hf:{tmp_path}").image(0)


def test_features_of_a_dataset_from_the_command_line(saved: Path, tmp_path: Path) -> None:
    run("extract", "--model", "cifar:resnet20", "--weights", "random", "--data", f"hf:{saved}", "--samples", "all",
        "--layers", "10", "--output", tmp_path / "f.h5", "--quiet")  # fmt: skip
    details = json.loads(run("inspect", tmp_path / "f.h5", "--format", "json"))["details"]
    assert details["dataset"] == f"hf:{saved}" and details["rows"] == 15
    assert open_split(DataSettings(name=f"hf:{saved}", unlabelled=True), "train").labels is None
