"""A teacher that knows the digits, and a configuration to distil from it."""

from dataclasses import replace
from pathlib import Path

import pytest

from layerprobe.distill.config import DistillConfig, TrainConfig, Training
from layerprobe.distill.run import train_model
from layerprobe.resolve import DataSpec, ModelSpec
from layerprobe.types import Run

TRAINING = Training(epochs=2, batch_size=64, train_samples=300, test_samples=100, device="cpu")


@pytest.fixture(scope="session")
def digits_teacher(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A ResNet-20 after one epoch."""
    folder = tmp_path_factory.mktemp("digits") / "teacher"
    return train_model(
        TrainConfig(ModelSpec("cifar:resnet20"), DataSpec("digits"), folder, replace(TRAINING, epochs=1))
    )


@pytest.fixture
def small(digits_teacher: Run, tmp_path: Path) -> DistillConfig:
    """Two epochs of feature-only on 300 digits."""
    return DistillConfig(
        method="feature-only",
        teacher=ModelSpec("cifar:resnet20", str(digits_teacher.weights)),
        student=ModelSpec("cifar:resnet20"),
        data=DataSpec("digits"),
        output=tmp_path / "run",
        layers="layer2.0,layer3.1",
        training=TRAINING,
    )
