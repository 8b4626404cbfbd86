"""Layers compared with each other, as a matrix: linear CKA, and neighbourhoods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from layerprobe.geometry.catalogue import CKA, MEASURES
from layerprobe.records import Comparison, Ranking, Similarity
from layerprobe.report.figures.labels import fitted
from layerprobe.report.figures.layer_axis import FONT, ROOM, name_layers, names_fit, names_room
from layerprobe.report.figures.looks import MAP
from layerprobe.report.figures.style import COLUMN_WIDTH, PAGE_WIDTH, Drawing, new_figure
from layerprobe.report.tables.layers import describe_images
from layerprobe.report.tables.ranking import describe_range
from layerprobe.report.tables.table import data_table

if TYPE_CHECKING:
    from torch import Tensor

_TALLEST = 8.5
"""Inches: no page has more."""


def similarity_figure(
    similarity: Similarity, width: float = COLUMN_WIDTH, debiased: bool = False, selected: Sequence[str] = ()
) -> Drawing:
    """CKA from 0 (dark) to 1 (light), the first layers at the lower left; selected layers have bold names."""
    kind = f"linear CKA{', debiased' if debiased else ''}"
    shown = Comparison(
        CKA,
        similarity.first,
        similarity.second,
        similarity.names,
        similarity.debiased if debiased else similarity.cka,
        similarity.provenance,
    )
    data = data_table(
        "linear CKA", ("first", "second", "cka", "debiased_cka"), _pairs(shown, similarity.cka, similarity.debiased)
    )
    return Drawing(_matrix(shown, kind, width, selected), data, _caption(shown, kind, selected))


def comparison_figure(comparison: Comparison, width: float = COLUMN_WIDTH) -> Drawing:
    """Neighbourhoods of layers compared, from 0 (dark) to 1 (light), the first layers at the lower left."""
    measure = MEASURES[comparison.measure]
    ends = (comparison.range.low, comparison.range.high) if comparison.range else ()
    names = ("first", "second", measure.name, *(f"{measure.name}_{end}" for end in ("low", "high")[: len(ends)]))
    data = data_table(measure.label, names, _pairs(comparison, comparison.values, *ends))
    caption = " ".join((_caption(comparison, f"{measure.label}, {measure.help}", ()), *describe_range(comparison)))
    return Drawing(_matrix(comparison, measure.label, width, ()), data, caption)


def _matrix(comparison: Comparison, kind: str, width: float, selected: Sequence[str]) -> Figure:
    """The matrix lies down: the network with more layers goes along x."""
    values = comparison.values.numpy()
    down, along = (comparison.first, comparison.names[0]), (comparison.second, comparison.names[1])
    if len(down[0]) > len(along[0]):
        down, along, values = along, down, values.T
    rows, columns = values.shape
    room = ROOM if names_fit(down[0], 0.3 * width) and names_fit(along[0]) else 0.0
    across = width - 0.95 - (names_room(down[0]) if room else 0.2)
    tall = min(max(across * rows / columns, 1.25 * rows * FONT / 72), _TALLEST)
    figure = new_figure(width, tall + 0.3 + (names_room(along[0]) if room else 0.2))
    axis = figure.subplots()
    image = axis.imshow(np.clip(values, 0, 1), origin="lower", vmin=0, vmax=1, cmap=MAP, aspect="auto")
    words = name_layers(axis, along[0], selected, across, "x", range(columns), room)
    name_layers(axis, down[0], selected, tall, "y", range(rows), room)
    axis.grid(visible=False)
    axis.set_xlabel(fitted(f"{words} of {along[1]}", across, "axes.labelsize", lines=2))
    axis.set_ylabel(fitted(f"{words} of {down[1]}", max(tall, 0.8), "axes.labelsize", lines=2))
    figure.colorbar(image, ax=axis, label=kind, pad=0.02)
    return figure


def _pairs(comparison: Comparison, *matrices: Tensor) -> Iterator[tuple[object, ...]]:
    for i, one in enumerate(comparison.first):
        for j, other in enumerate(comparison.second):
            yield one.name, other.name, *(float(matrix[i, j]) for matrix in matrices)


def _caption(comparison: Comparison, kind: str, selected: Sequence[str]) -> str:
    between = " and ".join(dict.fromkeys(comparison.names))
    bold = " Bold: the chosen layers." if selected else ""
    return f"Similarity of layers of {between}: {kind}, on {describe_images(dict(comparison.provenance))}.{bold}"


def own_similarity_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """CKA of a network's layers with each other, the names of the chosen ones in bold."""
    if ranking.similarity is None:
        raise ValueError("the similarity of the layers was not computed")
    return similarity_figure(ranking.similarity, width, selected=ranking.selected)
