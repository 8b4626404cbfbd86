"""Layers ranked without a feature file are those of a feature file."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.resolve_rules import check_ranking, resolve_rules
from layerprobe.features.extraction.extract import extract
from layerprobe.models.weights import hash_weights
from layerprobe.models.zoo import build_model
from layerprobe.ranking.grams import extract_grams
from layerprobe.ranking.rank import rank, rank_model
from layerprobe.ranking.similarity import layer_similarity
from layerprobe.records import Layer, LayerGeometry, Ranking
from layerprobe.settings.data import DataSettings
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.run import DistillSettings


def test_the_choice_is_that_of_a_feature_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ExtractSettings(
        model=ModelSettings(name="cifar:resnet20", weights="random"),
        data=DataSettings(name="digits"),
        output=tmp_path / "f.h5",
        samples=60,
        device="cpu",
    )
    with extract(config) as file:
        expected = rank(file, 3, "efficiency")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = rank_model(config, 3, "efficiency")
    assert found.selected == expected.selected and found.score == "efficiency"
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]


def test_a_ranking_that_can_not_choose_is_refused() -> None:
    layers = (LayerGeometry(Layer(0, "layer1.0", "block", (16, 8, 8), 0), {"quality": 1.0}),)
    ranking = Ranking(layers, "quality", ("layer1.0",), {"model": "cifar:resnet56", "weights_sha256": "a" * 64})
    check_ranking(ranking, plan("quality:1"))
    with pytest.raises(
        LayerprobeError, match="r.json has no probe, which stagewise-probe:1 looks at; .*--statistics probe"
    ):
        check_ranking(ranking, plan("stagewise-probe:1"), "r.json")
    with pytest.raises(LayerprobeError, match="the ranking has no probe"):
        resolve_rules(plan("probe:1"), ranking)
    with pytest.raises(LayerprobeError, match="r.json is of cifar:resnet56, and the teacher is cifar:resnet20; rank"):
        resolve_rules(plan("quality:1"), ranking, name="r.json")


def test_a_ranking_of_other_random_weights_is_of_another_network() -> None:
    """Random weights of another seed have another hash; those that are drawn here are known again."""
    layers = (LayerGeometry(Layer(0, "layer1.0", "block", (16, 8, 8), 0), {"quality": 1.0}),)
    module = build_model("cifar:resnet20", 10, 8, seed=0)
    for digest, seed in ((hash_weights(module), 0), (hash_weights(build_model("cifar:resnet20", 10, 8, seed=1)), 1)):
        source = {"model": "cifar:resnet20", "weights": "random", "weights_sha256": digest}
        ranking = Ranking(layers, "quality", ("layer1.0",), source)
        if seed == 0:
            assert str(resolve_rules(plan("quality:1"), ranking).layers) == "layer1.0"
        else:
            with pytest.raises(
                LayerprobeError, match=rf"other weights than the teacher's: SHA-256 {digest[:12]} \(rand"
            ):
                resolve_rules(plan("quality:1"), ranking)


def plan(layers: str, student: str = "cifar:resnet20", seed: int = 0) -> DistillSettings:
    told = {
        "teacher": {"name": "cifar:resnet20", "weights": "random"},
        "student": {"name": student},
        "data": {"name": "digits"},
        "layers": layers,
        "training": {"seed": seed, "device": "cpu"},
    }
    return DistillSettings.parse({**told, "output": "out"})


def test_what_looks_like_a_rule_is_one() -> None:
    with pytest.raises(LayerprobeError, match="layers: no rule 'qualty' that chooses layers; closest: 'quality'"):
        plan("qualty:4")
    with pytest.raises(LayerprobeError, match="even:K chooses K layers, K a number from 1; not '0'"):
        plan("even:0")
    assert str(resolve_rules(plan("every:4,layer3.2,-4:,3-7")).layers) == "every:4,layer3.2,-4:,3-7"


def test_pairs_of_one_teacher_draw_sets_of_their_own() -> None:
    """The same pair and seed draw the same, another seed or student another one."""
    drawn = {
        (student, seed): resolve_rules(plan("random:4", student, seed)).layers
        for student in ("cifar:resnet20", "cifar:resnet32")
        for seed in range(3)
    }
    assert len(set(drawn.values())) == 6
    assert resolve_rules(plan("random:4", "cifar:resnet32", 2)).layers == drawn["cifar:resnet32", 2]


@pytest.mark.parametrize("rule, least", [("quality", np.mean), ("information", lambda values: max(values) / 2)])
def test_rules_that_stop_early_rank_the_teacher(
    rule: str, least: Callable[[list[float]], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerprobe.experiments.resolve_rules.teacher_sample", small_sample)
    blocks = [one for one in rank_model(small_sample(plan("")), resamples=0).geometries if one.layer.kind == "block"]
    values = [one.statistics[rule] for one in blocks]
    end = max(place for place, value in enumerate(values, start=1) if value >= least(values))
    expected = [blocks[math.ceil(end * third / 3) - 1].layer.name for third in (1, 2, 3)]
    assert resolve_rules(plan(f"even-{rule}:3")).layers.names == tuple(expected)


def test_reach_looks_at_the_untrained_student(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Quality is the same for all layers of this ranking, so that the choice is the layer nearest to the student's."""
    monkeypatch.setattr("layerprobe.experiments.resolve_rules.teacher_sample", small_sample)
    ranking = rank_model(small_sample(plan("")), resamples=0)
    flat = tuple(replace(one, statistics={**one.statistics, "quality": 1.0}) for one in ranking.geometries)
    chosen = resolve_rules(plan("stagewise-reach:1", "cifar:resnet32"), replace(ranking, geometries=flat)).layers
    with (
        extract_grams(small_sample(plan("")).replaced(output=tmp_path / "t.h5")) as teacher,
        extract_grams(student_sample(tmp_path).replaced(layers=("layer3.4",))) as student,
    ):
        similarity = layer_similarity(teacher, student)
    nearest = max(
        (layer for layer in similarity.first if layer.kind == "block"),
        key=lambda layer: float(similarity.cka[similarity.first.index(layer), 0]),
    )
    assert str(chosen) == nearest.name


