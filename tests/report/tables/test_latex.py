"""Tables in LaTeX: they fit the text of a NeurIPS paper, 397 points wide, unless columns are asked for that do not."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from layerprobe.report.tables.choice import choose_columns
from layerprobe.report.tables.latex import latex, lay_out
from layerprobe.report.tables.latex_width import TEXT_WIDTH, text_width
from layerprobe.report.tables.ranking import ranking_table
from layerprobe.report.tables.table import Column, Table
from tests.helpers.records import RANKING

WORDS = "A student of eight blocks that learns from the four layers of highest knowledge quality, and from nothing else"
WIDE = Table(
    title="wide",
    columns=(
        Column("what", "what it is", "left", key=True),
        Column("path", "run", "left", key=True),
        *(
            Column(f"c{number}", f"ResNet-{number} to another", digits=2, joined=number % 2 == 1)
            for number in range(12)
        ),
        Column("reason", "reason", "left"),
    ),
    rows=(
        {"what": WORDS, "path": "pairs/" + "x" * 60, "reason": WORDS} | {f"c{number}": 80.0 for number in range(12)},
        {"what": "b", "path": "p", "reason": "-", "c3": 99.5},
    ),
    marked=frozenset([1]),
)
STATISTICS = {"twonn": 31.2, "mle": 24.5, "pca-90": 530, "pca-95": 702, "effective-rank": 467.7, "nc1": 0.5}
MEASURED = ranking_table(
    replace(
        RANKING,
        geometries=tuple(replace(one, statistics={**one.statistics, **STATISTICS}) for one in RANKING.geometries),
    )
)


@pytest.mark.parametrize("table", [WIDE, MEASURED, ranking_table(RANKING)], ids=["wide", "all", "scores"])
def test_every_part_of_a_table_fits_and_says_what_its_rows_are_of(table: Table) -> None:
    layout = lay_out(table)
    assert layout.widest <= TEXT_WIDTH
    keys = len([column for column in table.columns if column.key]) + bool(table.marked)
    others = [column for part in layout.parts for column in part[keys:]]
    assert len(others) == len(table.latex_columns) - keys + bool(table.marked)
    assert all(column.key for part in layout.parts for column in part[:keys])
    assert not any(part[keys].joined for part in layout.parts)
    assert latex(table).count("\\begin{tabular}") == len(layout.parts)
    assert ("parts" in layout.remark) == (len(layout.parts) > 1)


def test_columns_that_are_asked_for_stay_in_one_table_which_says_how_wide_it_is() -> None:
    chosen = choose_columns(WIDE, ("c*",))
    layout = lay_out(chosen)
    assert latex(chosen).count("\\begin{tabular}") == 1 and layout.widest > TEXT_WIDTH
    assert f"% the LaTeX table is about {layout.widest:.0f} pt wide, and the text of" in latex(chosen)
    assert not lay_out(choose_columns(WIDE, ("c1", "c2"))).remark


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_widths_are_those_of_latex(tmp_path: Path) -> None:
    """No table is wider than it was said to be, and none by more than a twentieth narrower."""
    tables = (ranking_table(RANKING), MEASURED, WIDE, choose_columns(WIDE, ("c*",)))
    texts = ["layer3.conv_2", "ImageNet-1k: 5 % (all)", "+0.125", "WMwm@#"]
    boxes = [
        found for table in tables for found in re.findall(r"\\begin{tabular}.*?\\end{tabular}", latex(table), re.S)
    ]
    boxes += [re.sub(r"([_%#])", r"\\\1", text) for text in texts]
    lines = "\n".join(f"\\setbox0\\hbox{{{box}}}\\typeout{{WIDTH \\the\\wd0}}" for box in boxes)
    preamble = "\\documentclass{article}\\usepackage{booktabs}"
    (tmp_path / "t.tex").write_text(f"{preamble}\\begin{{document}}\n{lines}\n\\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    log = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    measured = [float(width) for width in re.findall(r"WIDTH ([\d.]+)pt", log)]
    told = [sum(one.width for one in part) + 12 * (len(part) - 1) for table in tables for part in lay_out(table).parts]
    told += [text_width(text) for text in texts]
    assert len(told) == len(measured) and "Overfull" not in log
    assert all(0.95 * one <= width <= one for one, width in zip(told, measured, strict=True))


def test_characters_that_pdflatex_lacks_are_named() -> None:
    def needs(name: str) -> str:
        return latex(Table("t", (Column("layer", "layer", "left"),), ({"layer": name},))).splitlines()[1]

    assert needs("Größe “b”") == "% needs \\usepackage{booktabs}"
    assert needs("a日本a日") == "% needs \\usepackage{booktabs}, and XeLaTeX or LuaLaTeX with a font that has 日本"
