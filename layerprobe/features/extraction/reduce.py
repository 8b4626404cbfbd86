"""Smaller features: pooled maps, reduced tokens, random projections."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d

from layerprobe.errors import LayerprobeError
from layerprobe.records import Layer, StoredLayer
from layerprobe.records.layout import MAP

LARGEST_DIMENSION = 262_144
"""Spatial maps with more features than this are pooled where nothing else is asked for (section 3 of Cooper et al.,
arXiv 2511.14981)."""

POOLS: dict[str, Callable[..., Tensor]] = {"avg": adaptive_avg_pool2d, "max": adaptive_max_pool2d}


class Step(Protocol):
    """One thing that is done to a layer's features."""

    @property
    def text(self) -> str:
        """As the file says it."""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one image's features afterwards."""

    def __call__(self, features: Tensor) -> Tensor:
        """(batch, *before) to (batch, *after)."""


@dataclass(frozen=True)
class Pool:
    """Adaptive pooling of a map to ``height`` x ``width``."""

    kind: str
    height: int
    width: int
    channels_last: bool

    @property
    def text(self) -> str:
        """As the file says it."""
        return f"{self.kind}:{self.height}x{self.width}"

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width change, channels stay."""
        size = (self.height, self.width)
        return (*size, shape[2]) if self.channels_last else (shape[0], *size)

    def __call__(self, features: Tensor) -> Tensor:
        """Pool every image's map."""
        if self.channels_last:
            features = features.permute(0, 3, 1, 2)
        pooled: Tensor = POOLS[self.kind](features, (self.height, self.width))
        return pooled.permute(0, 2, 3, 1) if self.channels_last else pooled


@dataclass(frozen=True)
class Tokens:
    """One vector of a sequence of tokens: the class token, or the mean of those that stand for patches."""

    kind: str
    prefix: int

    @property
    def text(self) -> str:
        """As the file says it."""
        return f"tokens:{self.kind}"

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Only the channels stay."""
        return shape[1:]

    def __call__(self, features: Tensor) -> Tensor:
        """Take or average tokens."""
        return features[:, 0] if self.kind == "cls" else features[:, self.prefix :].mean(dim=1)


@dataclass(frozen=True)
class Project:
    """A very sparse random projection to ``dimension`` features (Li, Hastie and Church, KDD 2006).

    The matrix has entries 0 and +-sqrt(sqrt(D) / d), a share of 1 / sqrt(D) of them not 0. It keeps squared distances
    on average; docs/feature-file.md has the law of their error. It is the same for the same seed, layer and D.
    """

    dimension: int
    seed: int
    layer: int
    _matrices: dict[tuple[int, torch.device], Tensor] = field(default_factory=dict, compare=False, repr=False)

    @property
    def text(self) -> str:
        """As the file says it."""
        return f"sparse-projection:{self.dimension} seed {self.seed}"

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A vector."""
        return (self.dimension,)

    def __call__(self, features: Tensor) -> Tensor:
        """Flatten and project."""
        flat = features.flatten(1).float()
        key = (flat.shape[1], flat.device)
        if key not in self._matrices:
            self._matrices[key] = self.matrix(flat.shape[1]).to(flat.device)
        with torch.autocast(flat.device.type, enabled=False):  # --amp is for the network: it would round these too
            projected: Tensor = torch.sparse.mm(self._matrices[key], flat.T)
        return projected.T

    def matrix(self, dimension: int) -> Tensor:
        """The projection, sparse (d, D) float32."""
        from sklearn.random_projection import SparseRandomProjection

        seed = np.random.RandomState(np.random.SeedSequence([self.seed, self.layer]).generate_state(4))
        projection = SparseRandomProjection(self.dimension, random_state=seed)
        entries = projection.fit(np.zeros((1, dimension), np.float32)).components_.tocoo()
        indices = torch.from_numpy(np.stack([entries.row, entries.col]).astype(np.int64))
        values = torch.from_numpy(entries.data.astype(np.float32))
        return torch.sparse_coo_tensor(indices, values, entries.shape, check_invariants=True).coalesce()


@dataclass(frozen=True)
class Reduction:
    """How large features are made smaller, as the user says it.

    Attributes:
        pool: ``avg:H`` or ``max:H``: maps larger than H x H are pooled to it, whatever their size; a folded layer's
            parts, tokens and channels are no map. None: maps of more than ``LARGEST_DIMENSION`` features are averaged
            down to that, unless ``project`` is given.
        tokens: of the tokens of transformer layers, ``cls``, ``mean`` (of the patch tokens) or ``all``.
        project: layers of more features than this are projected to so many.
        seed: of the projection.
    """

    pool: str | None = None
    tokens: str = "all"
    project: int | None = None
    seed: int = 0


def plan_steps(layer: Layer, reduction: Reduction) -> tuple[Step, ...]:
    """What is done to one layer's features.

    Raises:
        LayerprobeError: if the class token is wanted of a layer that has tokens, but none for the class.
    """
    steps: list[Step] = []
    shape = layer.shape
    if len(shape) == 2 and reduction.tokens != "all":
        steps.append(_tokens(layer, reduction.tokens))
    elif len(shape) == 3:
        steps += _pool(layer, reduction)
    for step in steps:
        shape = step.shape(shape)
    if reduction.project is not None and math.prod(shape) > reduction.project:
        steps.append(Project(reduction.project, reduction.seed, layer.index))
    return tuple(steps)


def _tokens(layer: Layer, kind: str) -> Step:
    if kind == "cls" and not layer.layout.class_token and layer.shape[0] != 1:
        raise LayerprobeError(
            f"--tokens cls: layer {layer.name!r} ({layer.shape[0]} tokens) has no class token; "
            "use --tokens mean, or choose other --layers"
        )
    return Tokens(kind, layer.layout.prefix)


def _pool(layer: Layer, reduction: Reduction) -> list[Step]:
    shape, last = layer.shape, layer.layout.channels_last
    height, width, channels = shape if last else (*shape[1:], shape[0])
    if reduction.pool and _is_map(layer):
        kind, _, side = reduction.pool.partition(":")
        size = min(int(side), height), min(int(side), width)
    elif math.prod(shape) > LARGEST_DIMENSION and reduction.project is None:
        kind, most = "avg", max(1, math.isqrt(LARGEST_DIMENSION // channels))
        size = min(most, height), min(most, width)
    else:
        return []
    return [] if size == (height, width) else [Pool(kind, *size, last)]


def _is_map(layer: Layer) -> bool:
    return layer.layout.kind == MAP and not layer.folded


def plan_reduction(layers: Sequence[Layer], reduction: Reduction) -> dict[StoredLayer, tuple[Step, ...]]:
    """What the file will hold of each layer, in order, and what is done to the layer's features for it.

    Raises:
        LayerprobeError: if what is asked for fits none of the layers.
    """
    if reduction.tokens != "all" and not any(len(layer.shape) == 2 for layer in layers):
        raise LayerprobeError(f"--tokens {reduction.tokens}: none of the layers has tokens; leave it out")
    if reduction.pool and not any(map(_is_map, layers)):
        raise LayerprobeError(f"--pool {reduction.pool}: none of the layers is a map; leave it out")
    steps = [(layer, plan_steps(layer, reduction)) for layer in layers]
    return {_stored(layer, done): done for layer, done in steps}


def _stored(layer: Layer, steps: Sequence[Step]) -> StoredLayer:
    shape = layer.shape
    for step in steps:
        shape = step.shape(shape)
    return StoredLayer(layer, shape, "; ".join(step.text for step in steps))
