"""Names that came from outside are shown as they stand, and do nothing, wherever text goes."""

from __future__ import annotations

import csv
import io
import json
import logging
import shlex
import warnings
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.mathtext
import pytest
import torch
from markdown_it import MarkdownIt

from layerprobe.cli.reporter import Reporter
from layerprobe.experiments.grid.flat_csv import format_rows, read_rows
from layerprobe.records import (
    Agreement,
    CellResult,
    Estimate,
    Evaluation,
    FeatureEvaluation,
    GridResults,
    Layer,
    Ranking,
    Score,
    Similarity,
)
from layerprobe.report.figures.catalogue import FIGURES
from layerprobe.report.figures.confusion import confusion_figure
from layerprobe.report.figures.cost import cost_figure
from layerprobe.report.figures.curves import curves_figure
from layerprobe.report.figures.grid_bars import grid_bars_figure
from layerprobe.report.figures.learning_curves import learning_curves_figure
from layerprobe.report.figures.relative_depth import relative_depth_figure
from layerprobe.report.figures.similarity import similarity_figure
from layerprobe.report.figures.style import Drawing, save_figure
from layerprobe.report.figures.validation import validation_figure
from layerprobe.report.html.page import Page, Section, html_page
from layerprobe.report.pages.networks import networks_page
from layerprobe.report.pages.run import run_page
from layerprobe.report.pages.teacher import teacher_page
from layerprobe.report.tables.columns import Column
from layerprobe.report.tables.evaluations import feature_tables
from layerprobe.report.tables.table import Table, render, render_all
from layerprobe.settings.display import DisplaySettings
from layerprobe.settings.flags import command_line
from layerprobe.settings.rank import RankSettings
from layerprobe.settings.report import ReportSettings
from layerprobe.text import printable, printable_lines
from tests.helpers.grid_records import grid, validation
from tests.helpers.pages import read_page
from tests.helpers.records import measured_ranking, run
from tests.report.pages.test_pages import about, distillation

NAMES = (
    "$zq_$10", "_zq", "zq$", "\\zq$\\alpha$", "zq\x1b[31mred\x1b]0;title\x07", "zq\nerror: forged",
    "zq\r\x85\u2028", "zq\u202egnp.exe\u2066", "<script>zq()</script>", "</svg><img src=x onerror=zq()>", "[zq](http://evil.example)",
    "![zq](x.png)", "http://zq.example www.zq.example", "# zq", "- zq", "1. zq", "> zq", "*zq* __zq__ ~~zq~~ `zq`",
    "a|zq|b", "zq\\", "&lt;zq&#62;", "=cmd|' /C zq'!A0", "@zq", "+zq", "-zq", "zq\\input{/etc/passwd}", "[zq]", "*zq",
    "^^5czq", "a%zq", "{zq}", "zq'; rm -rf /", "", " ", "zq\ud800",
)  # fmt: skip
SEEN = [printable(name) for name in NAMES]


def test_what_acts_is_spelled() -> None:
    assert printable("a\x1b\x07\x7f\x9b\n\u202e\ud800") == "a\\x1b\\x07\\x7f\\x9b\\n\\u202e\\ud800"
    kept = "é日本\N{ZERO WIDTH JOINER}🙂 \\n ±"
    assert printable(kept) == kept


def table(texts: tuple[str, ...] = NAMES) -> Table:
    rows = tuple({"name": text, "other": text, "value": -1.5} for text in texts)
    columns = (Column("name", "name", "left"), Column("other", NAMES[8]), Column("value", "value", digits=1))
    return Table("zq | <b> \n# t", columns, rows, notes=texts[1:], marked=frozenset([1]))


def test_the_terminal() -> None:
    text = render(table()) + render(table(), colour=False)
    assert "\x1b" not in text and printable(text.replace("\n", "")) == text.replace("\n", "")
    assert len(render(table()).splitlines()) == 3 + len(NAMES) + len(NAMES[1:])
    assert all(name in text for name in SEEN)


