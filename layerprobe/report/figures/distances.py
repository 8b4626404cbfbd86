"""How far apart images of one class lie, and images of different classes, in the chosen layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerprobe.records import LayerGeometry, Ranking
from layerprobe.report.figures.labels import fitted
from layerprobe.report.figures.looks import COLOURS
from layerprobe.report.figures.panels import add_legend, panels
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing
from layerprobe.report.tables.ranking import describe_sample, network_name
from layerprobe.report.tables.table import data_table

LONGEST = 2.0
"""The histograms' end, in units of the root mean square distance."""


def distances_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """A panel per chosen layer: the less the two histograms overlap, the further the classes are apart."""
    chosen = ranking.chosen
    page = panels(len(chosen), width, 1.55, across=4, narrow_across=2)
    rows: list[tuple[object, ...]] = []
    for axis, one in zip(page.axes, chosen, strict=True):
        within, between = (one.arrays[f"{kind}_classes"].numpy() for kind in ("within", "between"))
        edges = np.linspace(0, LONGEST, len(within) + 1)
        filled = axis.stairs(within, edges, fill=True, color=COLOURS[1], alpha=0.45, label="same class")
        axis.stairs(within, edges, color=COLOURS[1])
        line = axis.stairs(between, edges, color=COLOURS[0], linestyle="--", linewidth=1.2, label="different classes")
        axis.set_title(fitted(one.layer.name, page.width, "axes.titlesize"), loc="left")
        axis.set_yticks([])
        axis.set_xlim(*_span(chosen))
        axis.set_xlabel("feature distance of two\nimages / r.m.s. distance")
        rows += [
            (one.layer.name, float(left), float(right), float(same), float(other))
            for left, right, same, other in zip(edges, edges[1:], within, between, strict=False)
        ]
    for axis in page.left:
        axis.set_ylabel("share of pairs")
    add_legend(page.figure, {"two images of the same class": filled, "of different classes": line})
    columns = ("layer", "from", "to", "within_classes", "between_classes")
    caption = (
        f"Distances between the features of two images in the chosen layers of {network_name(ranking)}, in units of "
        "their root mean square: shares of all pairs of one class, and of all pairs of different classes. "
        f"{describe_sample(ranking)}."
    )
    return Drawing(page.figure, data_table("shares of pairs by distance", columns, rows), caption)


def _span(layers: Sequence[LayerGeometry]) -> tuple[float, float]:
    """The distances that matter: all bins that hold more than a thousandth of the pairs of some panel."""
    shares = np.stack([one.arrays[kind].numpy() for one in layers for kind in ("within_classes", "between_classes")])
    used = np.flatnonzero((shares > 1e-3).any(axis=0))
    width = LONGEST / shares.shape[1]
    return (used[0] * width, (used[-1] + 1) * width) if len(used) else (0, LONGEST)
