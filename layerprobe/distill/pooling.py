"""One vector of each image from a layer's features: maps averaged, of tokens the class token or the mean of patches."""

from __future__ import annotations

import torch
from torch import Tensor

from layerprobe.distill.spatial import channels, channels_first
from layerprobe.records import layout_of
from layerprobe.records.layout import VECTOR
from layerprobe.settings.base import SettingsError

CLASS, MEAN, BOTH = "cls", "mean", "both"
"""What stands for the tokens of an image: the class token, the mean of the patch tokens, or one behind the other."""


class Pooling:
    """Turns a layer's features into one float32 vector of each image.

    Maps are averaged over their positions, and vectors stay. Of tokens the class token is taken where there is one, and
    otherwise the mean of the patch tokens; registers are left out.

    Args:
        shape: of the features for one image; it may know how they are laid out.
        tokens: ``cls``, ``mean`` or ``both``; None: ``cls`` where there is a class token, else ``mean``.
        name: of the layer, for messages.

    Attributes:
        dimension: length of the vector.
        tokens: what stands for the tokens of an image; empty where the layer has none.

    Raises:
        SettingsError: if the class token is wanted of tokens without one.
    """

    def __init__(self, shape: tuple[int, ...], tokens: str | None = None, name: str = "") -> None:
        self.shape, self.layout = shape, layout_of(shape)
        has_class = self.layout.class_token
        alone = self.layout.is_tokens and self.layout.positions == 1  # as in CaiT's last blocks
        if tokens in (CLASS, BOTH) and self.layout.is_tokens and not (has_class or alone):
            raise SettingsError(
                f"<tokens> {tokens}: the {self.layout.positions} tokens of layer {name!r} have no class token; "
                "take <tokens> mean, or other <layers>"
            )
        self.tokens = (tokens or (CLASS if has_class else MEAN)) if self.layout.is_tokens else ""
        if alone:
            self.tokens = MEAN
        self.dimension = channels(shape) * (2 if self.tokens == BOTH else 1)

    def __call__(self, features: Tensor) -> Tensor:
        """(batch, *shape) to (batch, dimension) float32."""
        if self.layout.kind == VECTOR:
            return features.float()
        places = channels_first(features.float(), self.shape).flatten(2)
        if not self.tokens:
            return places.mean(dim=2)
        first, patches = places[:, :, 0], places[:, :, self.layout.prefix :].mean(dim=2)
        return {CLASS: first, MEAN: patches, BOTH: torch.cat([first, patches], dim=1)}[self.tokens]
