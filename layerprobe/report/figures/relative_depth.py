"""Several networks' scores against relative depth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from layerprobe.geometry.catalogue import UNMEASURED, described, shown_in
from layerprobe.records import Ranking
from layerprobe.report.figures.style import (
    COLOURS,
    LINES,
    MARKERS,
    PAGE_WIDTH,
    Drawing,
    as_written,
    is_narrow,
    new_figure,
)
from layerprobe.report.tables.ranking import describe_sample
from layerprobe.report.tables.table import data_table


def relative_depth_figure(rankings: Sequence[Ranking], width: float = PAGE_WIDTH) -> Drawing:
    """The score that layers were chosen by, a line per network, from its first layer (0) to its last (1).

    Where layers were chosen by their depth, Q is drawn. Chosen layers have filled markers; bands are intervals.
    """
    by = described(rankings[0].score)
    score = (by if by.family != UNMEASURED else shown_in("quality")[-1]).name
    figure = new_figure(width, 2.9)
    axis = figure.subplots()
    for number, ranking in enumerate(rankings):
        look = number % len(COLOURS)
        depths = [geometry.statistics["depth"] for geometry in ranking.geometries]
        values = [geometry.statistics[score] for geometry in ranking.geometries]
        label = f"{ranking.provenance.get('model', '?')}: {describe_sample(ranking)}"
        axis.plot(
            depths, values, color=COLOURS[look], linestyle=LINES[look], marker=MARKERS[look], markerfacecolor="white",
            label=as_written(label),
        )  # fmt: skip
        marked = [v if g.layer.name in ranking.selected else math.nan for v, g in zip(values, ranking.geometries)]  # noqa: B905
        axis.plot(depths, marked, color=COLOURS[look], marker=MARKERS[look], linestyle="none", markersize=4.5)
        if all(score in geometry.intervals for geometry in ranking.geometries):
            low, high = ([getattr(g.intervals[score], end) for g in ranking.geometries] for end in ("low", "high"))
            axis.fill_between(depths, low, high, color=COLOURS[look], alpha=0.18, linewidth=0)
    axis.set_xlabel("relative depth")
    axis.set_title(as_written(f"{score}; filled: chosen"), loc="left")
    figure.legend(loc="outside lower center", ncols=1 if is_narrow(width) else 2)
    columns = ("model", "layer", "relative_depth", score, "chosen")
    return Drawing(figure, data_table("scores against relative depth", columns, _data(rankings, score)))


def _data(rankings: Sequence[Ranking], score: str) -> Iterator[tuple[object, ...]]:
    for ranking in rankings:
        for geometry in ranking.geometries:
            name, chosen = geometry.layer.name, int(geometry.layer.name in ranking.selected)
            yield (
                ranking.provenance.get("model"), name, geometry.statistics["depth"], geometry.statistics[score], chosen,
            )  # fmt: skip