def test_messages_on_stderr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("layerprobe"), "propagate", False)  # pytest can't send on half a character
    with Reporter(DisplaySettings()) as reporter:
        for name in NAMES:
            logging.getLogger("layerprobe.zq").warning("%s is odd", name)
            logging.getLogger("layerprobe.zq").warning("%s is odd", name)
        reporter.wrote([Path("a\x1b.h5")], command_line("report", ReportSettings(sources=(Path("a b;\x1b'\n"),))))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [*(f"warning: {name} is odd" for name in SEEN), "wrote a\\x1b.h5", lines[-1]]
    assert lines[-1] == "next: layerprobe report 'a b;\\x1b'\"'\"'\\n'"
    assert shlex.split(lines[-1])[:3] == ["next:", "layerprobe", "report"] and len(shlex.split(lines[-1])) == 4


def test_warnings_of_other_libraries(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("layerprobe"), "propagate", False)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        before = warnings.showwarning
        with Reporter(DisplaySettings(quiet=True)):
            for _ in range(2):
                warnings.warn("odd \x1b[31m\nmore", UserWarning, stacklevel=1)
        assert warnings.showwarning is before
    assert capsys.readouterr().err == "warning: UserWarning: odd \\x1b[31m\n"


def test_a_file_called_like_an_option_is_none_in_the_next_command() -> None:
    settings = RankSettings(features=(Path("--overwrite"), Path("a.h5")), output=Path("-o"))
    assert command_line("rank", settings) == "layerprobe rank ./--overwrite a.h5 --output ./-o"


