"""A grid of small runs on digits."""

from pathlib import Path

import pytest
import yaml

from layerprobe.records import Run


@pytest.fixture
def grid_values(digits_teacher: Run) -> dict[str, object]:
    """Two methods, one of them with two choices of layers, and two seeds: six cells."""
    training = {"epochs": 3, "batch_size": 32, "train_samples": 100, "test_samples": 50, "device": "cpu"}
    return {
        "title": "Digits",
        "reference": "scratch",
        "common": {"data": {"name": "digits"}, "training": training},
        "pairs": {
            "A to B": {
                "teacher": {"name": "cifar:resnet20", "weights": str(digits_teacher.weights)},
                "student": {"name": "cifar:resnet20"},
            }
        },
        "methods": ["scratch", "feature-only"],
        "choices": ["even:2", "last:2"],
        "seeds": 2,
    }


@pytest.fixture
def grid_file(grid_values: dict[str, object], tmp_path: Path) -> Path:
    """That grid as a file."""
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(grid_values, sort_keys=False))
    return path
