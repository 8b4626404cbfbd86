"""How far apart images of one class lie, and images of different classes, in the chosen layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layerprobe.records import LayerGeometry, Ranking
from layerprobe.report.figures.style import COLOURS, PAGE_WIDTH, Drawing, as_written, is_narrow, new_figure
from layerprobe.report.tables.table import data_table

LONGEST = 2.0
"""The histograms' end, in units of the root mean square distance."""


def distances_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """A panel per chosen layer: the less the two histograms overlap, the further the classes are apart."""
    chosen = ranking.chosen
    across = min(len(chosen), 2 if is_narrow(width) else 4)
    down = -(-len(chosen) // across)
    figure = new_figure(width, 1.55 * down + 0.4)
    axes = figure.subplots(down, across, sharex=True, squeeze=False).flatten()
    rows: list[tuple[object, ...]] = []
    for axis, one in zip(axes, chosen, strict=False):
        within, between = (one.arrays[f"{kind}_classes"].numpy() for kind in ("within", "between"))
        edges = np.linspace(0, LONGEST, len(within) + 1)
        axis.stairs(within, edges, fill=True, color=COLOURS[1], alpha=0.45, label="same class")
        axis.stairs(within, edges, color=COLOURS[1])
        axis.stairs(between, edges, color=COLOURS[0], linestyle="--", linewidth=1.2, label="different classes")
        axis.set_title(as_written(one.layer.name), loc="left")
        axis.set_yticks([])
        axis.set_xlim(*_span(chosen))
        rows += [
            (one.layer.name, float(left), float(right), float(same), float(other))
            for left, right, same, other in zip(edges, edges[1:], within, between, strict=False)
        ]
    for axis in axes[len(chosen) :]:
        axis.set_visible(False)
    for axis in axes[: len(chosen)][-across:]:
        axis.set_xlabel("distance / r.m.s.")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    columns = ("layer", "from", "to", "within_classes", "between_classes")
    return Drawing(figure, data_table("shares of pairs by distance", columns, rows))


def _span(layers: Sequence[LayerGeometry]) -> tuple[float, float]:
    """The distances that matter: all bins that hold more than a thousandth of the pairs of some panel."""
    shares = np.stack([one.arrays[kind].numpy() for one in layers for kind in ("within_classes", "between_classes")])
    used = np.flatnonzero((shares > 1e-3).any(axis=0))
    width = LONGEST / shares.shape[1]
    return (used[0] * width, (used[-1] + 1) * width) if len(used) else (0, LONGEST)
