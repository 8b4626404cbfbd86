"""The examples of the documentation print what they say."""

import contextlib
import importlib.util
import io
import re
from pathlib import Path
from types import ModuleType

import pytest

from layerprobe.geometry.catalogue import ALWAYS, SCORES, STATISTICS, UNMEASURED
from layerprobe.ranking.catalogue import RULES
from layerprobe.report.figures.catalogue import FIGURES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "statistics").glob("*.md"))
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_print_what_they_say(page: Path) -> None:
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        said = [NUMBER.findall(comment) for comment in re.findall(r"print\(.*#(.*)", code)]
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(code, {})
        lines = output.getvalue().splitlines()
        assert said and len(lines) == len(said)
        for line, numbers in zip(lines, said, strict=True):
            printed = [float(number) for number in NUMBER.findall(line)]
            for value, text in zip(printed, numbers, strict=True):
                assert value == pytest.approx(float(text), abs=0.6 * 10 ** -len(text.partition(".")[2])), page


def test_every_page_of_a_statistic_is_linked() -> None:
    overview = (PAGES[0].parents[1] / "statistics.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f"statistics/{page.name}" not in overview] == []


def _catalogues() -> ModuleType:
    spec = importlib.util.spec_from_file_location("catalogues", ROOT / "docs" / "catalogues.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_of_catalogues_are_what_the_command_writes() -> None:
    """``python docs/catalogues.py`` writes them."""
    catalogues = _catalogues()
    found: list[str] = []
    for page in catalogues.PAGES:
        text = page.read_text(encoding="utf-8")
        assert catalogues.with_tables(text) == text, f"{page}: run python docs/catalogues.py"
        found += re.findall(r"<!-- catalogue: ([\w-]+) -->", text)
    assert sorted(found) == sorted(catalogues.TABLES)


def rows_of(page: str) -> dict[str, list[str]]:
    """The rows of a page's tables, by the name in their first cell."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    split = (
        [cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")
    )
    return {row[0]: row[1:] for row in split}


def test_statistics_are_documented_as_the_catalogue_has_them() -> None:
    """Name, column, family and direction of every score, and of every statistic that is a column."""
    rows = rows_of("statistics.md")
    for name, entry in STATISTICS.items():
        if entry.shown or entry.direction:
            family = [] if entry.family in (ALWAYS, UNMEASURED) else [entry.family]
            assert rows[name][3:] == [entry.symbol, *family, entry.direction], name
    assert {name for name in rows if name in STATISTICS} == {
        name for name, entry in STATISTICS.items() if entry.shown or entry.direction
    }


def test_rules_and_figures_are_documented() -> None:
    rules = rows_of("methods.md")
    derived = {"quality", *SCORES, *(f"stagewise-{name}" for name in SCORES)}
    assert {name for name in RULES if f"{name}:K" not in rules} <= derived
    figures = rows_of("commands.md")
    assert [name for name in FIGURES if name not in {row.split("`")[0] for row in figures}] == []