def test_rules_measure_with_the_second_sample_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[ExtractSettings] = []

    def remember(settings: ExtractSettings, *others: object, **more: object) -> Ranking:
        asked.append(settings)
        return rank_model(small_sample(plan("")), 2, "quality", resamples=0)

    monkeypatch.setattr("layerprobe.experiments.resolve_rules.rank_model", remember)
    resolve_rules(plan("quality:2").replaced(spectrum_samples=20))
    resolve_rules(plan("quality:2"))
    assert [one.spectrum_samples for one in asked] == [20, None] and not caplog.records
    resolve_rules(plan("even:2").replaced(spectrum_samples=20))
    assert "--spectrum-samples is not used: no rule measures the teacher's layers" in caplog.text


def test_a_ranking_of_another_second_sample_is_refused() -> None:
    layers = (LayerGeometry(Layer(0, "layer1.0", "block", (16, 8, 8), 0), {"quality": 1.0}),)
    told = plan("quality:1").replaced(spectrum_samples=20)
    for sample, said in ((None, "one sample for all"), ({"requested": 9}, "up to 9 images of a class")):
        ranking = Ranking(layers, "quality", ("layer1.0",), {"spectrum_sample": sample})
        check_ranking(ranking, plan("quality:1"))
        with pytest.raises(LayerprobeError, match=f"has spectra of {said}, not of up to 20; rank features of"):
            check_ranking(ranking, told)
    check_ranking(replace(ranking, provenance={"spectrum_sample": {"requested": 20}}), told)


def small_sample(told: DistillSettings) -> ExtractSettings:
    return ExtractSettings(
        model=ModelSettings(name="cifar:resnet20", weights="random"),
        data=DataSettings(name="digits"),
        output=Path("t.h5"),
        samples=60,
        device="cpu",
    )


def student_sample(folder: Path) -> ExtractSettings:
    """The student, which sees what its teacher sees."""
    student = ModelSettings(name="cifar:resnet32", weights="random")
    return small_sample(plan("")).replaced(model=student, output=folder / "s.h5")
