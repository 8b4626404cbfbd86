"""How the variance of each layer's features is shared among principal components, as a heat map over depth."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LogNorm

from layerprobe.geometry.catalogue import shown_in
from layerprobe.records import Ranking
from layerprobe.report.figures.layer_axis import name_layers
from layerprobe.report.figures.style import LINES, MAP, PAGE_WIDTH, Drawing, as_written, is_narrow, new_figure
from layerprobe.report.tables.table import data_table

_STEPS = 120
_LEAST = 1e-6
"""Shares of variance below it have the darkest colour."""


def spectra_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """Share of variance of every component, both axes from the top: colour and component logarithmic.

    Lines are numbers of components: how many hold 90 % of the variance, and the effective rank. An undefined layer
    leaves a gap.
    """
    spectra = [np.empty(0) if one.undefined else one.arrays["spectrum"].numpy() for one in ranking.geometries]
    layers = [one.layer for one in ranking.geometries]
    longest = max(map(len, spectra))
    components = np.unique(np.geomspace(1, longest, _STEPS).round().astype(int))
    shares = np.full((len(components), len(spectra)), np.nan)
    for column, spectrum in enumerate(spectra):
        inside = components <= len(spectrum)
        shares[inside, column] = spectrum[components[inside] - 1]
    figure = new_figure(width, 3.0 if is_narrow(width) else 3.4)
    axis = figure.subplots()
    edges = np.concatenate([components - 0.5, [components[-1] + 0.5]])
    depths = np.array([layer.index for layer in layers])
    mesh = axis.pcolormesh(
        _edges(depths), edges, np.maximum(shares, _LEAST), norm=LogNorm(_LEAST, 1), cmap=MAP, rasterized=True
    )
    for statistic, line in zip(shown_in("spectra"), LINES, strict=False):
        values = [one.statistics[statistic.name] for one in ranking.geometries]
        axis.plot(depths, values, color="white", linestyle=line, linewidth=1.2, label=statistic.label)
    axis.set_yscale("log")
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.set_ylabel("principal component")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.legend(loc="upper left", labelcolor="white", facecolor="0.2", frameon=True, framealpha=0.9, edgecolor="none")
    figure.colorbar(mesh, ax=axis, label="share of variance", pad=0.02)
    name_layers(axis, layers, ranking.selected)
    axis.set_title(as_written(str(ranking.provenance.get("model", ""))), loc="left")
    rows = (
        (layer.index, layer.name, int(component), float(shares[row, column]))
        for column, layer in enumerate(layers)
        for row, component in enumerate(components)
        if not np.isnan(shares[row, column])
    )
    return Drawing(figure, data_table("spectra", ("index", "layer", "component", "share_of_variance"), rows))


def _edges(depths: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Borders between the layers; a gap in the indices becomes wider columns."""
    middles = (depths[1:] + depths[:-1]) / 2
    return np.concatenate([[depths[0] - 0.5], middles, [depths[-1] + 0.5]])
