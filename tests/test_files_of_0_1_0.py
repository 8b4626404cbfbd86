"""Everything that version 0.1.0 wrote is read: tests/data_0_1_0/make.sh says how these files were made."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from layerprobe import load_student
from layerprobe.cli.main import app
from layerprobe.distill.folder import RunFolder, read_run
from layerprobe.distill.students import read_description
from layerprobe.experiments.grid.results import read_grid
from layerprobe.experiments.validation.results import read_validation
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.files import null_for_nan, read_csv
from layerprobe.models.weights import hash_weights
from layerprobe.ranking.file import load_ranking, save_ranking
from layerprobe.ranking.rank import rank
from layerprobe.records import EpochMetrics

ARCHIVE = Path(__file__).parent / "data_0_1_0" / "written.tar.xz"
RUNS = {
    "teacher": (True, "63.44 %, top-5 91.32 %"),
    "student": (False, "8.68 %, top-5 49.75 %"),
    "simkd": (False, "9.85 %, top-5 50.25 %"),
    "classes": (True, "9.68 %, top-5 49.75 %"),
    "ablation": (False, "9.85 %, top-5 49.75 %"),
}
"""Finished runs, whether labels reach their backbone, and what `layerprobe evaluate` of version 0.1.0 says of them."""


@pytest.fixture
def here(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder in which version 0.1.0 wrote. Paths in the files begin there, so it is the working one."""
    shutil.copytree(written, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def test_the_archive_is_small() -> None:
    assert ARCHIVE.stat().st_size < 300_000


def test_feature_files_and_gram_files(here: Path) -> None:
    with FeatureFile("features.h5") as features, GramFile("grams.h5") as grams:
        assert features.layers == grams.layers
        assert [stored.layer.name for stored in features.layers] == ["2", "3", "4", "5", "8.input"]
        assert torch.equal(features.labels, grams.labels) and not features.damaged().any()
        assert features.header.preprocessing == grams.header.preprocessing
    for name, said in (
        ("features.h5", "5 layers of 30 images in float16, complete"),
        ("unfinished.h5", "5 layers of 30 images in float16, unfinished: 2 of 30 rows"),
        ("grams.h5", "Gram matrices of 5 layers of 30 images"),
    ):
        assert said in run("inspect", name).stdout
    assert "every row is what was written" in run("inspect", "features.h5", "--verify").stdout


def test_rankings_are_read_and_found_again(here: Path) -> None:
    for features, options in (
        ("features", {"top": 2, "resamples": 20, "statistics": ("collapse",)}),
        ("grams", {"top": 1, "by": "logme", "resamples": 0}),
    ):
        path = Path(f"{features}.ranking.json")
        ranking = load_ranking(path)
        stored = json.loads(path.read_text())
        for one, told in zip(ranking.geometries, stored["layers"], strict=True):
            assert null_for_nan(list(one.statistics.values())) == list(told["statistics"].values())
            ends = [vars(interval) for interval in one.intervals.values()]
            assert null_for_nan(ends) == list(told["intervals"].values())
            assert one.layer.to_dict() == {key: told[key] for key in one.layer.to_dict()}
        assert list(ranking.selected) == stored["selected"]
        save_ranking(ranking, Path("again.json"))
        assert load_ranking(Path("again.json")) == ranking
        with (FeatureFile if features == "features" else GramFile)(f"{features}.h5") as source:
            again = rank(source, **options)
        assert (again.selected, again.undecided, again.evenly_spread) == (
            ranking.selected, ranking.undecided, ranking.evenly_spread,
        )  # fmt: skip
        for ours, theirs in zip(again.geometries, ranking.geometries, strict=True):
            assert ours.layer == theirs.layer
            for name, value in theirs.statistics.items():
                assert math.isclose(ours.statistics[name], value, rel_tol=1e-5, abs_tol=1e-7) or math.isnan(value)


def test_a_cache_is_read_or_computed_again_with_a_word(here: Path) -> None:
    before = json.loads(Path("features.ranking.json").read_text())
    options = ("--top", 2, "--resamples", 20, "--statistics", "collapse", "--overwrite")
    said = run("rank", "features.h5", *options).stderr
    assert "features.statistics.npz holds results of other features or another version: computed again" in said
    after = json.loads(Path("features.ranking.json").read_text())
    assert after["selected"] == before["selected"] and after["provenance"]["created"] == before["provenance"]["created"]
    assert "computed again" not in run("rank", "features.h5", *options).stderr


@pytest.mark.parametrize("name", RUNS)
def test_finished_runs(here: Path, name: str) -> None:
    found = read_run(Path(name))
    stored = json.loads((here / name / "result.json").read_text())
    assert {key: value for key, value in found.to_dict().items() if key in stored} == stored
    labels, accuracy = RUNS[name]
    assert found.labels_reach_backbone is labels and len(found.epochs) == (4 if name == "teacher" else 2)
    module = load_student(found, allow_code=True)
    assert module(torch.rand(2, 3, 8, 8)).shape == (2, 10)
    if name in ("teacher", "classes"):
        load_student(name, "best", allow_code=True)
    assert f"top-1 {accuracy} of 599 images" in run("evaluate", name, "--device", "cpu", "--allow-code").stdout


def test_weights_carry_what_they_were_trained_with(here: Path) -> None:
    """A student's configuration names its teacher's weights by their hash."""
    config = read_run(Path("student")).config
    assert hash_weights(load_student("teacher", allow_code=True)) == config["teacher"]["weights_sha256"]
    assert read_description(Path("teacher"))[1].preprocessing.mean == (0.2873,) * 3


def test_rankings_and_features_are_distilled_from(here: Path) -> None:
    common = (
        "--teacher", "net.py:wide", "--teacher-weights", "teacher/model.safetensors", "--student", "net.py:narrow",
        "--data", "digits", "--device", "cpu", "--train-samples", 100, "--test-samples", 50, "--batch-size", 50,
        "--epochs", 1,
    )  # fmt: skip
    run("distill", *common, "--layers", "features.ranking.json", "--output", "chosen")
    assert read_run(Path("chosen")).config["layers_from"] == "features.ranking.json"
    run("distill", *common, "--layers", "3,4", "--teacher-features", "passes.h5", "--output", "stored")
    run("distill", *common, "--layers", "3,4", "--output", "passes")
    stored, passes = (read_run(Path(name)).epochs[0].losses["features"] for name in ("stored", "passes"))
    assert stored == pytest.approx(passes, rel=1e-2)  # the file is float16


def test_a_configuration_with_old_keys_is_run_again(here: Path) -> None:
    run("distill", "--config", "student/config.yaml", "--output", "again")
    again, before = read_run(Path("again")), read_run(Path("student"))
    assert [epoch.losses for epoch in again.epochs] == [
        {name: pytest.approx(value, rel=1e-4) for name, value in epoch.losses.items()} for epoch in before.epochs
    ]


def test_an_unfinished_run_goes_on_or_is_refused_in_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has 400 epochs; that it goes on is seen after three of them."""
    begun = read_csv(Path("unfinished/metrics.csv"), "metrics", "")
    added: list[int] = []
    add = RunFolder.add_epoch

    def stop_after_three(folder: RunFolder, metrics: EpochMetrics) -> None:
        add(folder, metrics)
        added.append(metrics.epoch)
        if len(added) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "add_epoch", stop_after_three)
    result = CliRunner().invoke(app, ["distill", "--config", "unfinished/config.yaml", "--output", "unfinished",
                                      "--resume", "--epochs", "400", "--quiet"])  # fmt: skip
    assert result.exit_code in (130, 2)
    if result.exit_code == 2:
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
        assert "unfinished" in result.stderr
    else:
        rows = read_csv(Path("unfinished/metrics.csv"), "metrics", "")
        assert [int(row["epoch"]) for row in rows] == list(range(1, added[-1] + 1)) and 1 < added[0] <= len(begun) + 1
        assert rows[: added[0] - 1] == begun[: added[0] - 1]


def test_an_unfinished_extraction_of_another_version_is_refused_in_one_line(here: Path) -> None:
    result = CliRunner().invoke(app, [
        "extract", "--model", "net.py:wide", "--weights", "teacher/model.safetensors", "--data", "digits", "--device",
        "cpu", "--samples", "30", "--batch-size", "1", "--dtype", "float16", "--output", "unfinished.h5",
    ])  # fmt: skip
    assert result.exit_code == 2
    assert "unfinished.h5 is unfinished, and is another extraction (layerprobe_version: 0.1.0 " in result.stderr


def test_a_grid_is_reported_and_gone_on_with(here: Path) -> None:
    states = {one.cell.path: one.state for one in read_grid(Path("grid")).results}
    assert list(states.values()) == ["done", "done", "done", "failed"]
    run("report", "grid")
    assert (here / "grid" / "report" / "index.html").is_file()
    shutil.copy("teacher/model.safetensors", "nowhere.safetensors")  # what the fourth cell lacked
    done = {path: (here / "grid" / path / "result.json").read_bytes() for path in list(states)[:3]}
    run("compare", "grid.yaml", "--output", "grid")
    assert {one.state for one in read_grid(Path("grid")).results} == {"done"}
    assert {path: (here / "grid" / path / "result.json").read_bytes() for path in done} == done


def test_a_validation_is_reported_and_gone_on_with(here: Path) -> None:
    found = read_validation(Path("validation"), allow_code=True)
    assert found is not None and [one.layers for one in found.candidates] == [("3",), ("4",)]
    assert found.candidates[0].scores["twonn"] == 4.211980342978501
    before = (here / "validation" / "scores.json").read_bytes()
    said = run("validate", "validate.yaml", "--output", "validation").stderr
    assert "epoch" not in said and (here / "validation" / "scores.json").read_bytes() == before
    run("report", "validation", "--allow-code")
