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
from layerprobe.data.preprocessing import choose_preprocessing, normalize, to_pixels
from layerprobe.records import Preprocessing
from layerprobe.records.parsing import parse

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
    user = choose_preprocessing(digits, **model, override_size=112, override_mean=(0.5,), override_std=(0.1, 0.2, 0.3))
    assert (user.image_size, user.resize) == ((112, 112), 128)
    assert (user.mean, user.std) == ((0.5,) * 3, (0.1, 0.2, 0.3))
    assert "--image-size" in user.source and "--mean" in user.source
    nothing = choose_preprocessing(replace(digits, native_size=None, statistics=None))
    assert (nothing.image_size, nothing.mean, nothing.std) == ((224, 224), MEAN, STD)


def test_a_resize_that_fits_no_size_is_dropped(digits: ImageDataset) -> None:
    assert choose_preprocessing(digits, resize=256, override_size=32).resize is None


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
