"""How the scores move with the number of images per class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from layerprobe.geometry.catalogue import shown_in
from layerprobe.records import Ranking
from layerprobe.report.figures.labels import fitted
from layerprobe.report.figures.looks import look
from layerprobe.report.figures.panels import add_legend, panels
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing
from layerprobe.report.tables.ranking import describe_sample, network_name
from layerprobe.report.tables.table import data_table


def sizes_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """A line per layer, the chosen ones coloured: means over five draws, with a band from the least to the largest.

    Undefined layers have none.
    """
    scores = shown_in("sizes")
    page = panels(len(scores), width, 1.55, across=3, narrow_across=2)
    entries: dict[str, Any] = {}
    for axis, score in zip(page.axes, scores, strict=True):
        entries |= _panel(axis, ranking, f"at sizes {score.name}")
        axis.set_ylabel(fitted(score.title, 1.15, "axes.labelsize", lines=2))
    for axis in page.axes[-page.across :]:
        axis.set_xlabel("images per class")
    add_legend(page.figure, entries)
    columns = ("index", "layer", "score", "images_per_class", "draw", "value")
    caption = (
        f"Scores of the layers of {network_name(ranking)} against the number of images per class that they come "
        f"from: means over {_draws(ranking)} draws, with a band from the least to the largest. Coloured: the chosen "
        f"layers; grey: the others. Drawn from {describe_sample(ranking)}."
    )
    return Drawing(page.figure, data_table("scores against sample size", columns, _data(ranking)), caption)


def _panel(axis: Axes, ranking: Ranking, array: str) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    others = None
    for one in (geometry for geometry in ranking.geometries if not geometry.undefined):
        values = one.arrays[array]
        mean = values.mean(dim=1).tolist()
        if one.layer.name not in ranking.selected:
            (others,) = axis.plot(ranking.sizes, mean, color="0.7", linewidth=0.6, zorder=1)
            continue
        shape = look(ranking.selected.index(one.layer.name))
        low, high = values.amin(dim=1).tolist(), values.amax(dim=1).tolist()
        axis.fill_between(ranking.sizes, low, high, color=shape.colour, alpha=0.25, linewidth=0)
        (entries[one.layer.name],) = axis.plot(
            ranking.sizes, mean, color=shape.colour, linestyle=shape.line, marker=shape.marker
        )
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(list(ranking.sizes)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter("{x:g}")
    return entries | ({"other layers": others} if others else {})


def _draws(ranking: Ranking) -> int:
    """How many smaller samples of every size were drawn."""
    defined = [one for one in ranking.geometries if not one.undefined]
    return int(defined[0].arrays[f"at sizes {shown_in('sizes')[0].name}"].shape[1]) if defined else 0


def _data(ranking: Ranking) -> Iterator[tuple[object, ...]]:
    for one in (geometry for geometry in ranking.geometries if not geometry.undefined):
        for score in shown_in("sizes"):
            for size, draws in zip(ranking.sizes, one.arrays[f"at sizes {score.name}"].tolist(), strict=True):
                for draw, value in enumerate(draws):
                    yield one.layer.index, one.layer.name, score.name, size, draw, value
