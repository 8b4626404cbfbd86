"""How the scores move with the number of images per class."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.ticker import FixedLocator, NullLocator

from layerprobe.records import NetworkGeometry
from layerprobe.report.figures.style import COLOURS, LINES, MARKERS, PAGE_WIDTH, Drawing, is_narrow, new_figure
from layerprobe.report.tables.table import data_table

PANELS = {
    "quality": "quality Q",
    "information": "information I",
    "separation": "separation S",
    "quality_normalised": "normalised quality",
    "information_normalised": "normalised information",
    "efficiency": "efficiency E",
}


def sizes_figure(geometry: NetworkGeometry, width: float = PAGE_WIDTH) -> Drawing:
    """A line per layer, the chosen ones coloured: means over five draws, with a band from the least to the largest."""
    narrow = is_narrow(width)
    figure = new_figure(width, 5.4 if narrow else 3.8)
    axes = figure.subplots(3 if narrow else 2, 2 if narrow else 3, sharex=True).flatten()
    chosen = [one.layer.name for one in geometry.measurements if one.layer.name in geometry.ranking.selected]
    for axis, (score, title) in zip(axes, PANELS.items(), strict=True):
        for one in geometry.measurements:
            values = one.arrays[f"at sizes {score}"]
            mean = values.mean(dim=1).tolist()
            if one.layer.name not in chosen:
                axis.plot(geometry.sizes, mean, color="0.8", linewidth=0.6, zorder=1)
                continue
            number = chosen.index(one.layer.name)
            look = number % len(COLOURS)
            low, high = values.amin(dim=1).tolist(), values.amax(dim=1).tolist()
            axis.fill_between(geometry.sizes, low, high, color=COLOURS[look], alpha=0.18, linewidth=0)
            axis.plot(
                geometry.sizes, mean, color=COLOURS[look], linestyle=LINES[look], marker=MARKERS[look],
                label=one.layer.name,
            )  # fmt: skip
        axis.set_title(title, loc="left")
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(FixedLocator(list(geometry.sizes)))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter("{x:g}")
    for axis in axes[-2 if narrow else -3 :]:
        axis.set_xlabel("images per class")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2 if narrow else 6)
    columns = ("index", "layer", "score", "images_per_class", "draw", "value")
    return Drawing(figure, data_table("scores against sample size", columns, _data(geometry)))


def _data(geometry: NetworkGeometry) -> Iterator[tuple[object, ...]]:
    for one in geometry.measurements:
        for score in PANELS:
            for size, draws in zip(geometry.sizes, one.arrays[f"at sizes {score}"].tolist(), strict=True):
                for draw, value in enumerate(draws):
                    yield one.layer.index, one.layer.name, score, size, draw, value
