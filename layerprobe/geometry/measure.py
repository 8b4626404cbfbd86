"""What is computed of a layer, by name: each statistic from what it declares, and shared work done once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from layerprobe.errors import LayerprobeError
from layerprobe.geometry.catalogue import ALWAYS, QUANTITIES, STATISTICS, VIEWS, Quantity, Statistic, members
from layerprobe.plugins import errors_in_one_line
from layerprobe.records import AnyGram, Gram

Values = dict[str, Tensor]
"""Numbers (0-d) and arrays by name, float64."""


class Quantities:
    """What is known of one layer, or of many parts of its sample at once, and what can be computed from it.

    ``quantities["quality"]`` computes it, and what it is made of, when it is first asked for.

    Args:
        given: by name, what is computed from; see ``GIVEN`` in ``layerprobe.geometry.catalogue``. Statistics that are
            given are taken as they are.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._values = dict(given)

    @classmethod
    def of_gram(cls, gram: AnyGram, clusters: Tensor | None = None, both_views: Gram | None = None) -> Quantities:
        """What a layer's Gram matrix says, with the clusters of its images and a second view, if there are any."""
        components = min(gram.images, gram.dimension)
        known = {"gram": gram, "labels": gram.labels, "population": gram.population, "components": components}
        return cls({**known, "clusters": clusters, "both-views": both_views})

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            entry = _entry(name)
            value = entry.load()(*(self[taken] for taken in entry.takes), **dict(entry.options))
            self._values[name] = as_number(value) if isinstance(entry, Statistic) else value
        return self._values[name]

    def numbers(self, statistics: Iterable[Statistic]) -> Values:
        """Statistics by name."""
        return {entry.name: self[entry.name] for entry in statistics}

    def view(self, name: str) -> Values:
        """What a figure draws, a name in ``VIEWS``."""
        found: Values = self[name]
        return found


def own_value(name: str, function: Callable[[Gram], Any], gram: Gram) -> float:
    """A user's own statistic of a layer.

    Args:
        name: of it, for messages.
        function: what computes it; it may give a NaN where a layer has no value.
        gram: of the layer.

    Raises:
        LayerprobeError: if the function fails, or gives anything but a number.
    """
    with errors_in_one_line(name, "a Gram matrix"):
        value = function(gram)
    number = math.inf
    if hasattr(value, "__float__") and not isinstance(value, bool):
        with suppress(TypeError, ValueError, RuntimeError, OverflowError):  # of an array with several elements
            number = float(value)
    if math.isinf(number):
        raise LayerprobeError(
            f"{name} gave {' '.join(repr(value).split()):.60}; a statistic is one finite number, or NaN"
        )
    return number


def _entry(name: str) -> Quantity:
    for catalogue in (STATISTICS, QUANTITIES, VIEWS):
        if name in catalogue:
            return catalogue[name]
    raise KeyError(name)


def as_number(value: float | Tensor) -> Tensor:
    """A number as it is kept: float64, (), or (R,) of many parts."""
    return torch.as_tensor(value, dtype=torch.float64)


def measure(gram: AnyGram, family: str = ALWAYS) -> dict[str, float]:
    """Measure one layer: its statistics by name, NaN where a value is undefined.

    Args:
        gram: of the layer.
        family: of statistics, see ``layerprobe.geometry.catalogue.STATISTICS``. ``scores`` are ``separation``,
            ``information``, ``efficiency``, ``quality`` and further scores; their parts, such as ``class-gap``;
            ``dimension`` (D); and ``self-pairs``, the term that turns separation into the released code's.

    Raises:
        LayerprobeError: if there is no such family.
    """
    return {name: float(value) for name, value in Quantities.of_gram(gram).numbers(members(family)).items()}
