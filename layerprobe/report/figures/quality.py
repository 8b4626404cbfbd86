"""The scores against depth, the chosen layers marked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from layerprobe.geometry.catalogue import CLUSTERS, UNMEASURED, Statistic, described, members, shown_in
from layerprobe.records import Ranking
from layerprobe.report.figures.labels import begin_sentence, fitted
from layerprobe.report.figures.layer_axis import name_layers, names_room
from layerprobe.report.figures.looks import SELECTED, Look, statistic_look
from layerprobe.report.figures.panels import add_legend
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing, is_narrow, new_figure
from layerprobe.report.tables.ranking import describe_sample, network_name
from layerprobe.report.tables.table import data_table


def panel_scores(ranking: Ranking) -> tuple[Statistic, ...]:
    """The scores of the panels: first the one that is made of the others, which follow.

    Layers that were chosen by another score have a panel for it, the last one. Of images without labels it is the only
    one, since the others need classes, unless the scores of clusters were measured: they take the others' place.
    """
    known = _measured(shown_in("quality"), ranking) or _measured(members(CLUSTERS), ranking)
    own = described(ranking.score)
    return known if own in known or (known and own.family == UNMEASURED) else (*known, own)


def _measured(scores: Sequence[Statistic], ranking: Ranking) -> tuple[Statistic, ...]:
    """The last of the scores first, then the others, as far as the layers have them."""
    *parts, whole = scores
    return tuple(one for one in (whole, *parts) if all(one.name in found.statistics for found in ranking.geometries))


def quality_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """Q above, with S, I and E below, and the score that layers were chosen by, against the layers in order of depth.

    The chosen layers have a bar through every panel and a filled marker, the evenly spread ones a triangle below the
    curve; intervals are a band around it. A value that is NaN leaves a gap.
    """
    layers = [geometry.layer for geometry in ranking.geometries]
    chosen = [layer.index for layer in layers if layer.name in ranking.selected]
    scores = panel_scores(ranking)
    narrow = is_narrow(width)
    figure, axes = _panels(width, len(scores), names_room(layers))
    entries: dict[str, Any] = {}
    for axis, score in zip(axes, scores, strict=True):
        values = [geometry.statistics[score.name] for geometry in ranking.geometries]
        shape = statistic_look(score.name)
        entries |= _draw(axis, [layer.index for layer in layers], values, chosen, shape, _chosen_words(ranking))
        entries |= _band(axis, ranking, score.name, shape.colour)
        axis.set_ylabel(fitted(score.title, 1.4 if axis is axes[0] else 1.05, "axes.labelsize", lines=2))
    words = name_layers(axes[-1 if narrow else 0], layers, ranking.selected, width - 0.6)
    axes[-1 if narrow else 0].set_xlabel(words)
    for axis in [] if narrow else axes[1:]:
        axis.set_xlabel("layer index")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    entries |= _mark_evenly_spread(axes[0], ranking)
    add_legend(figure, entries)
    figure.align_ylabels(axes if narrow else axes[:2])
    ends = ("", "_low", "_high")
    columns = ("index", "layer", *(f"{score.name}{end}" for score in scores for end in ends), "chosen")
    data = data_table("scores against depth", columns, _data(ranking, scores))
    return Drawing(figure, data, _caption(ranking, scores))


def _panels(width: float, count: int, room: float) -> tuple[Figure, list[Axes]]:
    """The first over the whole width; the others side by side, or one below the other in a column."""
    below = count - 1
    if not below:
        figure = new_figure(width, 2.2 + room)
        return figure, [figure.subplots()]
    if is_narrow(width):
        figure = new_figure(width, 1.5 + 1.1 * below + room)
        return figure, list(figure.subplots(count, 1, sharex=True, height_ratios=(1.4, *[1] * below)))
    figure = new_figure(width, 3.2 + room)
    grid = figure.add_gridspec(2, below, height_ratios=(1.4, 1))
    return figure, [figure.add_subplot(grid[0, :]), *(figure.add_subplot(grid[1, column]) for column in range(below))]


def _draw(
    axis: Axes, depths: Sequence[int], values: Sequence[float], chosen: Sequence[int], shape: Look, words: str
) -> dict[str, Any]:
    bars = [axis.axvspan(depth - 0.5, depth + 0.5, color=SELECTED, linewidth=0, zorder=0) for depth in chosen]
    axis.plot(depths, values, color=shape.colour, marker=shape.marker, markerfacecolor="white", label="layers")
    marked = [value if depth in chosen else math.nan for depth, value in zip(depths, values, strict=True)]
    axis.plot(
        depths, marked, color=shape.colour, marker=shape.marker, linestyle="none", markersize=4.5, label="chosen"
    )  # fmt: skip
    axis.margins(x=0.015)
    mark = Line2D([], [], color="0.35", marker="o", markersize=4.5, linestyle="none")
    return {words: (bars[0], mark)} if bars else {}


def _band(axis: Axes, ranking: Ranking, score: str, colour: str) -> dict[str, Any]:
    """The intervals of the layers that have one."""
    ends = [(g.layer.index, g.intervals[score]) for g in ranking.geometries if score in g.intervals]
    if not ends:
        return {}
    depths, intervals = zip(*ends, strict=True)
    lows, highs = [one.low for one in intervals], [one.high for one in intervals]
    axis.fill_between(depths, lows, highs, color=colour, alpha=0.25, linewidth=0, label="interval")
    level = ranking.provenance.get("level")
    return {f"{100 * level:g} % interval" if level else "interval": Patch(color="0.35", alpha=0.3, linewidth=0)}


def _mark_evenly_spread(axis: Axes, ranking: Ranking) -> dict[str, Any]:
    """Triangles at the lower edge."""
    even = [geometry.layer.index for geometry in ranking.geometries if geometry.layer.name in ranking.evenly_spread]
    if not even:
        return {}
    edge = axis.get_xaxis_transform()
    (marks,) = axis.plot(
        even, [0.04] * len(even), transform=edge, color="0.35", marker="^", linestyle="none", label="even"
    )  # fmt: skip
    return {"evenly spread layers, for contrast": marks}


def _chosen_words(ranking: Ranking) -> str:
    score = described(ranking.score)
    count = len(ranking.selected)
    layers = f"{count} layers" if count > 1 else "layer"
    return f"the {layers} of {'lowest' if score.direction == 'low' else 'highest'} {score.name}"


def _caption(ranking: Ranking, scores: Sequence[Statistic]) -> str:
    titles = [score.title for score in scores]
    shown = f"{', '.join(titles[:-1])} and {titles[-1]}"
    bands = (
        f" Bands are {100 * ranking.provenance['level']:g} % intervals." if "resamples" in ranking.provenance else ""
    )
    even = " Triangles: as many evenly spread layers." if ranking.evenly_spread else ""
    return (
        f"{begin_sentence(shown)} of every layer of {network_name(ranking)}. Shaded, with filled "
        f"markers: {_chosen_words(ranking)}.{bands}{even} {describe_sample(ranking)}."
    )


def _data(ranking: Ranking, scores: Sequence[Statistic]) -> Iterator[tuple[object, ...]]:
    for geometry in ranking.geometries:
        values: list[object] = []
        for score in scores:
            interval = geometry.intervals.get(score.name)
            ends = (interval.low, interval.high) if interval else (None, None)
            values += [geometry.statistics[score.name], *ends]
        yield geometry.layer.index, geometry.layer.name, *values, int(geometry.layer.name in ranking.selected)
