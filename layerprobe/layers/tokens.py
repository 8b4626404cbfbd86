"""How a transformer's sequence of tokens is made up."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

_CLASS_TOKENS = ("cls_token", "class_token")


@dataclass(frozen=True)
class TokenLayout:
    """Which tokens stand for patches and which don't.

    Attributes:
        prefix: tokens before those of the patches, the class token first.
        has_class_token: whether there is one.
        aspect: height over width of the grid of patches.
    """

    prefix: int = 0
    has_class_token: bool = False
    aspect: float = 1.0

    def prefix_in(self, count: int) -> int:
        """How many of a layer's ``count`` tokens stand for no patch: ``prefix`` or, where the others form no grid, 0.

        In CaiT, for example, the class token joins only the last blocks.

        Example:
            >>> layout = TokenLayout(prefix=1, has_class_token=True)
            >>> layout.prefix_in(197), layout.prefix_in(196), layout.prefix_in(1)
            (1, 0, 1)
        """
        return self.prefix if count == self.prefix or self._is_grid(count - self.prefix) else 0

    def _is_grid(self, count: int) -> bool:
        width = round(math.sqrt(count / self.aspect)) if count > 0 else 0
        return width > 0 and math.isclose(width * width * self.aspect, count)


def token_layout(model: nn.Module, image_size: tuple[int, int]) -> TokenLayout:
    """Read a model's token layout off its attributes: timm's ``num_prefix_tokens``, or a parameter for the class token.

    Args:
        model: any image classifier.
        image_size: height and width of its input in pixels.
    """
    names = (name.rpartition(".")[2] for name, _ in model.named_parameters())
    has_class_token = any(name in _CLASS_TOKENS for name in names)
    prefix = getattr(model, "num_prefix_tokens", None)
    return TokenLayout(
        prefix=prefix if isinstance(prefix, int) else int(has_class_token),
        has_class_token=has_class_token,
        aspect=image_size[0] / image_size[1],
    )
