"""Separation, information, efficiency and quality against depth, the chosen layers marked."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerprobe.report.builders import describe_sample
from layerprobe.report.style import COLOURS, MARKERS, PAGE_WIDTH, SELECTED, new_figure, paper_style
from layerprobe.types import Ranking

PANELS = {
    "quality": "knowledge quality Q",
    "separation": "separation S",
    "information": "information I",
    "efficiency": "efficiency E",
}
MOST_TICKS = 32


def quality_figure(ranking: Ranking) -> Figure:
    """Q above, with S, I and E below, against the layers in order of depth.

    The chosen layers have a bar through every panel and a filled marker; intervals are a band around the curve. A value
    that is NaN leaves a gap.
    """
    depths = [geometry.layer.index for geometry in ranking.geometries]
    chosen = [geometry.layer.index for geometry in ranking.geometries if geometry.layer.name in ranking.selected]
    with paper_style():
        figure = new_figure(PAGE_WIDTH, 4.4)
        grid = figure.add_gridspec(2, 3, height_ratios=(1.5, 1))
        axes = [figure.add_subplot(grid[0, :]), *(figure.add_subplot(grid[1, column]) for column in range(3))]
        for axis, (number, (score, title)) in zip(axes, enumerate(PANELS.items()), strict=True):
            values = [geometry.statistics[score] for geometry in ranking.geometries]
            _draw(axis, depths, values, chosen, COLOURS[number], MARKERS[number])
            _band(axis, ranking, score, COLOURS[number])
            axis.set_title(title, loc="left")
        axes[0].set_title(f"{len(chosen)} layers of highest {ranking.score} marked", loc="right", fontsize=6.5)
        names = [geometry.layer.name for geometry in ranking.geometries]
        _name_layers(axes[0], depths, names, keep=chosen)
        for axis in axes[1:]:
            axis.set_xlabel("layer index")
        parts = [ranking.provenance.get("model", ""), describe_sample(ranking)]
        if "resamples" in ranking.provenance:
            parts.append(f"bands: {100 * ranking.provenance['level']:g} % intervals")
        figure.suptitle(", ".join(filter(None, parts)), fontsize=7.5, x=0.01, ha="left")
    return figure


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


def _name_layers(axis: Axes, depths: Sequence[int], names: Sequence[str], keep: Sequence[int]) -> None:
    """Layer names as tick labels; of many layers every k-th, and always the chosen ones."""
    step = max(1, math.ceil(len(depths) / MOST_TICKS))
    near = {depth + offset for depth in keep for offset in range(1 - step, step)}
    shown = [d for number, d in enumerate(depths) if d in keep or (number % step == 0 and d not in near)]
    by_depth = dict(zip(depths, names, strict=True))
    axis.set_xticks(shown, [by_depth[depth] for depth in shown], rotation=90)
    for label, depth in zip(axis.get_xticklabels(), shown, strict=True):
        label.set_fontweight("bold" if depth in keep else "normal")
