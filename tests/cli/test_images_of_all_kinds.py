"""A folder with all that people's own images have, through every command; and one image that can't be read."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from layerprobe.data import loading
from layerprobe.data.image_files import SUFFIXES
from tests.helpers.commands import invoke, run

NET = """
from torch import nn

def net(width, num_classes):
    conv = nn.Conv2d(3, width, 3, stride=2, padding=1)
    return nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))

def wide(num_classes=2): return net(8, num_classes)
def narrow(num_classes=2): return net(4, num_classes)
"""
HEIGHT, WIDTH = 45, 60
CLASSES = ("cat", "d\udcf6g")  # the second is no UTF-8: Python's way to say the byte f6
BRIEF = ("--epochs", "1", "--batch-size", "8", "--device", "cpu", "--lr", "0.001")


def pixels(number: int, height: int = HEIGHT, width: int = WIDTH, channels: int = 3) -> Image.Image:
    generator = np.random.default_rng(number)
    return Image.fromarray(generator.integers(0, 256, (height, width, channels), dtype=np.uint8))


def plain(folder: Path, count: int, first: int = 0) -> None:
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            pixels(100 * label + number).save(folder / name / f"{number:03d}.png")


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ImageNet's layout, and in its first class one of everything."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    plain(tmp_path / "images" / "train", 8)
    plain(tmp_path / "images" / "val", 2, first=50)
    (tmp_path / "images" / "test").mkdir()
    pixels(0).save(tmp_path / "images" / "test" / "0.png")
    cat = tmp_path / "images" / "train" / "cat"
    (tmp_path / "elsewhere").mkdir()
    pixels(20).save(tmp_path / "elsewhere" / "20.png")
    (cat / "linked").symlink_to(tmp_path / "elsewhere")
    (cat / "loop").symlink_to(tmp_path / "images")
    (cat / "000.png").rename(cat / "caf\udce9.png")
    pixels(21).save(cat / "21.jfif", format="JPEG")
    if ".avif" in SUFFIXES:
        pixels(22).save(cat / "22.avif")
    pixels(23, 20, 20).save(cat / "aaa.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels(24).save(cat / "24.jpg", exif=exif)
    pixels(25).quantize(16).save(cat / "25.png", transparency=bytes(range(16)))
    pixels(26, channels=4).save(cat / "26.png")
    for name in ("a.txt", "b.heic", "c.heic", ".hidden.png"):
        (cat / name).write_bytes(b"")
    return tmp_path / "images"


def extract(*more: object, code: int = 0) -> list[str]:
    """What an extraction of a network of one's own says."""
    result = invoke(
        "extract", "--model", "net.py:wide", "--data", "images", "--samples", "all", "-o", "f.h5", *more, code=code
    )
    return result.stderr.splitlines()


def test_everything_is_taken_or_told(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every image of 45x60 is one of which Pillow warns: as one of a hundred megapixels is.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)
    monkeypatch.setattr(loading, "_cores", lambda: 1)
    avif = ".avif" in SUFFIXES
    count = 22 + avif
    said = extract("--image-size", "32", "--workers", "2")
    assert said[:6] == [
        "not taken for images below images/train: 2 .heic, 1 .txt, 1 hidden",
        "links to folders that are read already are not followed: images/train/cat/loop",
        f"{count} images of images have 3 sizes, from 20x20 to 60x45 pixels, {count - 2} of them 60x45: taken for "
        "photographs",
        f"1 of {count} images of images has an EXIF orientation that is not upright",
        f"2 of {count} images of images have transparency, which is dropped",
        "model: net.py:wide, weights: as built",
    ]
    assert said[6].startswith("preprocessing: upright by EXIF, resize 36 (bicubic), crop 32x32 pixels")
    assert "warning: --workers 2 on 1 processor cores: more processes than cores seldom decode faster" in said
    assert len(said) == 11, said  # with how much it takes, the file, and the next command
    with h5py.File("f.h5") as file:
        paths = set(file["images/path"][:])
        assert b"train/cat/caf\xe9.png" in paths and b"train/cat/linked/20.png" in paths
        assert b"train/d\xf6g/000.png" in paths and file["classes"].asstr()[1] == r"d\xf6g"
        assert json.loads(file.attrs["preprocessing"])["upright"] is True
    assert any("f.h5 is complete: nothing to do" in line for line in extract("--image-size", "32"))
    shown = run("inspect", "f.h5", "--verify")
    assert "upright by EXIF" in shown and f"{count} images" in shown
    assert "net.py:wide" in run("rank", "f.h5", "--top", "1", "--resamples", "0")


