"""Single image files: turned, transparent, large, damaged; and what the headers of many say."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from layerprobe.data import image_files as module
from layerprobe.data.datasets import open_dataset
from layerprobe.data.image_files import FORMATS, SUFFIXES, read_headers, read_image
from layerprobe.errors import LayerprobeError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)

# Section 4.6.4 of the EXIF standard: where the stored rows and columns begin.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def save(path: Path, pixels: npt.NDArray[np.uint8] = PIXELS, orientation: int = 1, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_exif_says(orientation: int, tmp_path: Path) -> None:
    for name, options in (("a.png", {}), ("a.webp", {"lossless": True}), ("a.tif", {})):
        path = save(tmp_path / name, orientation=orientation, **options)
        assert np.array_equal(np.asarray(read_image(path, upright=True)), UPRIGHT[orientation](PIXELS)), name
        if name != "a.tif":  # Pillow turns these in any case
            assert np.array_equal(np.asarray(read_image(path)), PIXELS), name
        headers = read_headers(tmp_path, [name])
        assert list(headers.sizes) == [(20, 12) if orientation < 5 else (12, 20)], name


def test_damaged_metadata_leave_the_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", orientation=6)
    whole = path.read_bytes()
    start = whole.index(b"Exif\0\0")
    as_stored = np.asarray(read_image(path))
    for offset in range(6, 32):
        path.write_bytes(whole[: start + offset] + b"\xff" * (32 - offset) + whole[start + 32 :])
        image = np.asarray(read_image(path, upright=True))
        assert np.array_equal(image, as_stored) or np.array_equal(image, np.rot90(as_stored, -1))


def test_transparency_is_dropped(tmp_path: Path) -> None:
    indexed = Image.fromarray(PIXELS).quantize(16)
    colours = np.asarray(indexed.convert("RGB"))
    indexed.save(tmp_path / "palette.png", transparency=bytes(range(16)))
    assert np.array_equal(np.asarray(read_image(tmp_path / "palette.png")), colours)
    alpha = np.dstack([PIXELS, np.arange(240, dtype=np.uint8).reshape(12, 20)])
    assert np.array_equal(np.asarray(read_image(save(tmp_path / "alpha.png", alpha))), PIXELS)
    grey = save(tmp_path / "grey.png", alpha[:, :, [0, 3]])
    assert np.array_equal(np.asarray(read_image(grey)), np.repeat(PIXELS[:, :, :1], 3, axis=2))
    assert read_headers(tmp_path, ["palette.png", "alpha.png", "grey.png"]).transparent == 3


def test_large_images_are_read_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # of 240: Pillow warns above it, and refuses twice as much
    assert read_image(path).size == (20, 12) and read_headers(tmp_path, ["a.png"]).count == 1
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(LayerprobeError, match="240 pixels"):
        read_image(path)


@pytest.mark.skipif(".avif" not in SUFFIXES, reason="this Pillow reads no AVIF")
def test_avif_and_jfif(tmp_path: Path) -> None:
    assert "AVIF" in FORMATS
    near = save(tmp_path / "a.avif", quality=100, subsampling="4:4:4")
    assert np.abs(np.asarray(read_image(near)).astype(int) - PIXELS).mean() < 3
    save(tmp_path / "b.jfif", format="JPEG")
    assert read_image(tmp_path / "b.jfif").size == (20, 12) and module.is_image("X.JFIF")


def test_the_size_of_most_is_the_size_of_the_data(tmp_path: Path) -> None:
    def headers(*sizes: tuple[int, int]) -> module.ImageHeaders:
        for number, (height, width) in enumerate(sizes):
            save(tmp_path / f"{number}.png", np.zeros((height, width, 3), np.uint8))
        return read_headers(tmp_path, [f"{number}.png" for number in range(len(sizes))])

    same = headers((32, 32), (32, 32))
    assert same.native_size == 32 and list(same.notes("2 images")) == []
    icon = headers((20, 20), (32, 32), (32, 32))
    assert icon.native_size == 32
    assert list(icon.notes("3 images")) == [
        "3 images have 2 sizes, from 20x20 to 32x32 pixels, 2 of them 32x32: taken for images of 32x32"
    ]
    photographs = headers((20, 20), (90, 120), (120, 90))
    assert photographs.native_size is None
    assert "from 20x20 to 120x90 pixels" in next(photographs.notes("these")) and "photographs" in next(
        photographs.notes("these")
    )
    assert not photographs.squares
    for sizes in (((20, 20), (32, 32)), ((80, 80), (80, 80))):
        assert headers(*sizes).native_size is None and headers(*sizes).squares


def test_of_many_files_some_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HEADERS", 5)
    for number in range(20):
        save(tmp_path / f"{number:02d}.png")
    (tmp_path / "00.png").write_bytes(b"no image")
    assert read_headers(tmp_path, [f"{number:02d}.png" for number in range(20)]).count == 4
    assert read_headers(tmp_path, []).native_size is None


def test_a_folder_says_what_its_images_are(photos: Path) -> None:
    save(photos / "train" / "cat" / "00.png", np.zeros((20, 20, 3), np.uint8), orientation=3)
    dataset = open_dataset(str(photos))
    assert dataset.native_size == 32
    assert dataset.notes == (
        f"36 images of {photos} have 2 sizes, from 20x20 to 32x32 pixels, 35 of them 32x32: taken for images of 32x32",
        f"1 of 36 images of {photos} has an EXIF orientation that is not upright",
    )
