"""The page: whole, alone, and safe from what it shows."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from layerprobe.report.grid.report import write_report
from layerprobe.report.html.inline_svg import inline_svg
from layerprobe.report.html.page import Figure, Page, Section, html_page
from layerprobe.report.html.pictures import Picture
from layerprobe.report.tables.table import Column, Table
from tests.helpers.grid_records import REASON, grid, renamed, validation, without_runs
from tests.helpers.pages import CHROMIUM, browse, read_page

HOSTILE = '<script>alert(1)</script> & "quotes" {{ 7 * 7 }}'
SVG = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt"
 viewBox="0 0 72 36"><metadata><a href="http://example.org"/></metadata>
<defs><style type="text/css">*{color: red}</style><path id="m1" d="M 0 0"/></defs>
<g id="figure_1" clip-path="url(#p1)" style="fill: url(#h1)">
<use xlink:href="#m1" x="1"/><text>a &lt; b</text></g></svg>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(renamed(grid(title=HOSTILE), "kd", HOSTILE), folder, validation())
    return folder / "index.html"


def test_an_inline_figure_keeps_its_references_to_itself() -> None:
    svg, _, path, group, use, text = read_page(inline_svg(SVG, "f3", 'a "b"')).elements
    assert svg.attributes["aria-label"] == 'a "b"' and svg.attributes["style"] == "--width: 96px"
    assert "width" not in svg.attributes and svg.attributes["viewbox"] == "0 0 72 36"
    assert (path.attributes["id"], use.attributes["href"]) == ("f3-m1", "#f3-m1")
    assert group.attributes["clip-path"] == "url(#f3-p1)" and group.attributes["style"] == "fill: url(#f3-h1)"
    assert text.text == "a < b"


def test_the_page_needs_nothing_from_outside(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    seen = read_page(text)
    for element in seen.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert element.attributes.get(name, "#").startswith(("#", "data:")), element
    assert "http://" not in text and "https://" not in text and "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert (
        "default-src 'none'" in next(m for m in seen.all("meta") if "http-equiv" in m.attributes).attributes["content"]
    )


def test_ids_are_unique_and_every_reference_has_one(report: Path) -> None:
    seen = read_page(report.read_text(encoding="utf-8"))
    ids = [element.attributes["id"] for element in seen.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids)) and len(seen.all("svg")) == 8
    wanted = {one.attributes["href"][1:] for one in seen.all("use")}
    for element in seen.elements:
        for value in element.attributes.values():
            wanted |= set(re.findall(r"url\(#([^)]+)\)", value))
    assert wanted and wanted <= set(ids)


def test_what_comes_from_outside_is_text(report: Path) -> None:
    seen = read_page(report.read_text(encoding="utf-8"))
    assert len(seen.all("script")) == 1 and not any("alert" in script.text for script in seen.all("script"))
    assert seen.all("h1")[0].text == seen.all("title")[0].text == HOSTILE
    assert HOSTILE in [cell.text for cell in seen.all("td")] and REASON in [cell.text for cell in seen.all("td")]


def test_every_table_is_there_with_every_digit(report: Path) -> None:
    seen = read_page(report.read_text(encoding="utf-8"))
    captions = [caption.text for caption in seen.all("caption")]
    assert [caption.removeprefix(HOSTILE) for caption in captions] == [
        ": top-1 on the test images (%)",
        ": over pairs",
        ": every pair and method",
        ": cells that failed",
        "Which score tells: which score tells",
        "Which score tells: candidates",
    ]
    values = {cell.attributes.get("data-value") for cell in seen.all("td")}
    assert str(240.5 / 3) in values and "nan" not in values
    kinds = {heading.text: heading.attributes["data-kind"] for heading in seen.all("th")}
    assert (kinds["A to B"], kinds["method"], kinds["reason"]) == ("number", "text", "text")
    assert "79.00" not in [strong.text for strong in seen.all("strong")]
    assert "82.00 ± 2.00 (3)" in [strong.text for strong in seen.all("strong")]
    assert any(cell.text == "\N{MINUS SIGN}8.50 [" + cell.text[7:] for cell in seen.all("td"))
    assert "the best epoch on test is chosen by the test images themselves" in " ".join(
        li.text for li in seen.all("li")
    )
    assert [pre.text for pre in seen.all("pre")] == ["title: Small & quick\nseeds: 3\n"]
    assert {"ab12", '{"images": 60}'} <= {dd.text for dd in seen.all("dd")}


def test_a_grid_without_a_finished_run_says_so(tmp_path: Path) -> None:
    files = write_report(without_runs(grid()), tmp_path)
    seen = read_page(files[-1].read_text(encoding="utf-8"))
    assert not seen.all("svg") and not seen.all("figure")
    assert any("No run is finished yet" in p.text for p in seen.all("p"))
    assert any("0 of 24 cells done, 24 waiting" in li.text for li in seen.all("li"))


def test_a_bare_page() -> None:
    table = Table("t", (Column("a", "a", "left"), Column("b", "b")), ({"a": "x", "b": None},))
    page = Page(
        "title", "lede", {"done": 0}, (Section("one", (table,), (Figure("c", (Picture(SVG),)),)), Section("two"))
    )
    seen = read_page(html_page(page))
    assert [cell.text for cell in seen.all("td")] == ["x", "-"]
    assert [one.attributes["data-kind"] for one in seen.all("th")] == ["text", "text"]
    assert not seen.all("details")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
def test_columns_are_sorted_in_a_browser(report: Path, tmp_path: Path) -> None:
    press = """
    const heading = (n) => document.querySelectorAll("table")[0].tHead.rows[0].cells[n];
    const order = () => [...document.querySelectorAll("table")[0].tBodies[0].rows].map((row) => row.cells[5].innerText);
    heading(5).querySelector("button").click();
    document.body.dataset.down = order().join("; ");
    heading(5).querySelector("button").click();
    document.body.dataset.up = order().join("; ");
    document.body.dataset.state = heading(5).getAttribute("aria-sort") + " " + heading(3).getAttribute("aria-sort");
    document.body.dataset.wide = document.documentElement.scrollWidth > window.innerWidth;
    """
    text = report.read_text(encoding="utf-8").replace(
        "</script>\n</body>", f"</script>\n<script>{press}</script>\n</body>"
    )
    page = tmp_path / "pressed.html"
    page.write_text(text, encoding="utf-8")
    rendered = browse(page, "--window-size=500,900")
    assert rendered.complaints == []
    body = read_page(rendered.dom).all("body")[0].attributes
    assert body["data-down"] == "55.25 ± 0.35 (2); 51.00 ± 1.00 (3); 50.00 (1); -"
    assert body["data-up"] == "50.00 (1); 51.00 ± 1.00 (3); 55.25 ± 0.35 (2); -"
    assert body["data-state"] == "ascending none" and body["data-wide"] == "false"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
def test_the_page_complains_of_nothing(report: Path) -> None:
    rendered = browse(report)
    seen = read_page(rendered.dom)
    assert rendered.complaints == []
    assert len(seen.all("button")) == len(seen.all("th"))
    assert {heading.attributes["aria-sort"] for heading in seen.all("th")} == {"none"}


def test_a_title_of_several_lines_stays_in_its_comment(tmp_path: Path) -> None:
    results = replace(grid(), title="one\n\\end{document}")
    write_report(results, tmp_path)
    lines = (tmp_path / "table.tex").read_text().splitlines()
    assert not any(line.startswith("\\end{document}") for line in lines)


def test_code_in_a_paragraph_is_set_as_code_and_escaped() -> None:
    sections = (Section("a", text="take `x <b>` of <i>, or\u202e"),)
    text = html_page(Page("t", "", {}, sections))
    assert "<p>take <code>x &lt;b&gt;</code> of &lt;i&gt;, or\\u202e</p>" in text
