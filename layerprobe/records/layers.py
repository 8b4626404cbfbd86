"""The layers of a network, as it runs and as they are stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator

from layerprobe.records.fields import Count, Name, Positive, Text
from layerprobe.records.layout import Layout, Shape, layout_of

OUTPUT = "output"
"""Stands among layers for what a network returns."""


def _kind(text: str) -> str:
    if text not in ("block", "activation", "feature"):
        raise ValueError("block, activation or feature")
    return text


@dataclass(frozen=True)
class Layer:
    """One generalized layer of a network.

    Attributes:
        index: position in execution order, from 0.
        name: dotted module path, e.g. ``layer3.6``; a later call of the same module is ``relu@2``, and
            the vector that enters the classifier ``fc`` is ``fc.input``.
        kind: ``block``, ``activation`` or ``feature`` (the flattened vector that enters the classifier).
        shape: output shape for one image, without the batch dimension; for a network in memory a ``Shape``, which knows
            the features' ``layout``.
        parameters: number of parameters used so far, this layer's included.
        folded: whether the layer sees the parts of an image as if they were images, like MobileViT's blocks; the first
            axis of ``shape`` is then the part. This is known for a network in memory, and not for a stored layer.
        batch_axis: along which axis of the network's own tensor the images lie: 1 where tokens come first, as in
            ``nn.TransformerEncoder`` by default. ``shape`` lacks that axis. This, too, is known
            only for a network in memory.
    """

    index: Count
    name: Name
    kind: Annotated[Text, AfterValidator(_kind)]
    shape: tuple[Positive, ...]
    parameters: Count
    folded: bool = field(default=False, compare=False)
    batch_axis: int = field(default=0, compare=False)

    @property
    def layout(self) -> Layout:
        """How its features lie in space; of a stored layer as far as its shape tells."""
        return layout_of(self.shape)

    def to_dict(self) -> dict[str, Any]:
        """What is stored of it as plain values, ready for JSON."""
        return {
            "index": self.index,
            "name": self.name,
            "kind": self.kind,
            "shape": list(self.shape),
            "parameters": self.parameters,
        }


def output_layer(shape: Sequence[int], layers: Sequence[Layer]) -> Layer:
    """What a network returns of an image, as if it were a layer behind all others.

    Args:
        shape: of it, such as (classes,).
        layers: of the network; where what it returns is the last of them, it is laid out like that one.
    """
    plain = tuple(shape)
    known = layers[-1].shape if layers and tuple(layers[-1].shape) == plain else Shape(plain, layout_of(plain))
    return Layer(len(layers), OUTPUT, "feature", known, 0)


def as_layer(entry: Layer) -> Layer:
    """The layer alone, of an entry of a file that says more about it."""
    return Layer(entry.index, entry.name, entry.kind, entry.shape, entry.parameters)


@dataclass(frozen=True)
class StoredLayer:
    """A layer as it is stored in a feature file.

    Attributes:
        layer: which layer, with the shape the network gave it.
        shape: stored shape of one image's features, which differs from ``layer.shape`` if they were reduced.
        reduction: what was done to the features, e.g. ``avg:64x64``; empty: nothing.
    """

    layer: Layer
    shape: tuple[int, ...]
    reduction: str = ""

    @property
    def dimension(self) -> int:
        """D, the number of stored features per image."""
        return math.prod(self.shape)


def body_layers(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """A network's blocks; of a network without any, its activations before the flattened feature."""
    blocks = tuple(layer for layer in layers if layer.kind == "block")
    if blocks:
        return blocks
    feature = next((layer.index for layer in layers if layer.kind == "feature"), len(layers))
    return tuple(layer for layer in layers if layer.kind == "activation" and layer.index < feature)