def test_training_and_what_follows(images: Path) -> None:
    options = ("--data", "images", "--image-size", "16", "--crop", "1", "--interpolation", "lanczos", *BRIEF)
    result = invoke("train", "--model", "net.py:wide", *options, "-o", "teacher")
    assert "images/test has no folders of the training classes: images/val is the test split" in result.stderr
    assert "upright by EXIF, resize 16 (lanczos), crop 16x16 pixels" in result.stderr
    evaluation = invoke("evaluate", "teacher", "--allow-code", "--format", "json", "-o", "figures")
    assert "upright by EXIF, resize 16 (lanczos), crop 16x16 pixels" in evaluation.stderr
    rows = json.loads(evaluation.stdout)["rows"]
    assert sorted(row["class"] for row in rows) == ["all", "cat", r"d\xf6g"]
    student = invoke(
        *("distill", "--teacher", "net.py:wide", "--teacher-weights", "teacher/model.safetensors", "--student"),
        *("net.py:narrow", "--layers", "even:1", "--data", "images", *BRIEF, "-o", "student"),
    )
    # The weights say how their network was trained.
    assert "upright by EXIF, resize 16 (lanczos), crop 16x16 pixels" in student.stderr
    resumed = invoke("train", "--config", "teacher/config.yaml", "--resume", "-o", "teacher")
    assert "is finished: nothing to do" in resumed.stderr


def test_one_image_of_many_that_cant_be_read(images: Path, tmp_path: Path) -> None:
    shutil.rmtree(images)
    plain(images / "train", 9)
    plain(images / "val", 3, first=50)
    broken = images / "train" / "cat" / "005.png"
    broken.write_bytes(broken.read_bytes()[:300])
    told = "images/train/cat/005.png is not a readable image ("
    assert told in extract("--image-size", "16", code=2)[-1]
    train = ("train", "--model", "net.py:wide", "--data", "images", "--image-size", "16", *BRIEF, "-o", "teacher")
    distill = (
        *("distill", "--teacher", "net.py:wide", "--student", "net.py:narrow", "--data", "images"),
        *("--image-size", "16", "--layers", "even:1", *BRIEF, "-o", "student"),
    )
    for command in (train, distill):
        assert f"error: {told}" in run(*command, code=2) and not (tmp_path / command[-1]).exists()
    warned = "warning: 1 of 18 images of images (train) can't be read and are left out: images/train/cat/005.png is"
    for command in (train, distill):
        assert warned in invoke(*command, "--skip-damaged").stderr
    assert any(line.startswith(warned) for line in extract("--image-size", "16", "--skip-damaged"))
    ranked = json.loads(run("rank", "f.h5", "--resamples", "0", "--top", "1", "--format", "json"))
    assert ranked["rows"]
    broken = images / "val" / "cat" / "050.png"
    broken.write_bytes(b"")
    assert "images/val/cat/050.png is not a readable image" in run(
        "evaluate", "teacher", "--allow-code", "--data", "images", code=2
    )
    for words in (("--skip-damaged", "--data", "images"), ()):  # the run was trained with --skip-damaged
        result = invoke(
            "evaluate", "teacher", "--allow-code", *words, "--format", "json", "-o", "figures", "--overwrite"
        )
        assert "1 of 6 images of images (test) can't be read and are left out" in result.stderr


def test_resumed_runs_of_earlier_versions_leave_images_as_they_are(images: Path) -> None:
    """A run that says nothing of EXIF did not turn images; it goes on as it was begun."""
    options = ("train", "--model", "net.py:wide", "--data", "images", "--image-size", "16", *BRIEF, "-o", "run")
    invoke(*options, "--no-upright")
    config = Path("run/config.yaml")
    text = config.read_text()
    assert "upright: false" in text and "upright: true" not in text
    config.write_text("".join(line for line in text.splitlines(True) if "upright" not in line))
    (Path("run") / "result.json").unlink()
    (Path("run") / "model.safetensors").unlink()
    refused = run(*options, "--resume", code=2)
    assert "preprocessing.upright" in refused
    invoke(*options, "--resume", "--no-upright")
    assert Path("run/result.json").is_file()
