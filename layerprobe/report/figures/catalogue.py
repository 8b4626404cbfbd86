"""The figures of a ranked network, by name, and what must be measured to draw them; without PyTorch and matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layerprobe.catalogue import Catalogue, Entry
from layerprobe.geometry.catalogue import ALWAYS, STATISTICS, UNMEASURED, members, needs_classes, shown_in
from layerprobe.records import Ranking

_HERE = "layerprobe.report.figures"
ALL = "all"
"""Stands for every figure."""


@dataclass(frozen=True)
class Figure(Entry):
    """A figure of one network. ``target`` is a function of a ``Ranking`` and a width in inches: it gives a ``Drawing``.

    Attributes:
        families: of statistics that it shows, beside those that name it among their figures.
        views: that it shows, names in ``layerprobe.geometry.catalogue.VIEWS``.
        similarity: whether it shows how alike the layers are.
        sizes: whether it shows scores of smaller samples.
        over_depth: whether its panels have the layers' indices as their horizontal axis.
    """

    families: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    similarity: bool = False
    sizes: bool = False
    over_depth: bool = False

    @property
    def statistics(self) -> tuple[str, ...]:
        """The families of all statistics that it shows, beside what is always measured."""
        families = dict.fromkeys((*self.families, *(entry.family for entry in shown_in(self.name))))
        return tuple(family for family in families if family not in (ALWAYS, UNMEASURED))

    def can_show(self, ranking: Ranking) -> bool:
        """Whether a ranking holds all that the figure shows; one that was read from its file holds numbers alone.

        Of images without labels no figure shows the statistics that need classes.
        """
        entries = (*(entry for family in self.families for entry in members(family)), *shown_in(self.name))
        classes = _has_classes(ranking)
        names = {entry.name for entry in entries if classes or not needs_classes(entry)}
        return (
            all(names <= one.statistics.keys() for one in ranking.geometries)
            and set(self.views) <= set(ranking.views)
            and (not self.similarity or ranking.similarity is not None)
            and (not self.sizes or bool(ranking.sizes))
        )


def _has_classes(ranking: Ranking) -> bool:
    """Whether a ranking is of images with labels: something was measured that needs classes."""
    names = {name for one in ranking.geometries for name in one.statistics}
    return any(needs_classes(STATISTICS[name]) for name in names if name in STATISTICS)


FIGURES = Catalogue(
    "figure",
    (
        Figure(
            "quality", "scores",
            "Q, S, I and E, and the score that layers were chosen by, against depth, with intervals; the chosen layers "
            "and, for contrast, the evenly spread ones",
            f"{_HERE}.quality:quality_figure", over_depth=True,
        ),
        Figure(
            "spectra", "spectra", "share of variance of every principal component, as a heat map over depth",
            f"{_HERE}.spectra:spectra_figure", views=("spectrum",), over_depth=True,
        ),
        Figure(
            "dimensions", "dimensions", "estimates of intrinsic and linear dimension against depth",
            f"{_HERE}.dimensions:dimensions_figure", over_depth=True,
        ),
        Figure(
            "cka", "similarity", "similarity of the layers with each other: linear CKA",
            f"{_HERE}.similarity:own_similarity_figure", similarity=True,
        ),
        Figure(
            "distances", "distances", "histograms of distances within and between classes, in the chosen layers",
            f"{_HERE}.distances:distances_figure", views=("distances",),
        ),
        Figure(
            "plane", "principal planes", "the images in the plane of most variance of the chosen layers",
            f"{_HERE}.plane:plane_figure", views=("plane",),
        ),
        Figure(
            "sizes", "sample sizes", "scores against images per class, with --sizes",
            f"{_HERE}.sizes:sizes_figure", sizes=True,
        ),
    ),
)  # fmt: skip
"""What ``layerprobe rank --figures`` draws."""


def chosen_figures(names: Sequence[str], sizes: bool) -> tuple[Figure, ...]:
    """The figures that are asked for, in the catalogue's order.

    Args:
        names: of figures, or ``ALL``.
        sizes: whether scores of smaller samples are measured: what shows them is drawn then, and else left out.

    Raises:
        LayerprobeError: if there is no such figure.
    """
    asked = [FIGURES.find(name).name for name in names if name != ALL]
    every = ALL in names
    return tuple(figure for figure in FIGURES.values() if (sizes if figure.sizes else every or figure.name in asked))
