"""Intrinsic and linear dimension against depth."""

from __future__ import annotations

from layerprobe.records import NetworkGeometry
from layerprobe.report.figures.layer_axis import name_layers
from layerprobe.report.figures.style import (
    COLOURS,
    LINES,
    MARKERS,
    PAGE_WIDTH,
    SELECTED,
    Drawing,
    is_narrow,
    new_figure,
)
from layerprobe.report.tables.table import data_table

CURVES = {
    "pca_95": "PCA, 95 %",
    "pca_90": "PCA, 90 %",
    "effective_rank": "effective rank",
    "participation_ratio": "participation ratio",
    "twonn": "TwoNN",
    "mle": "maximum likelihood",
}


def dimensions_figure(geometry: NetworkGeometry, width: float = PAGE_WIDTH) -> Drawing:
    """Six estimates of how many dimensions each layer's features have, on a logarithmic scale."""
    layers = [one.layer for one in geometry.measurements]
    depths = [layer.index for layer in layers]
    figure = new_figure(width, 3.6 if is_narrow(width) else 3.0)
    axis = figure.subplots()
    for layer in layers:
        if layer.name in geometry.ranking.selected:
            axis.axvspan(layer.index - 0.5, layer.index + 0.5, color=SELECTED, alpha=0.25, linewidth=0)
    for number, (name, label) in enumerate(CURVES.items()):
        values = [one.numbers[name] for one in geometry.measurements]
        axis.plot(depths, values, color=COLOURS[number], linestyle=LINES[number], marker=MARKERS[number], label=label)
    axis.set_yscale("log")
    axis.set_ylabel("dimension")
    axis.margins(x=0.015)
    name_layers(axis, layers, geometry.ranking.selected)
    figure.legend(loc="outside upper center", ncols=2 if is_narrow(width) else 6, columnspacing=1.2, handlelength=2.6)
    rows = ((one.layer.index, one.layer.name, *(one.numbers[name] for name in CURVES)) for one in geometry.measurements)
    return Drawing(figure, data_table("dimensions against depth", ("index", "layer", *CURVES), rows))
