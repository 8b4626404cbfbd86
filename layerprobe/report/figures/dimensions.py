"""Intrinsic and linear dimension against depth."""

from __future__ import annotations

from layerprobe.geometry.catalogue import shown_in
from layerprobe.records import Ranking
from layerprobe.report.figures.layer_axis import name_layers
from layerprobe.report.figures.style import (
    PAGE_WIDTH,
    SELECTED,
    Drawing,
    is_narrow,
    look,
    new_figure,
)
from layerprobe.report.tables.table import data_table


def dimensions_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """Estimates of how many dimensions each layer's features have, on a logarithmic scale."""
    curves = shown_in("dimensions")
    layers = [one.layer for one in ranking.geometries]
    depths = [layer.index for layer in layers]
    figure = new_figure(width, 3.6 if is_narrow(width) else 3.0)
    axis = figure.subplots()
    for one in ranking.chosen:
        axis.axvspan(one.layer.index - 0.5, one.layer.index + 0.5, color=SELECTED, alpha=0.25, linewidth=0)
    for number, curve in enumerate(curves):
        values = [one.statistics[curve.name] for one in ranking.geometries]
        shape = look(number)
        axis.plot(
            depths, values, color=shape.colour, linestyle=shape.line, marker=shape.marker, label=curve.label
        )  # fmt: skip
    axis.set_yscale("log")
    axis.set_ylabel("dimension")
    axis.margins(x=0.015)
    name_layers(axis, layers, ranking.selected)
    figure.legend(loc="outside upper center", ncols=2 if is_narrow(width) else 6, columnspacing=1.2, handlelength=2.6)
    names = tuple(curve.name for curve in curves)
    rows = ((one.layer.index, one.layer.name, *(one.statistics[name] for name in names)) for one in ranking.geometries)
    return Drawing(figure, data_table("dimensions against depth", ("index", "layer", *names), rows))
