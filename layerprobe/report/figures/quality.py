"""Separation, information, efficiency and quality against depth, the chosen layers marked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layerprobe.records import Ranking
from layerprobe.report.figures.layer_axis import name_layers
from layerprobe.report.figures.style import COLOURS, MARKERS, PAGE_WIDTH, SELECTED, Drawing, is_narrow, new_figure
from layerprobe.report.tables.ranking import describe_sample
from layerprobe.report.tables.table import data_table

PANELS = {
    "quality": "knowledge quality Q",
    "separation": "separation S",
    "information": "information I",
    "efficiency": "efficiency E",
}


def quality_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """Q above, with S, I and E below, against the layers in order of depth.

    The chosen layers have a bar through every panel and a filled marker, the evenly spread ones a triangle below the
    curve; intervals are a band around it. A value that is NaN leaves a gap.
    """
    depths = [geometry.layer.index for geometry in ranking.geometries]
    chosen = [geometry.layer.index for geometry in ranking.geometries if geometry.layer.name in ranking.selected]
    figure, axes = _panels(width)
    for axis, (number, (score, title)) in zip(axes, enumerate(PANELS.items()), strict=True):
        values = [geometry.statistics[score] for geometry in ranking.geometries]
        _draw(axis, depths, values, chosen, COLOURS[number], MARKERS[number])
        _band(axis, ranking, score, COLOURS[number])
        axis.set_title(title, loc="left")
    narrow = is_narrow(width)
    name_layers(axes[-1 if narrow else 0], [geometry.layer for geometry in ranking.geometries], ranking.selected)
    for axis in [] if narrow else axes[1:]:
        axis.set_xlabel("layer index")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    legend = _mark_evenly_spread(axes[0], ranking)
    parts = [ranking.provenance.get("model", ""), describe_sample(ranking)]
    if "resamples" in ranking.provenance:
        parts.append(f"bands: {100 * ranking.provenance['level']:g} % intervals")
    if narrow:
        parts.append(legend)
    else:
        axes[0].set_title(legend, loc="right", fontsize="small")
    figure.suptitle(("\n" if narrow else ", ").join(filter(None, parts)), x=0.01, ha="left")
    columns = ("index", "layer", *(f"{score}{end}" for score in PANELS for end in ("", "_low", "_high")), "chosen")
    return Drawing(figure, data_table("scores against depth", columns, _data(ranking)))


def _panels(width: float) -> tuple[Figure, list[Axes]]:
    """Q over the whole width; S, I and E side by side, or one below the other in a column."""
    if is_narrow(width):
        figure = new_figure(width, 6.2)
        return figure, list(figure.subplots(4, 1, sharex=True, height_ratios=(1.5, 1, 1, 1)))
    figure = new_figure(width, 4.4)
    grid = figure.add_gridspec(2, 3, height_ratios=(1.5, 1))
    return figure, [figure.add_subplot(grid[0, :]), *(figure.add_subplot(grid[1, column]) for column in range(3))]


def _draw(
    axis: Axes, depths: Sequence[int], values: Sequence[float], chosen: Sequence[int], colour: str, marker: str
) -> None:
    for depth in chosen:
        axis.axvspan(depth - 0.5, depth + 0.5, color=SELECTED, alpha=0.25, linewidth=0)
    axis.plot(depths, values, color=colour, marker=marker, markerfacecolor="white", label="layers")
    marked = [value if depth in chosen else math.nan for depth, value in zip(depths, values, strict=True)]
    axis.plot(depths, marked, color=colour, marker=marker, linestyle="none", markersize=4.5, label="chosen")
    axis.margins(x=0.015)


def _band(axis: Axes, ranking: Ranking, score: str, colour: str) -> None:
    """The intervals of the layers that have one."""
    ends = [(g.layer.index, g.intervals[score]) for g in ranking.geometries if score in g.intervals]
    if ends:
        depths, intervals = zip(*ends, strict=True)
        lows, highs = [one.low for one in intervals], [one.high for one in intervals]
        axis.fill_between(depths, lows, highs, color=colour, alpha=0.18, linewidth=0, label="interval")


def _mark_evenly_spread(axis: Axes, ranking: Ranking) -> str:
    """Triangles at the lower edge.

    Returns:
        What bars and triangles mean.
    """
    even = [geometry.layer.index for geometry in ranking.geometries if geometry.layer.name in ranking.evenly_spread]
    text = f"bars: highest {ranking.score.replace('_', ' ')}"
    if even:
        edge = axis.get_xaxis_transform()
        axis.plot(even, [0.04] * len(even), transform=edge, color="0.35", marker="^", linestyle="none", label="even")
        text += "; triangles: evenly spread"
    return text


def _data(ranking: Ranking) -> Iterator[tuple[object, ...]]:
    for geometry in ranking.geometries:
        values: list[object] = []
        for score in PANELS:
            interval = geometry.intervals.get(score)
            ends = (interval.low, interval.high) if interval else (None, None)
            values += [geometry.statistics[score], *ends]
        yield geometry.layer.index, geometry.layer.name, *values, int(geometry.layer.name in ranking.selected)
