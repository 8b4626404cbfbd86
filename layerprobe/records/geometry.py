"""What is measured of the layers of a network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from layerprobe.records.fields import Defined, Share
from layerprobe.records.layers import Layer

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class AnyGram(ABC):
    """The n x n Gram matrix of one layer's features, wherever it lies, with what the statistics need beside it.

    The products are taken after the features are centred on their mean m, so that distances do not suffer
    cancellation; products of the uncentred features are restored with ``mean_products`` and ``mean_square``:
    ``<f_i, f_j> = centred_ij + mean_products_i + mean_products_j + mean_square``.

    Attributes:
        mean_products: (n,) float64, ``<f_i - m, m>``.
        mean_square: ``<m, m>``.
        squared_norms: (n,) float64, ``<f_i, f_i>``, summed directly, so that a zero is exactly zero.
        labels: (n,) int64 class labels; None: the images have none.
        dimension: D, the number of features per image.
        population: N, the number of images in the split that the sample was drawn from.
        class_blocks: of a second sample, from which the spectra of the classes are taken: for each class, in order,
            (n_c, n_c) inner products of its features centred on their mean, of any float type; None: the spectra are
            those of this sample.
    """

    mean_products: torch.Tensor
    mean_square: float
    squared_norms: torch.Tensor
    labels: torch.Tensor | None
    dimension: int
    population: int
    class_blocks: tuple[torch.Tensor, ...] | None = None

    @property
    def images(self) -> int:
        """n, the number of images."""
        return len(self.squared_norms)

    @property
    def known_labels(self) -> torch.Tensor:
        """(n,) int64 class labels.

        Raises:
            ValueError: if the images have none.
        """
        if self.labels is None:
            raise ValueError("the images have no labels")
        return self.labels

    @property
    @abstractmethod
    def squares(self) -> torch.Tensor:
        """(n,) float64, the squared lengths of the centred features."""

    @abstractmethod
    def strips(self, height: int) -> Iterator[tuple[int, torch.Tensor]]:
        """The centred products in strips of the lower triangle: the first row of each, and (height, last row + 1)."""

    @abstractmethod
    def rows(self, images: torch.Tensor) -> torch.Tensor:
        """(m, n) float64: the centred products of some images with all."""

    @abstractmethod
    def within(self, members: torch.Tensor) -> torch.Tensor:
        """(g, m, m) float64: of g whole classes of m images, (g, m), the centred products of the images of each."""


@dataclass(frozen=True, kw_only=True)
class Gram(AnyGram):
    """The Gram matrix of one layer's features, in memory.

    Attributes:
        centred: (n, n) float64, inner products of the centred features.
    """

    centred: torch.Tensor

    @property
    def squares(self) -> torch.Tensor:
        """(n,) float64, the squared lengths of the centred features."""
        return self.centred.diagonal()

    def strips(self, height: int) -> Iterator[tuple[int, torch.Tensor]]:
        """The centred products in strips of the lower triangle."""
        for start in range(0, self.images, height):
            yield start, self.centred[start : start + height, : start + height]

    def rows(self, images: torch.Tensor) -> torch.Tensor:
        """(m, n): the centred products of some images with all."""
        return self.centred[images]

    def within(self, members: torch.Tensor) -> torch.Tensor:
        """(g, m, m): the centred products of the images of each class."""
        return self.centred[members[:, :, None], members[:, None, :]]


@dataclass(frozen=True)
class Interval:
    """Where a score is expected to lie.

    Attributes:
        low: lower end.
        high: upper end.
        level: the share of samples whose interval is meant to hold the expected score, e.g. 0.9.
    """

    low: Defined
    high: Defined
    level: Share = 0.9


@dataclass(frozen=True)
class LayerGeometry:
    """What was measured of one layer.

    Attributes:
        layer: which layer.
        statistics: value by name, see ``layerprobe.geometry.catalogue``.
        intervals: of the scores that have one, by name.
        top_share: the share of resamples in which the layer is among the chosen; None: not resampled.
        undefined: why nothing could be measured: what its features hold that is not finite. Its statistics are NaN
            then. Empty: it was measured.
        arrays: what figures show, by name, float64: ``spectrum``, ``plane``, ``within_classes``, ... as the views of
            ``layerprobe.geometry.catalogue`` say; ``deviations NAME`` (R,) for every score that is resampled,
            ``at sizes NAME`` (sizes, draws) where asked for. A ranking file holds none.
    """

    layer: Layer
    statistics: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    top_share: float | None = None
    undefined: str = ""
    arrays: Mapping[str, torch.Tensor] = field(default_factory=dict, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            **self.layer.to_dict(),
            "statistics": dict(self.statistics),
            "intervals": {name: asdict(interval) for name, interval in self.intervals.items()},
            "top_share": self.top_share,
            **({"undefined": self.undefined} if self.undefined else {}),
        }


@dataclass(frozen=True, eq=False)
class Similarity:
    """Linear centred kernel alignment between the layers of one network, and those of the same or another one.

    Attributes:
        first: layers of the rows.
        second: layers of the columns.
        names: of the two networks.
        cka: (rows, columns) float64.
        debiased: the same without the bias of small samples.
        provenance: of the images: ``dataset``, ``split``, ``rows``.
    """

    first: tuple[Layer, ...]
    second: tuple[Layer, ...]
    names: tuple[str, str]
    cka: torch.Tensor
    debiased: torch.Tensor
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "first": [layer.to_dict() for layer in self.first],
            "second": [layer.to_dict() for layer in self.second],
            "names": list(self.names),
            "cka": _plain(self.cka),
            "debiased": _plain(self.debiased),
            "provenance": dict(self.provenance),
        }


@dataclass(frozen=True, eq=False)
class ValueRange:
    """Intervals for all values of a comparison.

    Attributes:
        low: (rows, columns) float64, the lower ends.
        high: the upper ends.
        level: the share of samples whose interval is meant to hold the expected value.
        resamples: how often the images were drawn again.
    """

    low: torch.Tensor
    high: torch.Tensor
    level: float
    resamples: int


@dataclass(frozen=True)
class Comparison:
    """The layers of one network compared with those of the same or another one, by their neighbourhoods.

    Attributes:
        measure: a name in ``layerprobe.geometry.catalogue.MEASURES``.
        first: layers of the rows.
        second: layers of the columns.
        names: of the two networks.
        values: (rows, columns) float64.
        provenance: of the images: ``dataset``, ``split``, ``rows``.
        range: the intervals; None: there are none.
    """

    measure: str
    first: tuple[Layer, ...]
    second: tuple[Layer, ...]
    names: tuple[str, str]
    values: torch.Tensor
    provenance: Mapping[str, Any] = field(default_factory=dict)
    range: ValueRange | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "measure": self.measure,
            "first": [layer.to_dict() for layer in self.first],
            "second": [layer.to_dict() for layer in self.second],
            "names": list(self.names),
            "values": _plain(self.values),
            "provenance": dict(self.provenance),
            **(self._plain_range(self.range) if self.range else {}),
        }

    @staticmethod
    def _plain_range(found: ValueRange) -> dict[str, Any]:
        ends = {"low": _plain(found.low), "high": _plain(found.high)}
        return {**ends, "level": found.level, "resamples": found.resamples}


def _plain(values: torch.Tensor) -> list[list[float | None]]:
    """A matrix for JSON, which has null for NaN."""
    return [[None if math.isnan(value) else value for value in row] for row in values.tolist()]
