"""Linear CKA between layers, as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from layerprobe.records import Layer, Ranking, Similarity
from layerprobe.report.figures.layer_axis import name_layers
from layerprobe.report.figures.style import COLUMN_WIDTH, MAP, PAGE_WIDTH, Drawing, as_written, new_figure
from layerprobe.report.tables.table import data_table


def _placed(layers: Sequence[Layer]) -> list[Layer]:
    """Layers at their places in the matrix: a file may hold some of a network's layers."""
    return [replace(layer, index=number) for number, layer in enumerate(layers)]


def similarity_figure(
    similarity: Similarity, width: float = COLUMN_WIDTH, debiased: bool = False, selected: Sequence[str] = ()
) -> Drawing:
    """CKA from 0 (dark) to 1 (light), the first layers at the lower left; selected layers have bold names."""
    values = (similarity.debiased if debiased else similarity.cka).numpy()
    rows, columns = values.shape
    figure = new_figure(width, min(0.9 * width * rows / columns, 8.5) + 0.3)
    axis = figure.subplots()
    image = axis.imshow(np.clip(values, 0, 1), origin="lower", vmin=0, vmax=1, cmap=MAP, aspect="auto")
    name_layers(axis, _placed(similarity.second), selected, "x")
    name_layers(axis, _placed(similarity.first), selected, "y")
    axis.grid(visible=False)
    first, second = map(as_written, similarity.names)
    if first == second:
        axis.set_title(first, loc="left")
    else:
        axis.set_ylabel(first)
        axis.set_xlabel(second)
    figure.colorbar(image, ax=axis, label=f"linear CKA{', debiased' if debiased else ''}", pad=0.02)
    data = (
        (one.name, other.name, float(similarity.cka[i, j]), float(similarity.debiased[i, j]))
        for i, one in enumerate(similarity.first)
        for j, other in enumerate(similarity.second)
    )
    return Drawing(figure, data_table("linear CKA", ("first", "second", "cka", "debiased_cka"), data))


def own_similarity_figure(ranking: Ranking, width: float = PAGE_WIDTH) -> Drawing:
    """CKA of a network's layers with each other, the names of the chosen ones in bold."""
    if ranking.similarity is None:
        raise ValueError("the similarity of the layers was not computed")
    return similarity_figure(ranking.similarity, width, selected=ranking.selected)
