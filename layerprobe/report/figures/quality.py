"""The scores against depth, the chosen layers marked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from layerprobe.geometry.catalogue import UNMEASURED, Statistic, described, shown_in
from layerprobe.records import Ranking
from layerprobe.report.figures.layer_axis import name_layers
from layerprobe.report.figures.style import PAGE_WIDTH, SELECTED, Drawing, Look, as_written, is_narrow, look, new_figure
from layerprobe.report.tables.ranking import describe_sample
from layerprobe.report.tables.table import data_table


def panel_scores(ranking: Ranking) -> tuple[Statistic, ...]:
    """The scores of the panels: first the one that is made of the others, which follow.

    Layers that were chosen by another score have a panel for it, the last one.
    """
    *parts, whole = shown_in("quality")
    own = described(ranking.score)
    return (whole, *parts) if own in (whole, *parts) or own.family == UNMEASURED else (whole, *parts, own)


def quality_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """Q above, with S, I and E below, and the score that layers were chosen by, against the layers in order of depth.

    The chosen layers have a bar through every panel and a filled marker, the evenly spread ones a triangle below the
    curve; intervals are a band around it. A value that is NaN leaves a gap.
    """
    depths = [geometry.layer.index for geometry in ranking.geometries]
    chosen = [geometry.layer.index for geometry in ranking.geometries if geometry.layer.name in ranking.selected]
    scores = panel_scores(ranking)
    figure, axes = _panels(width, len(scores))
    for number, (axis, score) in enumerate(zip(axes, scores, strict=True)):
        values = [geometry.statistics[score.name] for geometry in ranking.geometries]
        shape = look(number)
        _draw(axis, depths, values, chosen, shape)
        _band(axis, ranking, score.name, shape.colour)
        axis.set_title(as_written(score.title), loc="left")
    narrow = is_narrow(width)
    name_layers(axes[-1 if narrow else 0], [geometry.layer for geometry in ranking.geometries], ranking.selected)
    for axis in [] if narrow else axes[1:]:
        axis.set_xlabel("layer index")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    legend = _mark_evenly_spread(axes[0], ranking)
    parts = [as_written(str(ranking.provenance.get("model", ""))), as_written(describe_sample(ranking))]
    if "resamples" in ranking.provenance:
        parts.append(f"bands: {100 * ranking.provenance['level']:g} % intervals")
    if narrow:
        parts.append(legend)
    else:
        axes[0].set_title(legend, loc="right", fontsize="small")
    figure.suptitle(("\n" if narrow else ", ").join(filter(None, parts)), x=0.01, ha="left")
    ends = ("", "_low", "_high")
    columns = ("index", "layer", *(f"{score.name}{end}" for score in scores for end in ends), "chosen")
    return Drawing(figure, data_table("scores against depth", columns, _data(ranking, scores)))


def _panels(width: float, count: int) -> tuple[Figure, list[Axes]]:
    """The first over the whole width; the others side by side, or one below the other in a column."""
    below = count - 1
    if is_narrow(width):
        figure = new_figure(width, 2.0 + 1.4 * below)
        return figure, list(figure.subplots(count, 1, sharex=True, height_ratios=(1.5, *[1] * below)))
    figure = new_figure(width, 4.4)
    grid = figure.add_gridspec(2, below, height_ratios=(1.5, 1))
    return figure, [figure.add_subplot(grid[0, :]), *(figure.add_subplot(grid[1, column]) for column in range(below))]


def _draw(axis: Axes, depths: Sequence[int], values: Sequence[float], chosen: Sequence[int], shape: Look) -> None:
    for depth in chosen:
        axis.axvspan(depth - 0.5, depth + 0.5, color=SELECTED, alpha=0.25, linewidth=0)
    axis.plot(depths, values, color=shape.colour, marker=shape.marker, markerfacecolor="white", label="layers")
    marked = [value if depth in chosen else math.nan for depth, value in zip(depths, values, strict=True)]
    axis.plot(
        depths, marked, color=shape.colour, marker=shape.marker, linestyle="none", markersize=4.5, label="chosen"
    )  # fmt: skip
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
    score = described(ranking.score)
    text = f"bars: {'lowest' if score.direction == 'low' else 'highest'} {as_written(score.name)}"
    if even:
        edge = axis.get_xaxis_transform()
        axis.plot(even, [0.04] * len(even), transform=edge, color="0.35", marker="^", linestyle="none", label="even")
        text += "; triangles: evenly spread"
    return text


def _data(ranking: Ranking, scores: Sequence[Statistic]) -> Iterator[tuple[object, ...]]:
    for geometry in ranking.geometries:
        values: list[object] = []
        for score in scores:
            interval = geometry.intervals.get(score.name)
            ends = (interval.low, interval.high) if interval else (None, None)
            values += [geometry.statistics[score.name], *ends]
        yield geometry.layer.index, geometry.layer.name, *values, int(geometry.layer.name in ranking.selected)
