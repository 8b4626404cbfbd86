"""How the variance of each layer's features is shared among principal components, as a heat map over depth."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patheffects import Normal, Stroke

from layerprobe.geometry.catalogue import shown_in
from layerprobe.records import Ranking
from layerprobe.report.figures.layer_axis import name_layers, names_room
from layerprobe.report.figures.log_axis import label_plainly
from layerprobe.report.figures.looks import LINES, MAP
from layerprobe.report.figures.panels import add_legend
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing, is_narrow, new_figure
from layerprobe.report.tables.ranking import describe_sample, network_name
from layerprobe.report.tables.table import data_table

Numbers: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

_STEPS = 120
_DECADES = 6
"""The colours reach at most so many decades below the largest share: smaller ones are of rounding."""


def spectra_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """Share of variance of every component, both axes from the top: colour and component logarithmic.

    Lines are numbers of components: how many hold 90 % of the variance, and the effective rank. An undefined layer
    leaves a gap. The colours reach from the smallest to the largest share that is shown.
    """
    layers = [one.layer for one in ranking.geometries]
    components, shares = _shares(ranking)
    figure = new_figure(width, (2.0 if is_narrow(width) else 2.4) + names_room(layers))
    axis = figure.subplots()
    depths = np.array([layer.index for layer in layers])
    edges = np.concatenate([[0.7], components[1:] - 0.5, [components[-1] + 0.5]])
    largest, smallest = np.nanmax(shares), np.nanmin(np.where(shares > 0, shares, np.nan))
    least = max(smallest, largest / 10**_DECADES)
    mesh = axis.pcolormesh(
        _edges(depths), edges, np.maximum(shares, least), norm=LogNorm(least, largest), cmap=MAP, rasterized=True
    )
    entries = _lines(axis, ranking)
    axis.set_yscale("log")
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.set_ylabel("principal component")
    label_plainly(axis.yaxis)
    bar = figure.colorbar(
        mesh, ax=axis, label="share of the variance", pad=0.02, extend="min" if least > smallest else "neither"
    )
    label_plainly(bar.ax.yaxis)
    axis.set_xlabel(name_layers(axis, layers, ranking.selected, width - 1.2))
    add_legend(figure, entries)
    rows = (
        (layer.index, layer.name, int(component), float(shares[row, column]))
        for column, layer in enumerate(layers)
        for row, component in enumerate(components)
        if not np.isnan(shares[row, column])
    )
    data = data_table("spectra", ("index", "layer", "component", "share_of_variance"), rows)
    caption = (
        f"Share of the variance of every principal component of the layers of {network_name(ranking)}. Bold: chosen "
        f"layers. {describe_sample(ranking)}."
    )
    return Drawing(figure, data, caption)


def _shares(ranking: Ranking) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Numbers]:
    """Of components at even distances on a logarithmic axis the share of variance in every layer; NaN: it has none."""
    spectra = [np.empty(0) if one.undefined else one.arrays["spectrum"].numpy() for one in ranking.geometries]
    components = np.unique(np.geomspace(1, max(map(len, spectra)), _STEPS).round().astype(int))
    shares = np.full((len(components), len(spectra)), np.nan)
    for column, spectrum in enumerate(spectra):
        inside = components <= len(spectrum)
        shares[inside, column] = spectrum[components[inside] - 1]
    return components, shares


def _lines(axis: Axes, ranking: Ranking) -> dict[str, Any]:
    """White lines with a dark edge, which are seen on every colour and on paper."""
    depths = [one.layer.index for one in ranking.geometries]
    entries: dict[str, Any] = {}
    for statistic, style in zip(shown_in("spectra"), LINES, strict=False):
        values = [one.statistics[statistic.name] for one in ranking.geometries]
        (entries[statistic.label],) = axis.plot(
            depths, values, color="white", linestyle=style, linewidth=1.1, label=statistic.label,
            path_effects=[Stroke(linewidth=2.3, foreground="black"), Normal()],
        )  # fmt: skip
    return entries


def _edges(depths: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Numbers:
    """Borders between the layers; a gap in the indices becomes wider columns."""
    middles = (depths[1:] + depths[:-1]) / 2
    return np.concatenate([[depths[0] - 0.5], middles, [depths[-1] + 0.5]])
