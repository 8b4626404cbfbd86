"""WebDataset's archives: images where they lie, labels beside them, and archives that are not what they should be."""

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layerprobe.data.contents import Columns
from layerprobe.data.datasets import open_dataset
from layerprobe.errors import LayerprobeError

PIXELS = np.random.default_rng(0).integers(256, size=(12, 8, 8, 3), dtype=np.uint8)


def png(row: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(PIXELS[row]).save(content, "PNG")
    return content.getvalue()


def archive(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def samples(rows: range, label: str = "cls") -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for row in rows:
        files[f"s/{row:03d}.img.png"] = png(row)
        if label == "cls":
            files[f"s/{row:03d}.cls"] = str(10 * (row % 3)).encode()
        elif label:
            files[f"s/{row:03d}.json"] = json.dumps({"label": "ab"[row % 2], "other": row % 4}).encode()
    return files


def test_splits_labels_and_images(tmp_path: Path) -> None:
    for name, rows in (("train-000", range(5)), ("train-001", range(5, 9)), ("val-000", range(9, 12))):
        archive(tmp_path / "set" / f"{name}.tar", samples(rows))
    train, test, everything = (open_dataset(f"wds:{tmp_path / 'set'}", split) for split in ("train", "test", "all"))
    assert train.classes == test.classes == ("0", "10", "20") and train.labels.tolist() == [n % 3 for n in range(9)]
    assert (len(test), len(everything)) == (3, 12) and test.labels.tolist() == [0, 1, 2]
    for row in range(12):
        assert np.array_equal(np.asarray(everything.image(row)), PIXELS[row])
    assert train.paths[5] == "train-001.tar/s/005.img.png"


def test_labels_in_json_and_none(tmp_path: Path) -> None:
    one = archive(tmp_path / "one.tar", samples(range(12), "json"))
    found = open_dataset(f"wds:{one}", "all")
    assert found.classes == ("a", "b") and found.labels.tolist() == [0, 1] * 6
    other = open_dataset(f"wds:{one}", "all", columns=Columns(label="other"))
    assert other.classes == ("0", "1", "2", "3") and other.labels.tolist() == [0, 1, 2, 3] * 3
    train, test = (open_dataset(f"wds:{one}", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (10, 2) and "every fifth image" in train.notes[0]
    assert open_dataset(f"wds:{one}", unlabelled=True).labels is None
    free = open_dataset(f"wds:{archive(tmp_path / 'free.tar', samples(range(4), ''))}")
    assert free.labels is None and len(free) == 4 and "the images have no labels" in free.notes[0]
    mixed = archive(tmp_path / "mixed.tar", samples(range(3)) | {"s/009.png": png(9)})
    with pytest.raises(LayerprobeError, match="some images have a label and others none; --unlabelled"):
        open_dataset(f"wds:{mixed}")


def test_classes_are_those_of_the_training_split(tmp_path: Path) -> None:
    archive(tmp_path / "set" / "train.tar", samples(range(3)))
    archive(tmp_path / "set" / "test.tar", {"5.png": png(5), "5.cls": b"20"})
    assert open_dataset(f"wds:{tmp_path / 'set'}", "test").labels.tolist() == [2]
    archive(tmp_path / "set" / "test.tar", {"5.png": png(5), "5.cls": b"15", "6.png": png(6), "6.cls": b"0"})
    assert open_dataset(f"wds:{tmp_path / 'set'}").classes == ("0", "10", "20")
    with pytest.raises(LayerprobeError, match="labels of the training split, but 1 images of test have .* first 15"):
        open_dataset(f"wds:{tmp_path / 'set'}", "test")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('was run')",)


def test_pickles_are_passed_over(tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb())
    files = samples(range(3)) | {"s/000.pyd": bomb, "s/001.pkl": bomb, "s/002.pth": bomb}
    found = open_dataset(f"wds:{archive(tmp_path / 'a.tar', files)}", "all")
    assert len(found) == 3 and ".pyd" in found.notes[0] and ".pkl" in found.notes[0]


def link(path: Path, kind: bytes, target: str) -> Path:
    with tarfile.open(path, "w") as file:
        member = tarfile.TarInfo("s/000.png")
        member.type, member.linkname = kind, target
        file.addfile(member)
    return path


def test_hostile_archives_give_one_line(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.tar", samples(range(6))).read_bytes()
    cases = {
        "link": (link(tmp_path / "l.tar", tarfile.SYMTYPE, "/etc/passwd"), "a link or a device"),
        "hard link": (link(tmp_path / "h.tar", tarfile.LNKTYPE, "other"), "a link or a device"),
        "device": (link(tmp_path / "d.tar", tarfile.CHRTYPE, ""), "a link or a device"),
        "absolute": (archive(tmp_path / "a.tar", {"/etc/x.png": png(0)}), "names a place outside"),
        "upwards": (archive(tmp_path / "u.tar", {"../x.png": png(0)}), "names a place outside"),
        "empty": (archive(tmp_path / "e.tar", {}), "holds no .tar archive with images"),
        "no label": (archive(tmp_path / "n.tar", samples(range(2)) | {"s/000.cls": b"\x80"}), "holds no label"),
        "a list": (archive(tmp_path / "j.tar", {"0.png": png(0), "0.json": b"[1]"}), "a label is a whole number"),
        "deep": (archive(tmp_path / "b.tar", {"0.png": png(0), "0.json": b"[" * 10**5}), "holds no label"),
    }
    for name, content in {
        "in data": whole[: 512 + 100], "in a header": whole[: len(whole) // 2 - 100], "no end": whole[:1024],
        "not one": b"x" * 2000, "packed": __import__("gzip").compress(whole), "nothing": b"",
        "spoilt": whole[:1024] + b"x" * 512 + whole[1536:],
    }.items():  # fmt: skip
        path = tmp_path / f"{name}.tar"
        path.write_bytes(content)
        cases[name] = (path, "is cut off|is no uncompressed .tar archive")
    for name, (path, message) in cases.items():
        with pytest.raises(LayerprobeError, match=message) as caught:
            open_dataset(f"wds:{path}")
        assert "\n" not in str(caught.value), name
    with pytest.raises(LayerprobeError, match="is not there; name an uncompressed .tar archive"):
        open_dataset(f"wds:{tmp_path / 'nowhere.tar'}")
