"""Layers ranked without a feature file are those of a feature file."""

import tempfile
from pathlib import Path

import pytest

from layerprobe.experiments.on_the_spot import rank_on_the_spot
from layerprobe.features.config import ExtractConfig
from layerprobe.features.extract import extract
from layerprobe.ranking.rank import rank
from layerprobe.resolve import DataSpec, ModelSpec


def test_the_choice_is_that_of_a_feature_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ExtractConfig(
        ModelSpec("cifar:resnet20", "random"), DataSpec("digits"), tmp_path / "f.h5", samples=60, device="cpu"
    )
    with extract(config) as file:
        expected = rank(file, 3, "efficiency")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = rank_on_the_spot(config, 3, "efficiency")
    assert found.selected == expected.selected and found.score == "efficiency"
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]