class Seen(HTMLParser):
    """Tags and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attributes)
        if tag in ("td", "li", "p"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def test_markdown_read_by_another_program() -> None:
    page = Seen(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(render(table(), "markdown")))
    assert set(page.tags) == {"p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    cells = [cell.strip() for cell in page.cells]
    for name in SEEN:
        assert cells.count(name.strip()) >= 2, name


@pytest.mark.parametrize("format", ["markdown", "latex", "csv", "table"])
def test_nothing_acts_in_any_format(format: str) -> None:
    for text in (render(table(), format), render_all([table(), table()], format)):
        assert printable(text.replace("\n", "")) == text.replace("\n", "")


def test_addresses_are_no_links() -> None:
    text = render(table(("see http://zq.example, https://zq.example and www.zq.example",)), "markdown")
    assert "http:" not in text and "https:" not in text and "www." not in text


def test_latex_has_no_command_of_a_name() -> None:
    body = "\n".join(line for line in render(table(), "latex").splitlines() if not line.startswith("%"))
    assert "\\input" not in body and "\\alpha" not in body and "textbackslash{}input" in body
    rows = body.split("\\midrule")[1].splitlines()
    assert not any(line.lstrip().startswith(("[", "*")) for line in rows)
    assert len([line for line in rows if line.endswith(r" \\")]) == len(NAMES)


def test_csv_has_no_formula() -> None:
    for text in (render(table(), "csv"), render_all([table(), table()], "csv")):
        for row in csv.reader(io.StringIO(text)):
            for cell in row:
                assert not cell.startswith(("=", "+", "@", "\t", "\r")) and (cell[:1] != "-" or float(cell) < 0)
    json.loads(render(table(), "json"))


def test_a_study_keeps_every_text_and_has_no_formula(tmp_path: Path) -> None:
    names = [name for name in NAMES if name and "\ud800" not in name]
    records = [{"name": name, "more": [name], "number": -1} for name in names]
    text = format_rows(records)
    (tmp_path / "t.csv").write_text(text, newline="")
    assert read_rows(tmp_path / "t.csv") == records
    assert not any(cell.startswith(("=", "+", "@")) for row in csv.reader(io.StringIO(text)) for cell in row)
    assert printable(text.replace("\n", "")) == text.replace("\n", "")


def test_html() -> None:
    section = Section(NAMES[8], (table(),), text=NAMES[9])
    text = html_page(Page(NAMES[8], NAMES[4], {"done": 1}, (section,), {"zq\x1b": NAMES[8], "l": "a\n" + NAMES[9]}))
    page = Seen(text)
    assert page.tags.count("script") == 1 and "img" not in page.tags
    assert printable(text.replace("\n", "")) == text.replace("\n", "")
    cells = [cell.strip() for cell in page.cells]
    assert all(printable_lines(name).strip() in cells for name in NAMES)


HOSTILE = "</script><img src=x onerror=zq()>$zq_$\x1b\u202e"


def page_of_a_hostile_run() -> Page:
    settings = distillation(
        layers=["zq<script>", "zq$"], student_layers=["zq'\"><b>", "zq&lt;"], data={"name": HOSTILE}
    )
    found = Evaluation(HOSTILE, HOSTILE, HOSTILE, ("<b>$zq_$", "zq"), torch.eye(2, dtype=torch.int64), None)
    hostile = run(f"feature-only {HOSTILE}")
    epochs = tuple(replace(one, losses={HOSTILE: 1.0}) for one in hostile.epochs)
    environment = {"device": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    hostile = replace(hostile, epochs=epochs, folder=Path(f"{HOSTILE}"), environment=environment)
    worth = hostile_evaluation()
    return run_page(hostile, settings, about(), HOSTILE, HOSTILE, {HOSTILE: found}, HOSTILE, features={HOSTILE: worth})


def hostile_evaluation() -> FeatureEvaluation:
    one = Estimate(50.0, 40.0, 60.0, 2)
    scores = tuple(Score(by, HOSTILE, 8, {HOSTILE: HOSTILE}, one, (one, one), 0.1) for by in ("knn", "retrieval"))
    agreement = (Agreement(HOSTILE, NAMES[8], one, one), Agreement(NAMES[9], HOSTILE, one, None))
    return FeatureEvaluation(HOSTILE, HOSTILE, HOSTILE, ("<b>$zq_$", NAMES[8]), 9, scores, agreement)


@pytest.mark.parametrize("format", ["table", "csv", "markdown", "latex"])
def test_names_in_the_tables_of_an_evaluation_are_text(format: str) -> None:
    text = render_all(feature_tables(hostile_evaluation()), format)
    assert printable(text.replace("\n", "")) == text.replace("\n", "")
    assert format != "markdown" or "<img" not in text.replace("\\<", "")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert format != "latex" or ("zq\\_" in body and "zq_" not in body and "\x1b" not in body)


def page_of_a_hostile_network() -> Page:
    hostile = hostile_ranking()
    source = {"weights": HOSTILE, "sample": {"how": HOSTILE, "per_class": 20}, "plugins": {HOSTILE: HOSTILE}}
    return teacher_page(replace(hostile, provenance={**hostile.provenance, **source}), HOSTILE, HOSTILE, HOSTILE)


PAGES: dict[str, Callable[[], Page]] = {
    "a network": page_of_a_hostile_network,
    "networks": lambda: networks_page({HOSTILE: hostile_ranking(), NAMES[8]: hostile_ranking()}, HOSTILE),
    "a run": page_of_a_hostile_run,
}


@pytest.mark.parametrize("name", PAGES)
def test_names_in_pages_are_text(name: str) -> None:
    text = html_page(PAGES[name]())
    page = read_page(text)
    assert len(page.all("script")) == 1 and "zq" not in page.all("script")[0].text
    assert not {"img", "b"} & {element.tag for element in page.elements}
    for element in page.elements:
        assert not any(attribute.startswith("on") for attribute in element.attributes)
        assert element.attributes.get("href", "#").startswith(("#", "data:"))
    assert printable(text.replace("\n", "")) == text.replace("\n", "")
    assert any(printable(HOSTILE) in element.text for element in page.elements)
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))


def hostile_ranking() -> Ranking:
    ranking = measured_ranking()
    names = dict(zip((one.layer.name for one in ranking.geometries), NAMES, strict=False))

    def renamed(layer: Layer) -> Layer:
        return replace(layer, name=names[layer.name])

    geometries = tuple(replace(one, layer=renamed(one.layer)) for one in ranking.geometries)
    layers = tuple(one.layer for one in geometries)
    assert ranking.similarity is not None
    return replace(
        ranking,
        geometries=geometries,
        selected=tuple(names[name] for name in ranking.selected),
        evenly_spread=tuple(names[name] for name in ranking.evenly_spread),
        classes=("$zq_$10", "_zq", "zq\x1b\n日"),
        provenance={**ranking.provenance, "model": "$zq_$10\x1b\n", "dataset": "_$zq_$"},
        similarity=replace(ranking.similarity, first=layers, second=layers, names=("$zq_$1", "_zq$\x1b")),
    )


def hostile_grid() -> GridResults:
    results = grid()

    def renamed(result: CellResult) -> CellResult:
        cell = result.cell
        return replace(
            result,
            cell=replace(cell, pair=f"$zq_${cell.pair}\x1b", method=f"_{cell.method}$zq_$\n", choice=cell.choice),
        )

    return replace(results, title="$zq_$", reference="", results=tuple(map(renamed, results.results)))


def hostile_confusion() -> Drawing:
    classes = ("$5_$10", "_zq", "$zq_$", "zq\x1b[31m\n")
    return confusion_figure(Evaluation("$zq_$", "$zq_$", "test", classes, torch.eye(4, dtype=torch.int64), None))


def hostile_curves() -> Drawing:
    hostile = run("$zq_$")
    return curves_figure(
        replace(hostile, epochs=tuple(replace(one, losses={"_$zq_$\x1b": 1.0}) for one in hostile.epochs))
    )


def hostile_similarity() -> Drawing:
    similarity = hostile_ranking().similarity
    assert isinstance(similarity, Similarity)
    return similarity_figure(similarity)


def hostile_validation() -> Drawing:
    found = validation()
    candidates = tuple(
        replace(one, pair=f"$zq_${one.pair}\x1b", scores={f"_$zq_${key}": value for key, value in one.scores.items()})
        for one in found.candidates
    )
    correlations = tuple(
        replace(one, pair=f"$zq_${one.pair}\x1b", score=f"_$zq_${one.score}") for one in found.correlations
    )
    return validation_figure(replace(found, candidates=candidates, correlations=correlations))


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    **{name: lambda entry=entry: entry.load()(hostile_ranking(), 7.0) for name, entry in FIGURES.items()},  # type: ignore[misc]
    "relative depth": lambda: relative_depth_figure([hostile_ranking(), hostile_ranking()]),
    "similarity of two": hostile_similarity,
    "confusion": hostile_confusion,
    "curves": hostile_curves,
    "bars": lambda: grid_bars_figure(hostile_grid()),
    "learning curves": lambda: learning_curves_figure(hostile_grid()),
    "cost": lambda: cost_figure(hostile_grid()),
    "validation": hostile_validation,
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_names_in_figures_are_text(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    parsed: list[str] = []
    parse = matplotlib.mathtext.MathTextParser.parse

    def heard(self: object, text: str, *more: object, **others: object) -> object:
        parsed.append(text)
        return parse(self, text, *more, **others)  # type: ignore[arg-type, call-overload]

    monkeypatch.setattr(matplotlib.mathtext.MathTextParser, "parse", heard)
    assert len(save_figure(DRAWINGS[name], tmp_path, "f", overwrite=False)) == 4
    assert not [text for text in parsed if "zq" in text or "5_" in text]
    shown = "".join(ElementTree.fromstring((tmp_path / "f.svg").read_text()).itertext())
    assert "zq" in shown and "\x1b" not in shown
    if name == "plane":  # every class is in the legend, and what the font lacks is said once
        assert all(text in shown for text in ("$zq_$10", "_zq", "zq\\x1b\\n日"))
        (record,) = caplog.records
        assert record.getMessage().startswith("the figures' font has no 日: boxes stand there")
