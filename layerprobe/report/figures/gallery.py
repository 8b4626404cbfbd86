"""The figures of a ranked network by name, and what must be measured to draw them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from layerprobe.records import NetworkGeometry
from layerprobe.report.figures.dimensions import dimensions_figure
from layerprobe.report.figures.distances import distances_figure
from layerprobe.report.figures.plane import plane_figure
from layerprobe.report.figures.quality import quality_figure
from layerprobe.report.figures.similarity import similarity_figure
from layerprobe.report.figures.sizes import sizes_figure
from layerprobe.report.figures.spectra import spectra_figure
from layerprobe.report.figures.style import Drawing


@dataclass(frozen=True)
class Exhibit:
    """A figure of one network.

    Attributes:
        draw: from what was measured and a width in inches.
        families: of statistics that it shows.
        views: that it shows.
        similarity: whether it shows the layers' similarity.
        sizes: whether it shows scores of smaller samples.
    """

    draw: Callable[[NetworkGeometry, float], Drawing]
    families: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    similarity: bool = False
    sizes: bool = False


def _similarity(geometry: NetworkGeometry, width: float) -> Drawing:
    if geometry.similarity is None:
        raise ValueError("the similarity of the layers was not computed")
    return similarity_figure(geometry.similarity, width, selected=geometry.ranking.selected)


GALLERY: Mapping[str, Exhibit] = {
    "quality": Exhibit(lambda geometry, width: quality_figure(geometry.ranking, width)),
    "spectra": Exhibit(spectra_figure, families=("dimensions",)),
    "dimensions": Exhibit(dimensions_figure, families=("dimensions", "neighbours")),
    "cka": Exhibit(_similarity, similarity=True),
    "distances": Exhibit(distances_figure, views=("distances",)),
    "plane": Exhibit(plane_figure, views=("plane",)),
    "sizes": Exhibit(sizes_figure, sizes=True),
}
"""What ``layerprobe rank --figures`` draws."""
