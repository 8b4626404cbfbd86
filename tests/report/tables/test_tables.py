"""Tables keep every value, in every format."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.records import Ranking, Similarity, StoredLayer
from layerprobe.records.feature_header import WrittenCounts
from layerprobe.records.layout import Layout, Shape
from layerprobe.report.tables.layers import file_table, layers_table
from layerprobe.report.tables.ranking import ranking_table, similarity_table
from layerprobe.report.tables.runs import run_table, runs_table
from layerprobe.report.tables.table import TABLE_FORMATS, Column, Table, render, render_all
from tests.helpers.records import LAYERS, RANKING, run

TABLE = Table(
    title="A & B",
    columns=(
        Column("name", "the_name", "left"),
        Column("value", "value", digits=2),
        Column("count", "n", thousands=True),
    ),
    rows=(
        {"name": "50 %|x_1", "value": 0.123456789, "count": 1234567},
        {"name": "b", "value": math.nan, "count": None},
    ),
    marked=frozenset([0]),
    notes=("a note",),
)


def test_json_keeps_full_precision_and_has_null_for_nan() -> None:
    values = json.loads(render(TABLE, "json"))
    assert values["rows"][0] == {"name": "50 %|x_1", "value": 0.123456789, "count": 1234567, "marked": True}
    assert values["rows"][1] == {"name": "b", "value": None, "count": None, "marked": False}
    assert values["notes"] == ["a note"]
    beside = replace(TABLE, details={"rate": math.nan, "within": [math.inf, 1]})
    assert json.loads(render(beside, "json"))["details"] == {"rate": None, "within": [None, 1]}


def test_csv_reads_back() -> None:
    rows = list(csv.DictReader(io.StringIO(render(TABLE, "csv"))))
    assert rows[0] == {"name": "50 %|x_1", "value": "0.123456789", "count": "1234567", "marked": "1"}
    assert rows[1]["value"] == "nan" and rows[1]["count"] == ""


def test_latex_is_booktabs_with_everything_escaped() -> None:
    text = render(TABLE, "latex")
    assert "\\begin{tabular}{@{}llrr@{}}\n\\toprule\n & the\\_name & value & n \\\\\n\\midrule\n" in text
    assert "$\\ast$ & 50 \\%|x\\_1 & 0.12 & 1,234,567 \\\\" in text
    assert " & b & - & - \\\\\n\\bottomrule\n\\end{tabular}" in text
    assert all(line.startswith("%") for line in text.splitlines() if "note" in line or "A & B" in line)


def test_markdown_marks_with_an_asterisk_and_escapes_bars() -> None:
    lines = render(TABLE, "markdown").splitlines()
    assert lines[2:6] == [
        "|  | the_name | value | n |",
        "| :--- | :--- | ---: | ---: |",
        "| \\* | 50 %\\|x_1 | 0.12 | 1,234,567 |",
        "|  | b | - | - |",
    ]


SCORED = Table(
    title="scores",
    columns=(
        Column("name", "name", "left"),
        Column("loss", "loss", digits=1, best="min"),
        Column("score", "score", digits=2, best="max", interval=True),
        Column("score_low", "from", digits=2, paper=False),
    ),
    rows=(
        {"name": "a", "loss": 3.0, "score": 1.234, "score_low": 1.0, "score_high": 1.5},
        {"name": "b", "loss": 2.0, "score": 0.5, "score_low": math.nan, "score_high": math.nan},
        {"name": "c", "loss": math.nan, "score": math.nan},
    ),
)


def test_papers_get_intervals_and_the_best_in_bold() -> None:
    lines = render(SCORED, "markdown").splitlines()
    assert lines[2:] == [
        "| name | loss | score |",
        "| :--- | ---: | ---: |",
        "| a | 3.0 | **1.23 [1.00, 1.50]** |",
        "| b | **2.0** | 0.50 |",
        "| c | - | - |",
    ]
    latex = render(SCORED, "latex")
    assert "a & 3.0 & \\textbf{1.23}$_{1.00}^{1.50}$ \\\\\nb & \\textbf{2.0} & 0.50 \\\\\n" in latex
    assert latex.index("\\begingroup") < latex.index("\\renewcommand{\\arraystretch}") < latex.index("\\endgroup")
    heading = render(SCORED, "table").splitlines()[1]
    assert heading.split() == ["name", "loss", "score", "from"]
    (row, *_) = csv.DictReader(io.StringIO(render(SCORED, "csv")))
    assert row == {"name": "a", "loss": "3.0", "score": "1.234", "score_low": "1.0", "score_high": "1.5", "marked": "0"}


SPREAD = Table(
    title="spread",
    columns=(
        Column("part", "part", "left"),
        Column("top1", "top-1", digits=2, best="max", spread=True),
        Column("change", "change", digits=1, signed=True),
        Column("p", "p", digits=3, least=0.001),
    ),
    rows=(
        {"part": "a", "top1": 80.123, "top1_std": 1.5, "top1_n": 3, "change": 0.25, "p": 0.0004},
        {"part": "a", "top1": 79.0, "top1_std": math.nan, "top1_n": 1, "change": -0.04, "p": 0.25},
        {"part": "b", "top1": 50.0, "top1_std": None, "top1_n": None, "change": math.nan, "p": math.nan},
        {"part": "c", "top1": math.nan, "top1_std": math.nan, "top1_n": 0, "change": math.inf, "p": 0.001},
        {"part": "d", "top1": 99.0},
    ),
    apart=frozenset([4]),
    best_within=("part",),
)


def test_people_read_mean_deviation_and_count() -> None:
    assert render(SPREAD, "markdown").splitlines()[4:] == [
        "| a | **80.12 ± 1.50 (3)** | +0.2 | \\< 0.001 |",
        "| a | 79.00 (1) | 0.0 | 0.250 |",
        "| b | **50.00** | - | - |",
        "| c | - | +inf | 0.001 |",
        "| d | 99.00 | - | - |",
    ]
    assert "a      80.12 ± 1.50 (3)     +0.2   < 0.001" in render(SPREAD)


def test_machines_get_mean_deviation_and_count_as_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(render(SPREAD, "csv"))))
    assert [rows[0][key] for key in ("top1", "top1_std", "top1_n", "p")] == ["80.123", "1.5", "3", "0.0004"]
    values = json.loads(render(SPREAD, "json"))["rows"]
    assert values[1]["top1_std"] is None and values[3]["top1"] is None and values[3]["change"] is None


def test_rows_that_stand_apart_are_below_a_rule_and_never_the_best() -> None:
    assert render(SPREAD, "latex").count("\\midrule") == 2
    assert "\\midrule\nd & 99.00 & - & - \\\\\n\\bottomrule" in render(SPREAD, "latex")
    assert replace(SPREAD, best_within=()).best_rows(SPREAD.columns[1]) == {0}
    assert SPREAD.best_rows(SPREAD.columns[1]) == {0, 2}


def test_several_tables_are_one_document() -> None:
    other = replace(TABLE, title="C")
    assert [table["title"] for table in json.loads(render_all([TABLE, other], "json"))] == ["A & B", "C"]
    rows = list(csv.DictReader(io.StringIO(render_all([TABLE, SCORED], "csv"))))
    assert [row["table"] for row in rows] == ["A & B", "A & B", "scores", "scores", "scores"]
    assert (rows[0]["count"], rows[0]["marked"], rows[2]["score_high"]) == ("1234567", "1", "1.5")
    for format in ("table", "markdown", "latex"):
        assert render_all([TABLE], format) == render(TABLE, format)
        assert render_all([TABLE, other], format) == render(TABLE, format) + "\n" + render(other, format)


def test_similarity_table() -> None:
    values = torch.tensor([[1.0, 0.25], [0.5, 0.75]], dtype=torch.float64)
    similarity = Similarity(LAYERS[:2], LAYERS[2:4], ("a", "b"), values, values - 1, {"rows": 60, "population": 900})
    table = similarity_table(similarity, debiased=True)
    assert [column.title for column in table.columns] == ["layer", "layer2", "layer3"]
    assert [row["cka_3"] for row in table.rows] == [-0.75, -0.25] and "debiased" in table.title
    assert json.loads(render(table, "json"))["details"]["cka"] == values.tolist()


def test_a_piped_table_is_never_cut_and_has_no_colour() -> None:
    long = replace(TABLE, rows=({"name": "x" * 300, "value": 1.0, "count": 1},))
    text = render(long)
    assert "x" * 300 in text and "\x1b" not in text
    assert [line for line in text.splitlines() if line.startswith("*")]
    assert "\x1b[1m" in render(long, colour=True)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(LayerprobeError, match="--format is one of table, json, csv, markdown, latex, not 'xml'"):
        render(TABLE, "xml")


@pytest.mark.parametrize("format", list(TABLE_FORMATS))
def test_every_builder_renders_in_every_format(format: str) -> None:
    stored = [StoredLayer(layer, layer.shape) for layer in LAYERS]
    for table in (
        layers_table(stored, "net", "float16", 50),
        ranking_table(RANKING),
        run_table(run()),
        runs_table([run()]),
    ):
        assert render(table, format)


def test_tokens_are_extra_ones_and_a_grid() -> None:
    layouts = (Layout("map", 4, 4), Layout("grid", 14, 14, 5), Layout("grid", 7, 7), Layout("sequence", 1, 10, 1))
    layers = [replace(LAYERS[0], shape=Shape((197, 192), layout)) for layout in layouts]
    table = layers_table([StoredLayer(layer, layer.shape) for layer in layers], "net", "float16", 50)
    assert [row["tokens"] for row in table.rows] == ["", "5 + 14x14", "7x7", "1 + 10"]
    assert "tokens" in [column.name for column in table.columns]
    without = layers_table([StoredLayer(LAYERS[0], LAYERS[0].shape)], "net", "float16", 50)
    assert "tokens" not in [column.name for column in without.columns]


@pytest.mark.parametrize("damaged", [None, {}, {"layer1": 3}])
def test_file_table(damaged: dict[str, int] | None) -> None:
    stored = [StoredLayer(LAYERS[0], LAYERS[0].shape), StoredLayer(LAYERS[1], (16, 2, 2), "avg:2x2")]
    source = {
        "rows": 60, "dtype": "float16", "population": 900, "model": "net", "weights": "w.pt",
        "weights_sha256": "ab" * 32, "dataset": "photos", "split": "train", "sample": {"how": "every image"},
        "precision": "float32", "device": "cpu",
        "preprocessing": {"image_size": [8, 8], "mean": [0.5], "std": [0.5]}, "created": "2026", "torch_version": "2",
        "layerprobe_version": "0",
    }  # fmt: skip
    table = file_table(Path("f.h5"), stored, source, WrittenCounts(40, 60), False, damaged)
    assert table.title == "f.h5: 2 layers of 60 images in float16, unfinished: 40 of 60 rows"
    assert [row["megabytes"] for row in table.rows] == [60 * 1024 * 2 / 1e6, 60 * 64 * 2 / 1e6]
    assert table.marked == ({1} if damaged else frozenset())
    assert ("DAMAGED" in table.notes[-1]) == bool(damaged) and ("checksums" in table.notes[-1]) == (damaged is not None)
    details = json.loads(render(table, "json"))["details"]
    assert (details["rows_done"], details["complete"], details["damaged"]) == (40, False, damaged)
    for format in TABLE_FORMATS:
        assert render(table, format)


def test_ranking_table() -> None:
    table = ranking_table(RANKING)
    assert table.marked == {1, 3}
    assert [row["quality"] for row in table.rows] == [g.statistics["quality"] for g in RANKING.geometries]
    assert [row["dimension"] for row in table.rows] == [1024, 1023, 1022, 1021, 1020]
    assert table.notes[0] == "60 images (20 per class) of 900 in photos, split train"
    assert table.rows[1]["quality_low"] == RANKING.geometries[1].intervals["quality"].low
    assert table.rows[1]["quality_high"] == RANKING.geometries[1].intervals["quality"].high
    assert [row["top_share"] for row in table.rows] == [0, 25, 50, 75, 100]
    assert table.notes[-2:] == (
        "from, to: 90 % interval of quality from 200 resamples",
        "can't be told apart from layer1 at that level: layer2",
    )
    assert table.notes[2] == "of the ranked blocks the last, layer4, has 0.800 of the highest information"
    wide = tuple(replace(g, statistics={**g.statistics, "nc1": 0.5, "twonn": 7.0}) for g in RANKING.geometries)
    assert [column.title for column in ranking_table(replace(RANKING, geometries=wide)).columns][-2:] == [
        "TwoNN",
        "NC1",
    ]
    certain = ranking_table(replace(RANKING, undecided=()))
    assert certain.notes[-1].startswith("from, to:")
    bare = tuple(replace(g, intervals={}, top_share=None) for g in RANKING.geometries)
    assert len(ranking_table(replace(RANKING, geometries=bare)).columns) == len(table.columns) - 3


def test_the_last_block_is_compared_with_blocks_that_have_information() -> None:
    """No layer of another kind counts, nor one behind the feature, nor one without a value."""

    def ending(kinds: str, *information: float) -> Ranking:
        given = zip(RANKING.geometries, information, kinds.split(), strict=False)
        geometries = (
            replace(one, layer=replace(one.layer, kind=kind), statistics={**one.statistics, "information": value})
            for one, value, kind in given
        )
        return replace(RANKING, geometries=tuple(geometries), selected=(), undecided=(), evenly_spread=())

    def notes(ranking: Ranking) -> list[str]:
        return [note for note in ranking_table(ranking).notes if note.startswith("of the ranked")]

    assert ending("activation block block feature", 9.0, 2.0, 0.5, 9.0).information_kept == 0.25
    plain = ending("activation activation feature activation", 2.0, 0.5, 9.0, 9.0)
    assert plain.information_kept == 0.25
    assert notes(plain) == ["of the ranked activations the last, layer1, has 0.250 of the highest information"]
    assert ending("block block block", math.nan, 3.0, 1.5).information_kept == 0.5
    for unknown in (
        ending("block block block", 2.0, 1.0, math.nan),
        ending("block block", math.nan, math.nan),
        ending("block block", 0.0, 0.0),
        ending("feature", 1.0),
    ):
        assert math.isnan(unknown.information_kept) and not notes(unknown)


def test_runs_table_has_mean_and_sample_deviation() -> None:
    accuracies = [70.0, 73.0, 71.5]
    table = runs_table([*(run("feature-only", [50.0, a]) for a in accuracies), run("kd", [60.0, 40.0])])
    first, second = table.rows
    assert first["mean"] == pytest.approx(np.mean(accuracies)) and first["seeds"] == 3
    assert first["deviation"] == pytest.approx(np.std(accuracies, ddof=1))
    assert (second["mean"], second["deviation"], second["best"]) == (40.0, None, 60.0)
    assert table.marked == {0} and "teacher: 83.00 %" in table.notes[0]
    assert "chosen" not in [column.name for column in table.columns]


def test_run_table_reports_the_epoch_chosen_on_held_out_images() -> None:
    table = run_table(run("kd", [60.0, 55.0, 50.0], holdout=[10.0, 30.0, 20.0]))
    assert [row["accuracy"] for row in table.rows] == [83.0, 50.0, 55.0, 60.0]
