"""Layers ranked without a feature file are those of a feature file."""

import tempfile
from pathlib import Path

import pytest

from layerprobe.distill.config import DistillConfig
from layerprobe.errors import LayerprobeError
from layerprobe.experiments.on_the_spot import check_ranking, choose_layers, rank_on_the_spot
from layerprobe.features.config import ExtractConfig
from layerprobe.features.extract import extract
from layerprobe.ranking.rank import rank
from layerprobe.resolve import DataSpec, ModelSpec
from layerprobe.types import Layer, LayerGeometry, Ranking


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


def test_a_ranking_that_can_not_choose_is_refused() -> None:
    def plan(rule: str, teacher: str = "cifar:resnet56", digest: str | None = None) -> DistillConfig:
        spec = ModelSpec(teacher, "t.th", weights_sha256=digest)
        return DistillConfig("feature-only", spec, ModelSpec("cifar:resnet20"), DataSpec("digits"), Path("run"), rule)

    layers = (LayerGeometry(Layer(0, "layer1.0", "block", (16, 8, 8), 0), {"quality": 1.0}),)
    ranking = Ranking(layers, "quality", ("layer1.0",), {"model": "cifar:resnet56", "weights_sha256": "a" * 64})
    check_ranking(ranking, plan("quality:1"))
    check_ranking(ranking, plan("even:1", digest="a" * 64))
    for refused, message in (
        (
            plan("stagewise-probe:1"),
            "r.json has no probe_accuracy, which stagewise-probe:1 looks at; .*--statistics probe",
        ),
        (
            plan("quality:1", "cifar:resnet20"),
            "r.json is of cifar:resnet56; the teacher is cifar:resnet20; name its own",
        ),
        (plan("quality:1", digest="b" * 64), "of cifar:resnet56 with other weights than the teacher's.*aaaa, not bbbb"),
    ):
        with pytest.raises(LayerprobeError, match=message):
            check_ranking(ranking, refused, "r.json")
    with pytest.raises(LayerprobeError, match="the ranking has no probe_accuracy"):
        choose_layers(plan("probe:1"), ranking)
