"""Fixtures: where the real data lie, and small real images."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real CIFAR-10 images, weights and golden values."""
    folder = os.environ.get("LAYERPROBE_SHARED")
    if not folder:
        pytest.skip("LAYERPROBE_SHARED is not set")
    return Path(folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 3 classes with 12 training and 4 test images of 32 pixels each."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for label, name in enumerate(("cat", "dog", "eel")):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(60 * label, 60 * label + 120, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return tmp_path / "photos"
