"""A grid published as a study: one table in place of its run folders, from which everything goes on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.compare import compare
from layerprobe.experiments.grid.flat_csv import format_rows, read_rows
from layerprobe.experiments.grid.grid_file import load_grid
from layerprobe.experiments.grid.results import FAILED, mark_failed, read_grid
from layerprobe.experiments.grid.study import TABLE, read_study
from layerprobe.experiments.publish import publish_study
from layerprobe.experiments.resolve_rules import teacher_sample
from layerprobe.experiments.validation.results import read_validation
from layerprobe.experiments.validation.validate import validate
from layerprobe.ranking.file import save_ranking
from layerprobe.ranking.rank import rank_model
from layerprobe.records import GridResults, Run
from layerprobe.report.figures.learning_curves import learning_curves_figure
from layerprobe.report.grid.tables import details_table, grid_table, states_table
from layerprobe.settings.compare import CompareSettings

Write = Callable[..., Path]


@pytest.fixture
def write_grid(digits_teacher: Run, tmp_path: Path) -> Write:
    """Writes a grid file of short runs on digits."""
    training = {"epochs": 2, "batch_size": 30, "train_samples": 60, "test_samples": 50, "device": "cpu"}

    def write(**changes: object) -> Path:
        values = {
            "title": "Digits",
            "common": {"data": {"name": "digits"}, "training": training},
            "pairs": {
                "A to B": {
                    "teacher": {"name": "cifar:resnet20", "weights": str(digits_teacher.weights)},
                    "student": {"name": "cifar:resnet20"},
                }
            },
            **changes,
        }
        path = tmp_path / "file.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    return write


def go_on(grid: Path, folder: Path) -> tuple[GridResults, list[str]]:
    """What `compare` finds at its end, and the cells that it ran."""
    ran: list[str] = []
    results = compare(
        CompareSettings(grid=grid, output=folder), lambda cell, metrics, epochs: ran.append(cell.path)
    ).results
    return results, list(dict.fromkeys(ran))


def everything(results: GridResults) -> list[Any]:
    """Every number that a report shows, and every run."""
    tables = [grid_table(results), details_table(results), states_table(results)]
    curves = learning_curves_figure(results, 5.0).data
    runs = [
        (one.cell, one.state, one.reason, one.run and (one.run.to_dict(), one.run.config)) for one in results.results
    ]
    return [[table.columns, *map(repr, table.rows), *table.notes] for table in (*tables, curves)] + runs


def test_a_study_says_what_its_grid_says_and_compare_runs_what_is_missing(write_grid: Write, tmp_path: Path) -> None:
    grid = write_grid(methods=["scratch", "feature-only"], choices=["even:2", "last:2"], reference="scratch", seeds=2)
    folder, study = tmp_path / "grid", tmp_path / "study"
    results, ran = go_on(grid, folder)
    assert len(ran) == 6
    *_, waits, fails = (one.cell.path for one in results.results)
    shutil.rmtree(folder / waits)
    shutil.rmtree(folder / fails)
    mark_failed(folder, fails, "the disk was full")

    files = publish_study(folder, study)
    assert sorted(path.relative_to(study).as_posix() for path in study.rglob("*")) == ["grid.yaml", "runs.csv"]
    assert sorted(files) == [study / "grid.yaml", study / "runs.csv"]
    published = read_grid(study)
    assert [one.state for one in published.results] == ["done"] * 4 + ["waiting", "failed"]
    assert published.results[-1].reason == "the disk was full"
    assert everything(published) == everything(read_grid(folder))

    again, ran = go_on(study / "grid.yaml", study)
    assert ran == [waits, fails] and [one.state for one in again.results] == ["done"] * 6
    assert (study / waits / "result.json").is_file() and len(read_study(study).finished) == 4

    publish_study(study, study)
    shutil.rmtree(study / "runs")
    assert everything(read_grid(study)) == everything(again)
    assert go_on(study / "grid.yaml", study)[1] == []


def test_a_study_that_was_killed_before_its_table_is_gone_on_with(
    write_grid: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, folder, study = write_grid(methods=["scratch"], seeds=1), tmp_path / "grid", tmp_path / "study"
    go_on(grid, folder)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("layerprobe.experiments.publish.format_study", interrupt)
        publish_study(folder, study)
    assert [path.name for path in study.iterdir()] == ["grid.yaml"]
    assert publish_study(folder, study)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "grid.yaml").write_text("pairs: mine")
    with pytest.raises(LayerprobeError, match="mine is not empty and holds no study"):
        publish_study(folder, tmp_path / "mine")


def test_a_failure_in_the_table_counts_until_it_is_tried_again(
    write_grid: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, folder, study = write_grid(methods=["scratch"], seeds=2), tmp_path / "grid", tmp_path / "study"
    results, _ = go_on(grid, folder)
    _, path = (one.cell.path for one in results.results)
    shutil.rmtree(folder / path)
    mark_failed(folder, path, "the disk was full")
    publish_study(folder, study)
    assert [one.state for one in read_grid(study).results] == ["done", "failed"]

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("layerprobe.experiments.grid.work.distill_student", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go_on(study / "grid.yaml", study)
    assert [one.state for one in read_grid(study).results] == ["done", "waiting"]


def test_runs_in_the_table_count_as_long_as_the_grid_file_says_what_they_were_told(
    write_grid: Write, tmp_path: Path
) -> None:
    grid, folder, study = write_grid(methods=["scratch"], seeds=1), tmp_path / "grid", tmp_path / "study"
    go_on(grid, folder)
    publish_study(folder, study)
    (study / "grid.yaml").write_text(grid.read_text().replace("epochs: 2", "epochs: 3"))
    (result,) = read_grid(study).results
    assert result.state == FAILED and "the finished run there has training.epochs 2, not 3" in result.reason


def test_a_study_goes_on_with_the_ranking_that_its_grid_file_names(
    write_grid: Write, digits_teacher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = write_grid(methods=["feature-only"], choices=["quality:2"], seeds=2, common={
        "data": {"name": "digits"}, "ranking": "mine/teacher.json",
        "training": {"epochs": 1, "batch_size": 30, "train_samples": 60, "test_samples": 50, "device": "cpu"},
    })  # fmt: skip
    Path("mine").mkdir()
    plan = load_grid(grid).cells[0].config(tmp_path)
    save_ranking(rank_model(teacher_sample(plan), resamples=0), Path("mine/teacher.json"))
    results, _ = go_on(grid, Path("grid"))
    publish_study(Path("grid"), Path("study"))
    kept = Path("study/rankings/mine-teacher.json")
    assert kept.read_bytes() == Path("mine/teacher.json").read_bytes()

    shutil.rmtree("mine")
    shutil.rmtree("grid")
    table = Path("study", TABLE)
    first_seed, _ = read_rows(table)
    table.write_text(format_rows([first_seed]))
    again, ran = go_on(Path("study/grid.yaml"), Path("study"))
    assert ran == [results.results[1].cell.path]
    first, second = (one.run for one in again.results)
    assert first and second and first.config["layers"] == second.config["layers"]


def test_a_validation_keeps_its_scores(write_grid: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = write_grid(methods=["feature-only"], validate={"layers": [0, 5, -1], "sets": 1, "size": 2, "samples": 60})
    folder, study = tmp_path / "grid", tmp_path / "study"

    def run(folder: Path) -> list[str]:
        ran: list[str] = []
        validate(CompareSettings(grid=grid, output=folder), lambda cell, metrics, epochs: ran.append(cell.choice))
        return list(dict.fromkeys(ran))

    run(folder)
    waits = next((folder / "runs").glob("*/*/linear.input"))
    shutil.rmtree(waits)
    publish_study(folder, study)
    before, after = read_validation(folder), read_validation(study)
    assert before and after
    assert repr(after.candidates) == repr(before.candidates) and repr(after.correlations) == repr(before.correlations)
    assert after.provenance["scores"] == before.provenance["scores"]

    monkeypatch.setattr("layerprobe.experiments.validation.validate.measure_scores", None)
    assert run(study) == ["linear.input"]
    found = read_validation(study)
    assert found and all(one.accuracies for one in found.candidates)


def test_what_is_no_study_is_let_alone_and_none_loses_a_run(write_grid: Write, tmp_path: Path) -> None:
    grid, folder, study = write_grid(methods=["scratch"], seeds=2), tmp_path / "grid", tmp_path / "study"
    results, _ = go_on(grid, folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "paper.tex").touch()
    for other, message in (("mine", "is not empty and holds no study: it has no runs.csv"), ("file.yaml", "is a file")):
        with pytest.raises(LayerprobeError, match=message):
            publish_study(folder, tmp_path / other)
    publish_study(folder, study)
    first, second = (folder / result.cell.path for result in results.results)
    shutil.rmtree(first)
    with pytest.raises(LayerprobeError, match=r"study holds runs/.*/seed-0, which .*grid lacks; name another --study"):
        publish_study(folder, study)
    shutil.rmtree(second)
    with pytest.raises(LayerprobeError, match="no cell of .*grid is done; `layerprobe compare` runs them"):
        publish_study(folder, tmp_path / "other")


def test_a_damaged_table_is_one_line(write_grid: Write, tmp_path: Path) -> None:
    folder, study = tmp_path / "grid", tmp_path / "study"
    go_on(write_grid(methods=["scratch"], seeds=1), folder)
    publish_study(folder, study)
    path = study / TABLE
    whole = read_rows(path)
    (row,) = whole
    for damaged, message in (
        ({key: row[key] for key in row if key != "config"}, r"runs.csv: row 1 is damaged \(KeyError: 'config'"),
        ({**row, "result": {**row["result"], "epoch_seconds": [1.0]}}, "runs.csv: row 1"),
        ({**row, "epochs": 7}, "runs.csv: row 1"),
    ):  # fmt: skip
        path.write_text(format_rows([damaged]))
        with pytest.raises(LayerprobeError, match=message):
            read_grid(study)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(LayerprobeError, match="runs.csv: row 1 has .* values for .* columns; restore the file"):
        read_grid(study)
    path.write_text("")
    with pytest.raises(LayerprobeError, match="runs.csv holds no rows; restore the file"):
        read_grid(study)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "null",
        "12",
        "NaN",
        "a, b",
        'say "no"',
        "two\nlines",
        1,
        1.0,
        1e-7,
        True,
        [1, 2.5, None],
        {},
        {"layer3.2": 0.5},
        {"a": {"b": []}},
    ],
    ids=repr,
)
def test_every_value_comes_back_from_a_cell(value: object, tmp_path: Path) -> None:
    records = [{"one": value, "two": 2}, {"two": {"three": value}}]
    (tmp_path / "table.csv").write_text(format_rows(records), encoding="utf-8")
    assert json.dumps(read_rows(tmp_path / "table.csv")) == json.dumps(records)
