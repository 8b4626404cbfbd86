"""The examples of the documentation print what they say."""

import contextlib
import importlib.util
import io
import re
from pathlib import Path
from types import ModuleType

import pytest

import layerprobe

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


def test_python_pages_have_the_public_names_and_those_of_the_examples() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    documented = {*re.findall(r"^::: (\S+)", pages, re.MULTILINE)}
    public = {getattr(layerprobe, name).__module__ for name in layerprobe.__all__ if not name.startswith("__")}
    code = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    used = {*re.findall(r"^(?:from|import) (layerprobe\.[\w.]+)", code, re.MULTILINE)}
    assert {module for module in public | used if module not in documented} == set()


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert {*re.findall(r"([\w/-]+\.md)\b", text)} == pages


def test_the_version_is_that_of_the_changelog_and_the_citation() -> None:
    release, *_ = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    (cited,) = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert release in (layerprobe.__version__, "Unreleased")
    assert cited == layerprobe.__version__


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
