"""Intrinsic and linear dimension against depth."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes

from layerprobe.geometry.catalogue import shown_in
from layerprobe.records import Ranking
from layerprobe.report.figures.layer_axis import name_layers, names_room
from layerprobe.report.figures.log_axis import label_plainly
from layerprobe.report.figures.looks import SELECTED, statistic_look
from layerprobe.report.figures.panels import add_legend
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing, is_narrow, new_figure
from layerprobe.report.tables.ranking import describe_sample, network_name
from layerprobe.report.tables.table import data_table


def dimensions_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """Estimates of how many dimensions each layer's features have, on a logarithmic scale.

    A step line, with a shade above it, is the most that a linear dimension can be: min(n - 1, D) of n images with D
    features each. Estimates near it tell of the sample, not of the layer.
    """
    curves = shown_in("dimensions")
    layers = [one.layer for one in ranking.geometries]
    depths = [layer.index for layer in layers]
    figure = new_figure(width, (2.4 if is_narrow(width) else 2.2) + names_room(layers))
    axis = figure.subplots()
    entries: dict[str, Any] = {}
    for one in ranking.chosen:
        bar = axis.axvspan(one.layer.index - 0.5, one.layer.index + 0.5, color=SELECTED, linewidth=0, zorder=0)
        entries["chosen layer"] = bar
    for curve in curves:
        values = [one.statistics[curve.name] for one in ranking.geometries]
        shape = statistic_look(curve.name)
        (entries[curve.label],) = axis.plot(
            depths, values, color=shape.colour, linestyle=shape.line, marker=shape.marker, label=curve.label
        )  # fmt: skip
    axis.set_yscale("log")
    axis.margins(x=0.015)
    entries |= _limit(axis, ranking)
    label_plainly(axis.yaxis)
    axis.set_ylabel("estimated dimension")
    axis.set_xlabel(name_layers(axis, layers, ranking.selected, width - 0.6))
    add_legend(figure, entries)
    names = tuple(curve.name for curve in curves)
    columns = ("index", "layer", *names, "limit")
    limits = _limits(ranking)
    rows = (
        (one.layer.index, one.layer.name, *(one.statistics[name] for name in names), limit)
        for one, limit in zip(ranking.geometries, limits, strict=True)
    )
    caption = (
        f"Estimates of the dimension of every layer's features in {network_name(ranking)}. Grey: more than the linear "
        "ones (all but TwoNN and maximum likelihood) can be, min(n - 1, D) of n images with D features each. "
        f"{describe_sample(ranking)}."
    )
    return Drawing(figure, data_table("dimensions against depth", columns, rows), caption)


def _limits(ranking: Ranking) -> list[float]:
    """Of every layer the most that a linear dimension can be; NaN where the images were not counted."""
    images = ranking.provenance.get("rows")
    return [min(images - 1, one.statistics["dimension"]) if images else math.nan for one in ranking.geometries]


def _limit(axis: Axes, ranking: Ranking) -> dict[str, Any]:
    """The limit as a step from layer to layer; everything above it is shaded."""
    limits, depths = _limits(ranking), [one.layer.index for one in ranking.geometries]
    if math.isnan(limits[0]):
        return {}
    low, high = axis.get_ylim()
    high = max(high, 1.5 * max(limits))
    edges = [depth + side for depth in depths for side in (-0.5, 0.5)]
    steps = [limit for limit in limits for _ in range(2)]
    axis.fill_between(edges, steps, high, color="0.88", linewidth=0, zorder=0.5)
    (line,) = axis.plot(edges, steps, color="0.35", linewidth=0.8, label="limit")
    axis.set_ylim(low, high)
    axis.set_xlim(edges[0], edges[-1])
    return {f"limit: n \N{MINUS SIGN} 1 = {ranking.provenance['rows'] - 1}, or D": line}
