"""Tables of a grid hold every number, of finished and unfinished grids."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from scipy import stats

from layerprobe.records import GridResults
from layerprobe.report.grid.groups import group_cells
from layerprobe.report.grid.pairs import pairs_table
from layerprobe.report.grid.tables import details_table, grid_table, states_table
from layerprobe.report.tables.choice import choose_columns
from layerprobe.report.tables.runs import runs_table
from layerprobe.report.tables.table import TABLE_FORMATS, render
from tests.helpers.grid_records import ACCURACIES, OTHER, PAIR, REASON, changed, finished, grid, without_runs

GRID = grid()


def test_the_headline_is_the_last_epoch_of_every_run() -> None:
    rows = list(csv.DictReader(io.StringIO(render(grid_table(GRID), "csv"))))
    assert [(row["method"], row["choice"]) for row in rows] == [
        ("feature-only", "quality:4"),
        ("feature-only", "even:4"),
        ("kd", ""),
        ("scratch", ""),
        ("teacher", ""),
    ]
    assert [row[f"top1 {PAIR}"] for row in rows] == ["82.0", str(240.5 / 3), "72.5", "61.0", "90.0"]
    assert rows[0][f"top1 {PAIR}_std"] == "2.0" and rows[2][f"top1 {PAIR}_std"] == str(math.sqrt(12.5))
    assert [row[f"top1 {OTHER}_n"] for row in rows] == ["1", "0", "2", "3", ""]
    assert [row["marked"] for row in rows] == ["1", "0", "0", "0", "0"]


def test_people_read_mean_deviation_and_seeds_and_the_best_in_bold() -> None:
    lines = render(grid_table(GRID), "markdown").splitlines()
    assert lines[4:9] == [
        "| \\* | feature-only | quality:4 | **82.00 ± 2.00 (3)** | - | 50.00 (1) | - |",
        "|  | feature-only | even:4 | 80.17 ± 1.04 (3) | -1.83 [-4.42, +0.75] | - | - |",
        "|  | kd |  | 72.50 ± 3.54 (2) | -8.50 [-27.56, +10.56] | **55.25 ± 0.35 (2)** | +5.00 |",
        "|  | scratch |  | 61.00 ± 1.00 (3) | -21.00 [-23.48, -18.52] | 51.00 ± 1.00 (3) | +2.00 |",
        "|  | teacher |  | 90.00 | - | 90.00 | - |",
    ]
    latex = render(grid_table(GRID), "latex")
    assert "% Small & quick: top-1" in latex
    assert "\\textbf{82.00 $\\pm$ 2.00 (3)} & 50.00 (1) \\\\" in latex  # differences stand in other tables
    assert "80.17 $\\pm$ 1.04 (3) & - \\\\" in latex
    chosen = render(choose_columns(grid_table(GRID), ("*",)), "latex")
    assert "80.17 $\\pm$ 1.04 (3) & $-$1.83$_{-4.42}^{+0.75}$ & - & - " in chosen
    assert "51.00 $\\pm$ 1.00 (3) \\\\\n\\midrule\n & teacher &  & 90.00 & 90.00 \\\\" in latex
    notes = grid_table(GRID).notes
    assert notes[0] == "*: feature-only (quality:4), the reference"
    assert notes[-1] == "17 of 24 cells done, 2 failed, 5 waiting"


def test_json_has_the_states_and_null_where_nothing_is_finished() -> None:
    content = json.loads(render(grid_table(GRID), "json"))
    assert content["rows"][1][f"top1 {OTHER}"] is None and content["rows"][1][f"top1 {OTHER}_n"] == 0
    assert content["details"]["states"] == {"done": 17, "running": 0, "failed": 2, "waiting": 5}
    assert content["details"]["teachers"] == {PAIR: 90.0, OTHER: 90.0}


def test_details_are_hand_computed() -> None:
    rows = {(row["pair"], row["method"], row["choice"]): row for row in details_table(GRID).rows}
    assert len(rows) == len(ACCURACIES)
    even = rows[PAIR, "feature-only", "even:4"]
    peer = stats.ttest_rel([79.0, 80.5, 81.0], [80.0, 82.0, 84.0])
    low, high = peer.confidence_interval(0.95)
    assert even["difference"] == pytest.approx(-5.5 / 3) and even["difference_pairs"] == 3
    assert even["difference_p"] == pytest.approx(peer.pvalue)
    assert (even["difference_low"], even["difference_high"]) == pytest.approx((low, high))
    assert (even["best_on_test"], even["chosen_on_holdout"]) == pytest.approx((241.5 / 3, (69 + 81.5 + 71) / 3))
    assert (even["seconds"], even["seconds_std"], even["peak_megabytes"]) == (22.0, 2.0, 3000.0)
    kd = rows[PAIR, "kd", ""]
    assert (kd["top1_n"], kd["cells"], kd["difference"], kd["difference_pairs"]) == (2, 3, -8.5, 2)
    reference = rows[PAIR, "feature-only", "quality:4"]
    assert math.isnan(reference["difference"]) and reference["difference_pairs"] == 0
    nothing = rows[OTHER, "feature-only", "even:4"]
    assert nothing["top1_n"] == 0 and nothing["labels"] is None and nothing["peak_megabytes"] is None


def test_over_pairs_a_pair_counts_once_however_many_seeds_it_has() -> None:
    table = pairs_table(GRID)
    assert table is not None
    rows = {(row["method"], row["choice"]): row for row in table.rows}
    assert [table.rows[number]["choice"] for number in table.marked] == ["quality:4"]
    kd = rows["kd", ""]
    ahead = [(70.0 + 75.0 - 80.0 - 82.0) / 2, 55.0 - 50.0]  # two seeds of one pair, one of the other
    peer = stats.ttest_1samp(ahead, 0)
    low, high = peer.confidence_interval(0.95)
    assert kd["difference"] == pytest.approx(sum(ahead) / 2) and kd["difference_p"] == pytest.approx(peer.pvalue)
    assert (kd["difference_low"], kd["difference_high"]) == pytest.approx((low, high))
    assert (kd["difference_pairs"], kd["ahead"]) == (2, 1)
    even = rows["feature-only", "even:4"]  # of one pair alone: no test
    assert even["difference_pairs"] == 1 and even["ahead"] == 0 and math.isnan(even["difference_p"])
    assert math.isnan(rows["feature-only", "quality:4"]["difference"])
    one = replace(GRID, results=tuple(one for one in GRID.results if one.cell.pair == PAIR))
    assert pairs_table(one) is None and pairs_table(replace(GRID, reference="")) is None


def test_details_name_what_the_test_images_chose() -> None:
    table = details_table(GRID)
    titles = [column.title for column in table.columns if column.paper]
    assert titles == [
        "pair", "method", "layers", "labels", "cells", "top-1, last epoch", "difference", "seeds of both", "p",
        "epoch chosen on held-out", "best epoch on test", "seconds", "peak MB",
    ]  # fmt: skip
    assert "the best epoch on test is chosen by the test images themselves: an optimistic figure" in table.notes
    assert table.marked == {0, 4}
    best = table.best_rows(next(column for column in table.columns if column.name == "top1"))
    assert best == {0, 6}  # of each pair
    assert any("not corrected" in note for note in table.notes)


def test_labels_that_reach_the_backbone_are_told() -> None:
    told = {row["method"]: row["labels"] for row in details_table(GRID).rows if row["pair"] == PAIR}
    assert told == {"feature-only": "no", "kd": "yes", "scratch": "yes"}
    by_class = without_runs(told_by_the_grid(GRID, "feature-only"))
    assert [group.labels_reach_backbone for group in group_cells(by_class)][:3] == [True, True, None]


def told_by_the_grid(results: GridResults, method: str) -> GridResults:
    """The same grid, whose file says that labels reach the backbone by this method."""
    told = [
        replace(one, cell=replace(one.cell, labels_reach_backbone=True)) if one.cell.method == method else one
        for one in results.results
    ]
    return replace(results, results=tuple(told))


@pytest.mark.parametrize("reference", ["", "feature-only"])
def test_without_one_reference_nothing_is_compared(reference: str) -> None:
    results = grid(reference)
    assert not grid_table(results).marked
    assert "difference" not in [column.name for column in details_table(results).columns]
    told = [note for note in details_table(results).notes if "'feature-only' has several choices" in note]
    assert bool(told) == bool(reference)


def test_a_method_with_one_choice_is_named_without_it() -> None:
    assert details_table(grid("kd")).marked == {2, 6}


def test_settings_that_differ_are_noted() -> None:
    assert not any("runs differ" in note for note in details_table(GRID).notes)
    longer = finished("feature-only", 80.0, 0)
    longer = replace(longer, epochs=(*longer.epochs, replace(longer.epochs[-1], epoch=3)))
    (note,) = (note for note in grid_table(changed(GRID, 0, longer)).notes if "runs differ" in note)
    assert note == (
        "A to B: runs differ in epochs: 3 (feature-only (quality:4), seed 0); "
        "2 (feature-only (quality:4), seeds 1, 2, feature-only (even:4), kd, scratch)"
    )
    fewer = replace(finished("feature-only", 80.0, 0), config={"training": {"train_samples": None}})
    notes = grid_table(changed(GRID, 0, fewer)).notes
    assert any("differ in training images: all (feature-only (quality:4), seed 0); 1,000" in note for note in notes)
    assert any("differ in test images" in note for note in notes)


def test_weights_that_were_changed_are_noted() -> None:
    """Of all runs of a column once, of some with their names."""
    parts = [{"part": "stem", "how": "new", "tensors": {"conv1.weight": "7 -> 3"}}]
    results = tuple(
        (result.run and replace(result, run=replace(result.run, config={"teacher_adapted": parts}))) or result
        for result in GRID.results
    )
    (note,) = (note for note in grid_table(replace(GRID, results=results)).notes if "started from" in note)
    assert note == "A to B, A to C: the teacher started from changed weights: stem new"
    one = replace(finished("feature-only", 80.0, 0), config={"adapted": parts})
    (note,) = (note for note in details_table(changed(GRID, 0, one)).notes if "started from" in note)
    assert note == "A to B (feature-only (quality:4), seed 0): the student started from changed weights: stem new"


def test_teachers_that_differ_and_machines_that_differ_are_noted() -> None:
    other = changed(GRID, 0, finished("feature-only", 80.0, 0, teacher=91.0))
    assert json.loads(render(grid_table(other), "json"))["details"]["teachers"][PAIR] is None
    assert any("teacher's top-1: 91.00 % (feature-only" in note for note in grid_table(other).notes)
    faster = replace(
        finished("feature-only", 80.0, 0), environment={"device_name": "GPU", "threads": 4, "processes": 1}
    )
    table = details_table(changed(GRID, 0, faster))
    (note,) = (note for note in table.notes if "differ in machine" in note)
    assert "GPU, threads 4, processes 1" in note and note.endswith("seconds and memory don't compare")


def test_failed_cells_have_their_reason() -> None:
    table = states_table(GRID)
    assert [(row["pair"], row["method"], row["seed"]) for row in table.rows] == [(PAIR, "kd", 2), (OTHER, "kd", 2)]
    assert table.rows[0]["reason"] == REASON and table.rows[0]["path"] == "runs/A to B/kd//seed-2"
    assert "out of memory \\& 5 \\% $<$script$>$alert" in render(table, "latex")
    assert "\\<script>" in render(table, "markdown")
    assert json.loads(render(table, "json"))["details"] == {
        "cells": 24, "done": 17, "running": 0, "failed": 2, "waiting": 5,
    }  # fmt: skip


@pytest.mark.parametrize("results", [without_runs(GRID), GridResults("none", "", ())], ids=["waiting", "empty"])
@pytest.mark.parametrize("format", list(TABLE_FORMATS))
def test_nothing_finished_is_a_table_too(results: GridResults, format: str) -> None:
    for table in (grid_table(results), details_table(results), states_table(results)):
        assert render(table, format)
    assert not any(row.get(f"top1 {PAIR}_n") for row in grid_table(results).rows)


def test_two_data_sets_are_two_columns() -> None:
    cells = tuple(
        replace(one, cell=replace(one.cell, pair="A to B", data="cats" if one.cell.pair == PAIR else "dogs"))
        for one in GRID.results
    )
    results = replace(GRID, results=cells)
    assert [column.title for column in grid_table(results).columns][2:] == [
        "A to B, cats", "difference", "A to B, dogs", "difference",
    ]  # fmt: skip
    assert "data" in [column.name for column in details_table(results).columns]


def in_settings(results: GridResults) -> GridResults:
    """The same grid: by its runs kd is in the setting paper, and by its file scratch in publication."""
    told = []
    for one in results.results:
        if one.cell.method == "kd" and one.run:
            told.append(replace(one, run=replace(one.run, setting="paper")))
        elif one.cell.method == "scratch":
            told.append(replace(one, cell=replace(one.cell, setting="publication"), run=None, state="waiting"))
        else:
            told.append(one)
    return replace(results, results=tuple(told))


def test_a_column_says_the_setting_where_it_matters() -> None:
    for make in (grid_table, details_table, pairs_table):
        plain, told = make(GRID), make(in_settings(GRID))
        assert plain is not None and told is not None
        assert "setting" not in [column.name for column in plain.columns]
        assert not any(note.startswith("setting: ") for note in plain.notes)
        assert "setting" in [column.name for column in told.columns]
        assert sum(note.startswith("setting: the form and the weights") for note in told.notes) == 1
        found = {row["method"]: row["setting"] for row in told.rows}
        found.pop("teacher", None)
        assert found == {"feature-only": "", "kd": "paper", "scratch": "publication"}


def test_two_settings_of_a_method_are_two_rows_of_runs() -> None:
    one = finished("sp", 70.0, 0)
    table = runs_table([replace(one, setting="publication"), replace(one, setting="paper"), finished("kd", 60.0, 0)])
    assert [row["method"] for row in table.rows] == ["sp, publication", "sp, paper", "kd"]
    assert replace(one, setting="paper").to_dict()["setting"] == "paper"
