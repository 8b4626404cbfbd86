"""Layers with their statistics, and the ones that were chosen: the ranking file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from layerprobe.records.geometry import LayerGeometry, Similarity
from layerprobe.records.layers import body_layers

if TYPE_CHECKING:
    import torch

RANKING_FORMAT = "layerprobe-ranking"
RANKING_VERSION = 3


@dataclass(frozen=True)
class Ranking:
    """Layers with their statistics, in order of depth, and the ones that were chosen.

    Attributes:
        geometries: one per layer, in execution order.
        score: name of the statistic that the choice was made by.
        selected: names of the chosen layers, in order of depth.
        provenance: where the features came from (model, weights, data, sample), as the feature file says; and how the
            intervals were made (``resamples``, ``level``, ``seed``).
        undecided: names of layers that were not chosen, but whose score can't be told apart from the lowest that was.
        evenly_spread: names of as many layers, spread evenly over the blocks: the choice to compare with. Empty where
            there are fewer blocks.
        labels: (n,) class labels of the images; None where they have none, or the ranking was read from a file: then
            nothing of what follows is there.
        classes: class names.
        views: names of the views that the layers' arrays hold, see ``layerprobe.geometry.catalogue.VIEWS``.
        sizes: images per class that the layers' ``at sizes`` arrays stand for.
        similarity: of the layers with each other; None: not computed.
    """

    geometries: tuple[LayerGeometry, ...]
    score: str
    selected: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    undecided: tuple[str, ...] = ()
    evenly_spread: tuple[str, ...] = ()
    labels: torch.Tensor | None = field(default=None, compare=False, repr=False)
    classes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    views: tuple[str, ...] = field(default=(), compare=False, repr=False)
    sizes: tuple[int, ...] = field(default=(), compare=False, repr=False)
    similarity: Similarity | None = field(default=None, compare=False, repr=False)

    @property
    def chosen(self) -> tuple[LayerGeometry, ...]:
        """What was measured of the chosen layers."""
        return tuple(one for one in self.geometries if one.layer.name in self.selected)

    @property
    def blocks(self) -> tuple[LayerGeometry, ...]:
        """The network's blocks, as far as they were ranked, or what ``body_layers`` has for them."""
        names = {layer.name for layer in body_layers([one.layer for one in self.geometries])}
        return tuple(one for one in self.geometries if one.layer.name in names)

    @property
    def information_kept(self) -> float:
        """Information of the last block, relative to the highest of all blocks: near 0 where the end has collapsed.

        NaN where there are no blocks, the last has no value, or the images have no labels.
        """
        values = [one.statistics.get("information", math.nan) for one in self.blocks]
        known = [value for value in values if not math.isnan(value)]
        return values[-1] / max(known) if any(known) else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: the content of a ranking file."""
        return {
            "format": RANKING_FORMAT,
            "format_version": RANKING_VERSION,
            "score": self.score,
            "selected": list(self.selected),
            "undecided": list(self.undecided),
            "evenly_spread": list(self.evenly_spread),
            "provenance": dict(self.provenance),
            "layers": [geometry.to_dict() for geometry in self.geometries],
        }
