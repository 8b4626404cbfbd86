"""Several networks' scores against relative depth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from layerprobe.geometry.catalogue import UNMEASURED, described, shown_in
from layerprobe.records import Ranking
from layerprobe.report.figures.labels import begin_sentence, fitted
from layerprobe.report.figures.looks import Look, look
from layerprobe.report.figures.panels import add_legend
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing, new_figure
from layerprobe.report.tables.ranking import describe_sample, different_samples
from layerprobe.report.tables.table import data_table


def relative_depth_figure(rankings: Sequence[Ranking], width: float = PAGE_WIDTH) -> Drawing:
    """The score that layers were chosen by, a line per network, from its first layer (0) to its last (1).

    Where layers were chosen by their depth, Q is drawn. Chosen layers have filled markers; bands are intervals.
    Networks with samples of different sizes, whose scores can't be compared, have the samples beside their names.
    """
    by = described(rankings[0].score)
    score = by if by.family != UNMEASURED else shown_in("quality")[-1]
    figure = new_figure(width, 2.2)
    axis = figure.subplots()
    apart = different_samples(rankings) is not None
    entries: dict[str, Any] = {}
    for number, ranking in enumerate(rankings):
        name = str(ranking.provenance.get("model", "?"))
        label = f"{name}: {describe_sample(ranking)}" if apart else name
        label = f"{label} ({number + 1})" if label in entries else label  # two files of one network
        entries[label] = _curve(axis, ranking, score.name, look(number))
    grey = {"color": "0.35", "marker": "o", "linestyle": "none"}
    entries |= {"chosen layer": Line2D([], [], markersize=4.5, **grey)}  # type: ignore[arg-type]
    axis.set_xlabel("relative depth: 0 is the first layer, 1 the last")
    axis.set_ylabel(fitted(score.title, 1.5, "axes.labelsize", lines=2))
    add_legend(figure, entries)
    columns = ("model", "layer", "relative_depth", score.name, "chosen")
    data = data_table("scores against relative depth", columns, _data(rankings, score.name))
    return Drawing(figure, data, _caption(rankings, score.title))


def _curve(axis: Axes, ranking: Ranking, score: str, shape: Look) -> Line2D:
    depths = [geometry.statistics["depth"] for geometry in ranking.geometries]
    values = [geometry.statistics[score] for geometry in ranking.geometries]
    (line,) = axis.plot(
        depths, values, color=shape.colour, linestyle=shape.line, marker=shape.marker, markerfacecolor="white",
    )  # fmt: skip
    marked = [v if g.layer.name in ranking.selected else math.nan for v, g in zip(values, ranking.geometries)]  # noqa: B905
    axis.plot(depths, marked, color=shape.colour, marker=shape.marker, linestyle="none", markersize=4.5)
    if all(score in geometry.intervals for geometry in ranking.geometries):
        low, high = ([getattr(g.intervals[score], end) for g in ranking.geometries] for end in ("low", "high"))
        axis.fill_between(depths, low, high, color=shape.colour, alpha=0.2, linewidth=0)
    return line


def _caption(rankings: Sequence[Ranking], title: str) -> str:
    samples = dict.fromkeys(describe_sample(ranking) for ranking in rankings)
    levels = {ranking.provenance["level"] for ranking in rankings if "resamples" in ranking.provenance}
    bands = f" Bands are {100 * levels.pop():g} % intervals." if len(levels) == 1 else ""
    return (
        f"{begin_sentence(title)} of the layers of {len(rankings)} networks, from the first to the last. "
        f"Filled markers: the chosen layers.{bands} Images: {'; '.join(samples)}."
    )


def _data(rankings: Sequence[Ranking], score: str) -> Iterator[tuple[object, ...]]:
    for ranking in rankings:
        for geometry in ranking.geometries:
            name, chosen = geometry.layer.name, int(geometry.layer.name in ranking.selected)
            yield (
                ranking.provenance.get("model"), name, geometry.statistics["depth"], geometry.statistics[score], chosen,
            )  # fmt: skip
