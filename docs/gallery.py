"""Draws the images of the documentation: ``python docs/gallery.py [FOLDER]``.

Those of studies and of their rankings come from ``results/``. Those of one network's layers and of a trained network
need FOLDER: it holds r56.h5, r20.h5 and run/, which docs/gallery.md says how to make.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import matplotlib
import torch

from layerprobe.evaluation.evaluate import evaluate
from layerprobe.experiments.grid.results import read_grid
from layerprobe.experiments.validation.results import read_validation
from layerprobe.ranking.file import load_ranking
from layerprobe.ranking.grams import open_source
from layerprobe.ranking.rank_files import rank_files
from layerprobe.ranking.similarity import layer_similarity
from layerprobe.records import GridResults, Ranking, Validation, silent
from layerprobe.report.figures.catalogue import ALL, FIGURES
from layerprobe.report.figures.confusion import confusion_figure
from layerprobe.report.figures.cost import cost_figure
from layerprobe.report.figures.curves import curves_figure
from layerprobe.report.figures.grid_bars import grid_bars_figure
from layerprobe.report.figures.learning_curves import learning_curves_figure
from layerprobe.report.figures.relative_depth import relative_depth_figure
from layerprobe.report.figures.similarity import similarity_figure
from layerprobe.report.figures.style import COLUMN_WIDTH, PAGE_WIDTH, Drawing, paper_style, picture
from layerprobe.report.figures.validation import validation_figure
from layerprobe.settings.evaluate import EvaluateSettings
from layerprobe.settings.rank import RankSettings

ROOT = Path(__file__).parents[1]
IMAGES, STUDIES = ROOT / "docs" / "images", ROOT / "results"
PIXELS = 160
"""Per inch, of the images."""
SIZES = (10, 25, 50, 100)
"""Images per class that scores are drawn against."""
BARS = {
    "resnet56.methods": "resnet56",
    **{
        f"cpu-{name}": f"cpu-{name}"
        for name in (
            "pairs", "layer-choice", "layer-count", "rules", "new-teachers", "unseen-teachers", "ablations", "logits",
        )
    },
}  # fmt: skip
"""Studies whose bars are drawn, by the image."""
RANKINGS = (
    "cpu-rules/rankings/r56-2000", "cpu-rules/rankings/r20-2000", "cpu-rules/rankings/vgg11-2000",
    "cpu-unseen-teachers/rankings/vit-small-2000",
)  # fmt: skip
"""Networks that are compared by relative depth."""

Draw = Callable[[], Drawing]


def images_of_studies() -> Mapping[str, Draw]:
    """What is drawn from ``results/``, by the image."""

    def study(name: str) -> GridResults:
        return read_grid(STUDIES / name)

    def validation(name: str) -> Validation:
        found = read_validation(STUDIES / name)
        assert found is not None, f"{name} is no validation"
        return found

    def one_run() -> Drawing:
        run = study("resnet56").results[0].run
        assert run is not None, "the study's first cell is finished"
        return curves_figure(run)

    return {
        **{image: lambda name=name: grid_bars_figure(study(name)) for image, name in BARS.items()},  # type: ignore[misc]
        **{
            name: lambda name=name: validation_figure(validation(name))  # type: ignore[misc]
            for name in ("cpu-validate", "cpu-validate-vgg")
        },
        "learning-curves": lambda: learning_curves_figure(study("resnet56")),
        "cost": lambda: cost_figure(study("cpu-pairs")),
        "curves": one_run,
        "relative-depth": lambda: relative_depth_figure(
            [load_ranking(STUDIES / f"{name}.ranking.json") for name in RANKINGS]
        ),
    }


def images_of_layers(folder: Path) -> Mapping[str, Draw]:
    """What is drawn from features, by the image."""
    settings = RankSettings(
        features=(folder / "r56.h5",), output=folder, figures=(ALL,), statistics=(ALL,), sizes=SIZES, overwrite=True
    )
    (ranking,) = rank_files(settings, torch.device("cpu"), silent).rankings
    with open_source(folder / "r56.h5") as first, open_source(folder / "r20.h5") as second:
        similarity = layer_similarity(first, second)
    return {**images_of_ranking(ranking), "compare-layers": partial(similarity_figure, similarity, PAGE_WIDTH)}


def images_of_ranking(ranking: Ranking) -> Mapping[str, Draw]:
    """Every figure of one network, and one of them as wide as a column."""
    drawn = {f"resnet56.{name}": partial(figure.load(), ranking, PAGE_WIDTH) for name, figure in FIGURES.items()}
    return {**drawn, "resnet56.dimensions.column": partial(FIGURES["dimensions"].load(), ranking, COLUMN_WIDTH)}


def images_of_run(folder: Path) -> Mapping[str, Draw]:
    """What is drawn of a trained network, by the image."""
    return {"confusion": lambda: confusion_figure(evaluate(EvaluateSettings(run=folder / "run"), silent))}


def draw_images(drawn: Mapping[str, Draw]) -> Iterator[Path]:
    """Draw images into the documentation."""
    for name, draw in drawn.items():
        path = IMAGES / f"{name}.png"
        with paper_style(), matplotlib.rc_context({"savefig.dpi": PIXELS}):
            path.write_bytes(picture(draw(), "png"))
        yield path


def main() -> None:
    """Draw the images of the studies, and with a folder of features the others, too."""
    drawn = dict(images_of_studies())
    for folder in map(Path, sys.argv[1:]):
        drawn |= {**images_of_layers(folder), **images_of_run(folder)}
    for path in draw_images(drawn):
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
