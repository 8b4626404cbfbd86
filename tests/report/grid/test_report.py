"""A report's folder: what is in it, and what it leaves alone."""

import csv
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from layerprobe.errors import LayerprobeError
from layerprobe.files import is_temporary, temporary_name
from layerprobe.records import CellResult
from layerprobe.report.figures.style import COLUMN_WIDTH
from layerprobe.report.grid.report import MOST_CURVES, check_report, write_report
from tests.helpers.grid_records import OTHER, PAIR, grid, validation, without_runs

TABLES = {
    f"{name}.{ending}" for name in ("table", "pairs", "details", "states") for ending in ("md", "tex", "csv", "json")
}
FIGURES = {
    f"{name}.{ending}" for name in ("grid-bars", "learning-curves", "cost") for ending in ("pdf", "svg", "png", "csv")
}


def test_it_names_every_file_that_it_wrote(tmp_path: Path) -> None:
    written = write_report(grid(), tmp_path / "report", width=COLUMN_WIDTH)
    assert {path.name for path in written} == TABLES | FIGURES | {"index.html"}
    assert set(written) == set((tmp_path / "report").iterdir()) and written[-1].name == "index.html"
    with (tmp_path / "report" / "table.csv").open(newline="") as file:
        assert next(csv.DictReader(file))[f"top1 {PAIR}"] == "82.0"
    assert json.loads((tmp_path / "report" / "details.json").read_text())["rows"][0]["top1_std"] == 2.0


def test_a_validation_adds_its_tables_and_a_figure_per_pair(tmp_path: Path) -> None:
    one = {path.name for path in write_report(grid(), tmp_path, validation())} - TABLES - FIGURES
    assert {"correlations.csv", "candidates.md", "validation.svg"} < one
    two = validation()
    both = replace(two, candidates=(*two.candidates, *(replace(one, pair=OTHER) for one in two.candidates)))
    written = {path.name for path in write_report(grid(), tmp_path / "two", both)}
    assert {"validation-a-to-b.pdf", "validation-a-to-c.pdf"} < written and "validation.pdf" not in written


def test_pairs_whose_labels_differ_in_signs_have_a_figure_each(tmp_path: Path) -> None:
    two = validation()
    alike = tuple(replace(one, pair="A-to-B") for one in two.candidates)
    files = write_report(without_runs(grid()), tmp_path, replace(two, candidates=(*two.candidates, *alike)))
    figures = [path.name for path in files if path.name.startswith("validation") and path.suffix == ".svg"]
    assert sorted(figures) == ["validation-a-to-b--1.svg", "validation-a-to-b--2.svg"]


def test_the_same_grid_is_the_same_report(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(grid(), tmp_path / name)
    pages = [(tmp_path / name / "index.html").read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]


def test_a_report_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    write_report(without_runs(grid()), tmp_path / "report")
    write_report(grid(), tmp_path / "report")
    assert "<svg" in (tmp_path / "report" / "index.html").read_text()
    with pytest.raises(LayerprobeError, match="index.html exists; name another --output"):
        write_report(grid(), tmp_path / "report", overwrite=False)
    for name in ("notes.txt", "table.docx", "cost.txt"):
        (tmp_path / "report" / name).write_text("mine")
    write_report(without_runs(grid()), tmp_path / "report")
    left = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"notes.txt", "table.docx", "cost.txt"} < left and not FIGURES & left
    other = tmp_path / "other"
    other.mkdir()
    check_report(other)
    (other / "index.html").write_text("<h1>somebody's page</h1>")
    with pytest.raises(LayerprobeError, match="other is not empty and holds no report; name another --output"):
        write_report(grid(), other)
    assert [path.name for path in other.iterdir()] == ["index.html"]
    with pytest.raises(LayerprobeError, match="is a file; --output names a folder for the report"):
        write_report(grid(), other / "index.html")


def test_a_report_that_was_interrupted_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **more: object) -> list[Path]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("layerprobe.report.grid.report.save_figure", interrupt)
        write_report(grid(), tmp_path)
    assert write_report(grid(), tmp_path)
    killed = tmp_path / "killed"  # while the page was written for the first time
    killed.mkdir()
    temporary_name(killed / "index.html").write_text("<!doc")
    check_report(killed)
    assert write_report(grid(), killed) and not [path for path in killed.iterdir() if is_temporary(path)]


def test_a_bad_style_sheet_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match="no style sheet at"):
        write_report(grid(), tmp_path / "report", style=tmp_path / "none.mplstyle")
    assert not (tmp_path / "report").exists()


def test_many_methods_are_left_to_bars_and_tables(tmp_path: Path) -> None:
    first: CellResult = grid().results[0]
    results = tuple(
        replace(first, cell=replace(first.cell, choice=f"layer{number}")) for number in range(MOST_CURVES + 1)
    )
    written = {path.name for path in write_report(replace(grid(), results=results), tmp_path)}
    assert "grid-bars.svg" in written and not {"learning-curves.svg", "cost.svg"} & written
    assert "learning curves and cost are left to the tables" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("name", ["report.html", "report.css", "report.js"])
def test_templates_are_part_of_the_package(name: str) -> None:
    assert (files("layerprobe.report.html") / "templates" / name).is_file()
