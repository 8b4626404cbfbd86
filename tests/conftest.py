"""Fixtures: where the real data lie, small real images, and a teacher with a plan to distil from it."""

from __future__ import annotations

import os

# Tests run side by side, one per core, and their networks are small: more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

if TYPE_CHECKING:
    from layerprobe.records import Run
    from layerprobe.settings.run import DistillSettings

# How long an example takes depends on what else the machine does, and says nothing about the program.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real CIFAR-10 images, weights and golden values."""
    folder = os.environ.get("LAYERPROBE_SHARED")
    if not folder:
        pytest.skip("LAYERPROBE_SHARED is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that version 0.1.0 wrote, to be read only."""
    folder = tmp_path_factory.mktemp("written")
    with tarfile.open(Path(__file__).parent / "data_0_1_0" / "written.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


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


@pytest.fixture(scope="session")
def digits_teacher(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A ResNet-20 after one epoch of 300 digits."""
    from layerprobe.distill.run import train_model
    from layerprobe.settings.data import DataSettings
    from layerprobe.settings.model import ModelSettings
    from layerprobe.settings.recipe import TrainingSettings
    from layerprobe.settings.run import TrainSettings

    folder = tmp_path_factory.mktemp("digits") / "teacher"
    training = TrainingSettings(epochs=1, batch_size=64, train_samples=300, test_samples=100, device="cpu")
    return train_model(
        TrainSettings(
            model=ModelSettings(name="cifar:resnet20"),
            data=DataSettings(name="digits"),
            output=folder,
            training=training,
        )
    )


@pytest.fixture
def small(digits_teacher: Run, tmp_path: Path) -> DistillSettings:
    """Two epochs of feature-only on 300 digits."""
    return small_plan(digits_teacher, tmp_path)


def small_plan(digits_teacher: Run, folder: Path) -> DistillSettings:
    """The same for a folder, with the run below it."""
    from layerprobe.settings.data import DataSettings
    from layerprobe.settings.model import ModelSettings
    from layerprobe.settings.recipe import TrainingSettings
    from layerprobe.settings.run import DistillSettings

    return DistillSettings(
        method="feature-only",
        teacher=ModelSettings(name="cifar:resnet20", weights=str(digits_teacher.weights)),
        student=ModelSettings(name="cifar:resnet20"),
        data=DataSettings(name="digits"),
        output=folder / "run",
        layers="layer2.0,layer3.1",
        training=TrainingSettings(epochs=2, batch_size=64, train_samples=300, test_samples=100, device="cpu"),
    )
