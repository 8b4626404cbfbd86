"""Layers ranked without a feature file are those of a feature file."""

import tempfile
from pathlib import Path

import pytest

from layerprobe.experiments.on_the_spot import asks_for_ranking, rank_on_the_spot
from layerprobe.features.config import ExtractConfig
from layerprobe.features.extract import extract
from layerprobe.ranking.choose import SCORES
from layerprobe.ranking.rank import rank
from layerprobe.resolve import DataSpec, ModelSpec


def test_the_choice_is_that_of_a_feature_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ExtractConfig(
        ModelSpec("cifar:resnet20", "random"), DataSpec("digits"), tmp_path / "f.h5", samples=60, device="cpu"
    )
    with extract(config) as file:
        expected = rank(file, 3, "efficiency")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = rank_on_the_spot("efficiency:3", config)
    assert found.selected == expected.selected and found.score == "efficiency"
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]


def test_what_asks_for_a_ranking() -> None:
    assert all(asks_for_ranking(f"{score}:2") for score in SCORES)
    for layers in ("quality", "quality:0", "quality:x", "beauty:4", "every:4", "even:4", "layer3.6", "3-7", "3:8"):
        assert not asks_for_ranking(layers)
    with pytest.raises(ValueError, match="'beauty:4' is not a score"):
        rank_on_the_spot("beauty:4", ExtractConfig(ModelSpec("m"), DataSpec("digits"), Path("f.h5")))
