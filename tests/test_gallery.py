"""The gallery shows every figure, and the script that draws its images draws all that the documentation shows."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from layerprobe.report.figures.catalogue import FIGURES
from layerprobe.report.figures.style import COLUMN_WIDTH, PAGE_WIDTH
from tests.helpers.records import measured_ranking

ROOT = Path(__file__).parents[1]
OTHERS = {"relative-depth", "cka", "curves", "confusion", "grid-bars", "learning-curves", "cost", "validation"}
"""The names of the files of figures that are not of one network alone."""
BY_BENCHMARKS = {"coverage"}
"""Images that a benchmark draws, from measurements of hours."""


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "docs" / "gallery.py")
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_gallery_shows_every_figure() -> None:
    page = (ROOT / "docs" / "gallery.md").read_text()
    assert set(re.findall(r"^### .*: `(.+)`$", page, re.MULTILINE)) == {*FIGURES, *OTHERS}
    sections = page.split("\n### ")[1:]
    assert all("![" in section for section in sections)


def test_the_script_draws_every_image_of_the_documentation() -> None:
    script = load_script()
    drawn = {
        *script.images_of_studies(), *script.images_of_ranking(measured_ranking()), *script.images_of_run(Path()),
        "compare-layers",
    }  # fmt: skip
    assert drawn | BY_BENCHMARKS == {path.stem for path in script.IMAGES.glob("*.png")}
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = {name for page in pages for name in re.findall(r"images/([\w.-]+)\.png\)", page.read_text())}
    assert shown == drawn | BY_BENCHMARKS


def test_images_are_drawn_at_the_width_of_print() -> None:
    script = load_script()
    drawn = script.images_of_ranking(measured_ranking())
    widths = {name: draw().figure.get_size_inches()[0] for name, draw in drawn.items() if "dimensions" in name}
    assert widths == {"resnet56.dimensions": PAGE_WIDTH, "resnet56.dimensions.column": COLUMN_WIDTH}
