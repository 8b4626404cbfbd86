"""How the scores move with the number of images per class."""

from __future__ import annotations

import math
from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from layerprobe.geometry.catalogue import shown_in
from layerprobe.records import Ranking
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing, as_written, is_narrow, look, new_figure
from layerprobe.report.tables.table import data_table


def sizes_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """A line per layer, the chosen ones coloured: means over five draws, with a band from the least to the largest.

    Undefined layers have none.
    """
    narrow = is_narrow(width)
    scores = shown_in("sizes")
    across = 2 if narrow else 3
    down = math.ceil(len(scores) / across)
    figure = new_figure(width, 1.8 * down if narrow else 1.9 * down)
    axes = figure.subplots(down, across, sharex=True, squeeze=False).flatten()
    for axis, score in zip(axes, scores, strict=False):
        _panel(axis, ranking, f"at sizes {score.name}")
        axis.set_title(as_written(score.title), loc="left")
    for axis in axes[len(scores) :]:
        axis.set_visible(False)
    for axis in axes[: len(scores)][-across:]:
        axis.set_xlabel("images per class")
        axis.xaxis.set_tick_params(labelbottom=True)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2 if narrow else 6)
    columns = ("index", "layer", "score", "images_per_class", "draw", "value")
    return Drawing(figure, data_table("scores against sample size", columns, _data(ranking)))


def _panel(axis: Axes, ranking: Ranking, array: str) -> None:
    for one in (geometry for geometry in ranking.geometries if not geometry.undefined):
        values = one.arrays[array]
        mean = values.mean(dim=1).tolist()
        if one.layer.name not in ranking.selected:
            axis.plot(ranking.sizes, mean, color="0.8", linewidth=0.6, zorder=1)
            continue
        shape = look(ranking.selected.index(one.layer.name))
        low, high = values.amin(dim=1).tolist(), values.amax(dim=1).tolist()
        axis.fill_between(ranking.sizes, low, high, color=shape.colour, alpha=0.18, linewidth=0)
        axis.plot(
            ranking.sizes, mean, color=shape.colour, linestyle=shape.line, marker=shape.marker,
            label=as_written(one.layer.name),
        )  # fmt: skip
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(list(ranking.sizes)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter("{x:g}")


def _data(ranking: Ranking) -> Iterator[tuple[object, ...]]:
    for one in (geometry for geometry in ranking.geometries if not geometry.undefined):
        for score in shown_in("sizes"):
            for size, draws in zip(ranking.sizes, one.arrays[f"at sizes {score.name}"].tolist(), strict=True):
                for draw, value in enumerate(draws):
                    yield one.layer.index, one.layer.name, score.name, size, draw, value
