"""Preprocessing is chosen by rule, and equals torchvision's transforms."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from layerprobe.data.datasets import open_dataset
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.preprocessing import (
    DEFAULT_CROP,
    DEFAULT_INTERPOLATION,
    choose_preprocessing,
    normalize,
    to_pixels,
)
from layerprobe.errors import LayerprobeError
from layerprobe.records import Preprocessing
from layerprobe.records.parsing import parse
from layerprobe.settings.data import DataSettings

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return open_dataset("digits")


def test_the_user_comes_before_the_model_before_the_data(digits: ImageDataset) -> None:
    data = choose_preprocessing(digits)
    assert data.image_size == (8, 8) and (data.mean, data.std) == digits.statistics
    model: dict[str, Any] = {"image_size": (224, 224), "mean": MEAN, "std": STD, "resize": 256, "source": "its config"}
    wish = choose_preprocessing(digits, **model)
    assert (wish.image_size, wish.mean, wish.resize) == ((224, 224), MEAN, 256) and "its config" in wish.source
    asked = DataSettings(name="digits", image_size=112, mean=(0.5,), std=(0.1, 0.2, 0.3))
    user = choose_preprocessing(digits, **model, asked=asked)
    assert (user.image_size, user.resize) == ((112, 112), 128)
    assert (user.mean, user.std) == ((0.5,) * 3, (0.1, 0.2, 0.3))
    assert "--image-size" in user.source and "--mean" in user.source
    nothing = choose_preprocessing(replace(digits, native_size=None, statistics=None))
    assert (nothing.image_size, nothing.mean, nothing.std) == ((224, 224), MEAN, STD)
    # timm's defaults: floor(224 / 0.875), bicubic.
    assert (nothing.resize, nothing.interpolation) == (256, "bicubic") and "timm's default" in nothing.source


def asking(**values: Any) -> DataSettings:
    return DataSettings(name="photos", **values)


def test_of_photographs_the_aspect_is_kept(digits: ImageDataset) -> None:
    photographs = replace(digits, native_size=None, paths=("a.jpg",) * len(digits))
    own = choose_preprocessing(photographs, image_size=(96, 96), source="the model's image_size")
    assert (own.image_size, own.resize, own.interpolation, own.upright) == ((96, 96), 109, "bicubic", True)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8))
    timms = transforms.Compose(  # what timm.data.create_transform makes of its default config
        [transforms.Resize(109, InterpolationMode.BICUBIC), transforms.CenterCrop(96), transforms.PILToTensor()]
    )
    assert torch.equal(to_pixels(image, own), timms(image))
    # What a model, a weights file or the user says goes before.
    squashed = choose_preprocessing(photographs, image_size=(96, 96), interpolation="bilinear", upright=False)
    assert (squashed.resize, squashed.interpolation, squashed.upright) == (None, "bilinear", False)
    assert choose_preprocessing(photographs, asked=asking(crop="squash", interpolation="box")).resize is None
    asked = choose_preprocessing(
        photographs, resize=256, image_size=(224, 224), interpolation="bicubic", asked=asking(crop=1, upright=False)
    )
    assert (asked.resize, asked.interpolation, asked.upright) == (224, "bicubic", False)
    wide = choose_preprocessing(photographs, asked=asking(image_size=64, resize=100, interpolation="lanczos"))
    assert (wide.resize, wide.interpolation) == (100, "lanczos") and "--resize" in wide.source
    with pytest.raises(LayerprobeError, match=r"^data.resize is at least the size of the input, 224, not 100: the"):
        choose_preprocessing(photographs, asked=asking(resize=100))
    with pytest.raises(LayerprobeError, match="resize and crop say the same"):
        asking(resize=100, crop=0.9)
    for wrong in ("squish", 0, 1.5):
        with pytest.raises(LayerprobeError, match=r"^crop is a share from 0.01 to 1, or squash; not"):
            asking(crop=wrong)


def test_small_images_are_prepared_as_ever(digits: ImageDataset) -> None:
    for asked in (None, asking(image_size=4)):
        value = choose_preprocessing(digits, asked=asked)
        assert (value.resize, value.interpolation, value.upright) == (None, "bilinear", False)
        assert "upright" not in value.to_dict() and "resize" not in value.source
    large = choose_preprocessing(replace(digits, native_size=None, squares=True, paths=("a.png",) * len(digits)))
    assert (large.image_size, large.resize, large.interpolation) == ((224, 224), None, "bilinear")


def test_timms_own_defaults_are_these() -> None:
    from timm.data.config import resolve_data_config
    from timm.data.constants import DEFAULT_CROP_PCT

    assert DEFAULT_CROP_PCT == DEFAULT_CROP
    assert (
        resolve_data_config({}, pretrained_cfg={"input_size": (3, 224, 224)})["interpolation"] == DEFAULT_INTERPOLATION
    )


def test_a_resize_that_fits_no_size_is_dropped(digits: ImageDataset) -> None:
    assert choose_preprocessing(digits, resize=256, asked=DataSettings(name="digits", image_size=32)).resize is None


@given(
    width=st.integers(20, 90),
    height=st.integers(20, 90),
    name=st.sampled_from(["bilinear", "bicubic"]),
    crop=st.integers(20, 45),
)
@settings(max_examples=40)
def test_resize_and_crop_equal_torchvisions(width: int, height: int, name: str, crop: int) -> None:
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    ours = to_pixels(image, Preprocessing((crop, crop), MEAN, STD, resize=32, interpolation=name))
    theirs = transforms.Compose(
        [transforms.Resize(32, InterpolationMode(name)), transforms.CenterCrop(crop), transforms.PILToTensor()]
    )(image)
    assert torch.equal(ours, theirs)


def test_an_image_of_the_right_size_is_left_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    ours = to_pixels(Image.fromarray(pixels), Preprocessing((32, 32), MEAN, STD))
    assert np.array_equal(ours.permute(1, 2, 0).numpy(), pixels)
    smaller = to_pixels(Image.fromarray(pixels), Preprocessing((16, 24), MEAN, STD))
    assert smaller.shape == (3, 16, 24)


def test_normalize_equals_torchvisions_bit_for_bit() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    expected = transforms.Normalize(MEAN, STD)(transforms.functional.convert_image_dtype(pixels, torch.float32))
    ours = normalize(pixels, Preprocessing((16, 16), MEAN, STD))
    assert torch.equal(ours, expected)
    image = transforms.functional.to_pil_image(pixels[0])
    assert torch.equal(ours[0], transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])(image))


def test_preprocessing_survives_its_dictionary() -> None:
    value = Preprocessing((16, 24), MEAN, STD, resize=32, interpolation="bicubic", source="a test")
    assert parse(Preprocessing, value.to_dict(), "f", "") == value
    turned = replace(value, upright=True)
    assert parse(Preprocessing, turned.to_dict(), "f", "") == turned != value
    assert "upright by EXIF, resize 32 (bicubic), crop 16x24" in turned.describe()
