"""A grid whose runs are evaluated by the features of their students."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from scipy import stats

from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.catalogue import EVALUATORS
from layerprobe.evaluation.evaluate_features import evaluate_features
from layerprobe.evaluation.subject import load_subject
from layerprobe.experiments.grid.compare import compare, plan_grid
from layerprobe.experiments.grid.estimate import estimate_seconds
from layerprobe.experiments.grid.grid_file import load_grid
from layerprobe.experiments.grid.results import GridReader, read_grid
from layerprobe.experiments.publish import publish_study
from layerprobe.experiments.validation.validate import plan_validation
from layerprobe.records import GridResults
from layerprobe.report.figures.grid_bars import grid_bars_figure
from layerprobe.report.grid.tables import details_table, grid_table
from layerprobe.settings.compare import CompareSettings
from layerprobe.settings.data import DataSettings
from layerprobe.settings.evaluate import EvaluateSettings

IMAGES: dict[str, Any] = {"samples": 100, "train_samples": 100, "resamples": 0}


@pytest.fixture
def values(grid_values: dict[str, Any]) -> dict[str, Any]:
    """Students of one epoch on images without labels, and one that learns from labels."""
    training = {"epochs": 1, "batch_size": 30, "train_samples": 60, "device": "cpu"}
    return grid_values | {
        "reference": "with labels",
        "common": {"data": {"name": "digits", "unlabelled": True}, "training": training},
        "methods": {"with labels": {"method": "scratch", "data": {"unlabelled": False}}, "feature-only": {}},
        "choices": ["even:2"],
        "evaluation": {"data": {"name": "digits"}, "by": ["knn", "retrieval"], **IMAGES},
    }


def written(values: dict[str, Any], tmp_path: Path) -> CompareSettings:
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return CompareSettings(grid=tmp_path / "grid.yaml", output=tmp_path / "grid")


def run(settings: CompareSettings) -> tuple[GridResults, int]:
    """What `compare` finds at its end, and how many epochs it trained."""
    epochs: list[int] = []
    return compare(settings, lambda cell, metrics, of: epochs.append(1)).results, len(epochs)


def scored(folder: Path, way: str) -> float:
    config = EvaluateSettings(run=folder, data=DataSettings(name="digits"), by=(way,), **IMAGES)
    (score,) = evaluate_features(config, [EVALUATORS[way]], load_subject(config)).scores
    return score.overall.value


def test_methods_are_compared_by_the_features_of_their_students(values: dict[str, Any], tmp_path: Path) -> None:
    settings = written(values, tmp_path)
    grid = plan_grid(settings)
    assert len(estimate_seconds(grid, GridReader(grid, settings.output).read())) == 4  # also without test images
    results, epochs = run(settings)
    assert epochs == 4 and [one.state for one in results.results] == ["done"] * 4
    knn: dict[str, list[float]] = {}
    for one in results.results:
        assert one.run is not None
        for way in ("knn", "retrieval"):
            assert one.scores[way] == scored(tmp_path / "grid" / one.cell.path, way)
        knn.setdefault(one.cell.method, []).append(one.scores["knn"])

    table = grid_table(results)
    assert table.title == "Digits: k-NN, top-1 on the test images (%)"
    labelled, unlabelled = table.rows
    assert unlabelled["knn A to B"] == pytest.approx(sum(knn["feature-only"]) / 2)
    paired = stats.ttest_rel(knn["feature-only"], knn["with labels"])
    assert unlabelled["difference A to B_p"] == pytest.approx(paired.pvalue)
    assert labelled["knn A to B"] == pytest.approx(sum(knn["with labels"]) / 2)
    assert [row["method"] for row in table.rows] == ["with labels", "feature-only"]  # the teacher has no such score
    names = [column.name for column in details_table(results).columns]
    assert {"knn", "retrieval", "top1", "loss"} <= {*names}
    assert "k-NN (%)" in grid_bars_figure(results).figure.axes[0].get_xlabel()


def test_what_is_not_evaluated_yet_is_evaluated_and_not_trained_again(values: dict[str, Any], tmp_path: Path) -> None:
    values["seeds"] = 1
    asked = values.pop("evaluation")
    results, epochs = run(written(values, tmp_path))
    assert epochs == 2 and not any(one.scores for one in results.results)

    settings = written(values | {"evaluation": asked | {"by": ["knn"]}}, tmp_path)
    (tmp_path / "grid" / "grid.yaml").write_text(settings.grid.read_text())
    waiting = read_grid(tmp_path / "grid")
    assert {one.state for one in waiting.results} == {"waiting"}
    assert estimate_seconds(load_grid(settings.grid), waiting) == {}  # nothing is left to train
    results, epochs = run(settings)
    assert epochs == 0 and [list(one.scores) for one in results.results] == [["knn"]] * 2

    before = [one.scores["knn"] for one in results.results]
    results, epochs = run(written(values | {"evaluation": asked}, tmp_path))
    assert epochs == 0 and [one.scores["knn"] for one in results.results] == before
    assert all({*one.scores} == {"knn", "retrieval"} for one in results.results)


def test_scores_that_lie_there_are_not_written_over(values: dict[str, Any], tmp_path: Path) -> None:
    values["seeds"] = 1
    settings = written(values, tmp_path)
    run(settings)
    file = next((tmp_path / "grid" / "runs").glob("**/evaluation-*.json"))
    kept = json.loads(file.read_text())
    kept["found"]["scores"] = [score for score in kept["found"]["scores"] if score["by"] == "knn"]
    file.write_text(json.dumps(kept | {"of": "other images"}))
    before = file.read_bytes()
    results, _ = run(settings)
    (failed,) = [one for one in results.results if one.state == "failed"]
    assert "is of other weights or images" in failed.reason and "remove it" in failed.reason
    assert file.read_bytes() == before
    file.unlink()
    results, epochs = run(settings)
    assert epochs == 0 and {one.state for one in results.results} == {"done"}

    file.write_text("{")
    (failed,) = [one for one in read_grid(tmp_path / "grid").results if one.state == "failed"]
    assert file.name in failed.reason


def test_a_study_keeps_the_scores(values: dict[str, Any], tmp_path: Path) -> None:
    values["seeds"] = 1
    results, _ = run(written(values, tmp_path))
    publish_study(tmp_path / "grid", tmp_path / "study")
    shutil.rmtree(tmp_path / "grid")
    kept = read_grid(tmp_path / "study")
    assert [one.scores for one in kept.results] == [one.scores for one in results.results]
    assert grid_table(kept).rows == grid_table(results).rows
    publish_study(tmp_path / "study", tmp_path / "again")
    assert (tmp_path / "again" / "runs.csv").read_bytes() == (tmp_path / "study" / "runs.csv").read_bytes()


@pytest.mark.parametrize(
    ("evaluation", "says"),
    [
        ({"data": {"name": "digits", "unlabelled": True}}, "compares classes, and digits has no labels"),
        ({}, "compares classes, and digits has no labels"),
        ({"data": {"name": "nowhere"}}, "no folder 'nowhere'"),
        ({"by": ["agreement"]}, "agreement gives no number of every run.*knn or probe or retrieval"),
        ({"by": ["knm"]}, "no way of evaluation 'knm'"),
        ({"output": "x"}, "evaluation.output is for one run.*leave it out"),
        ({"neighbors": 3}, "neighbors"),
        ("digits", "evaluation is a mapping with keys of `layerprobe evaluate`"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_any_run(
    values: dict[str, Any], evaluation: Any, says: str, tmp_path: Path
) -> None:
    settings = written(values | {"evaluation": evaluation}, tmp_path)
    with pytest.raises(LayerprobeError, match=says):
        run(settings)
    assert not settings.output.exists()


def test_a_validation_takes_none(values: dict[str, Any], tmp_path: Path) -> None:
    values["common"]["data"] = {"name": "digits"}
    settings = written({**values, "choices": [], "validate": {"layers": "all"}}, tmp_path)
    with pytest.raises(LayerprobeError, match="remove the key 'evaluation'"):
        plan_validation(settings)
