"""Which score tells, as tables."""

import csv
import io
import json
from dataclasses import replace

import pytest

from layerprobe.report.tables.table import render
from layerprobe.report.tables.validation import candidates_table, correlations_table
from tests.helpers.grid_records import OTHER, validation

VALIDATION = validation()


def test_correlations_have_intervals_and_the_best_of_each_group_in_bold() -> None:
    assert render(correlations_table(VALIDATION), "markdown").splitlines()[2:8] == [
        "| pair | candidates | score | better | Spearman | Kendall | over quality | n |",
        "| :--- | :--- | :--- | :--- | ---: | ---: | ---: | ---: |",
        "| A to B | single layers | quality | high | **0.50 [0.20, 0.60]** | **0.25 [-0.10, 0.40]** | - | 2 |",
        "| A to B | single layers | log me | low | 0.25 [-0.05, 0.35] | 0.12 [-0.10, 0.40] | -0.25 [-0.60, +0.10] "
        "| 2 |",
        "| A to B | sets of 2 | quality | high | - | - | - | 2 |",
        "| A to B | sets of 2 | log me | low | **0.12 [-0.17, 0.23]** | **0.06 [-0.10, 0.40]** | - | 2 |",
    ]
    rows = list(csv.DictReader(io.StringIO(render(correlations_table(VALIDATION), "csv"))))
    assert (rows[0]["spearman"], rows[0]["spearman_high"], rows[0]["kendall_low"]) == ("0.5", "0.6", "-0.1")
    assert (rows[1]["over quality_low"], rows[1]["better"], rows[0]["over quality"]) == ("-0.6", "low", "")


def test_notes_say_how_to_read_it() -> None:
    notes = correlations_table(replace(VALIDATION, notes=("seed 0 alone",))).notes
    assert "in brackets: 90 % intervals" in notes and notes[-1] == "seed 0 alone"
    said = " ".join(notes)
    assert "with 95 % intervals of a paired bootstrap over candidates, not corrected" in said
    assert "candidates are no independent sample" in said and "not ahead of depth" in said
    assert "seed 0 alone" in candidates_table(replace(VALIDATION, notes=("seed 0 alone",))).notes


def test_the_best_is_that_of_its_pair() -> None:
    worse = tuple(replace(one, pair=OTHER, spearman=one.spearman - 1) for one in VALIDATION.correlations)
    table = correlations_table(replace(VALIDATION, correlations=(*VALIDATION.correlations, *worse)))
    spearman = next(column for column in table.columns if column.name == "spearman")
    assert table.best_rows(spearman) == {0, 3, 4, 7}


def test_candidates_have_every_score_and_what_was_reached() -> None:
    table = candidates_table(VALIDATION)
    rows = json.loads(render(table, "json"))["rows"]
    first, second, third, pair, _ = rows
    assert (first["layers"], first["depth"], first["score quality"], first["score log_me"]) == (
        "layer1",
        0.0,
        1.0,
        -0.5,
    )
    assert (first["top1"], first["top1_n"], first["top1_std"]) == (61.0, 2, pytest.approx(2**0.5))
    assert second["score log_me"] is None and second["top1_std"] is None
    assert third["top1"] is None and third["top1_n"] == 0
    assert (pair["layers"], pair["group"]) == ("layer1, layer2", "sets of 2")
    assert table.notes[-1] == "1 of 5 candidates have no finished student"
    assert [column.title for column in table.columns][3:] == ["depth", "quality", "log me", "students' top-1 (%)"]


def test_a_validation_that_has_not_begun() -> None:
    bare = replace(VALIDATION, candidates=(), correlations=())
    assert not correlations_table(bare).rows and not candidates_table(bare).rows
