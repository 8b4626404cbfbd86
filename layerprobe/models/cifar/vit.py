"""Vision transformers that read a small image as 8x8 patches.

Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale" (ICLR 2021,
arXiv 2010.11929); the sizes are those of Cooper et al. (arXiv 2511.14981), section 4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

from layerprobe.settings.base import SettingsError

_PATCHES_PER_SIDE = 8


class TokenAveragingTransformer(VisionTransformer):  # type: ignore[misc]
    """A vision transformer whose classifier reads the mean of all tokens, the class token among them.

    The transformers of Cooper et al. (arXiv 2511.14981) are such: ``AvgTokens`` in their configurations. torchvision's
    reads the class token alone.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, height, width) images to (batch, classes) logits."""
        patches = self._process_input(x)
        tokens = torch.cat([self.class_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        logits: Tensor = self.heads(self.encoder(tokens).mean(dim=1))
        return logits


def build_vit(
    num_classes: int,
    image_size: int,
    *,
    blocks: int,
    heads: int,
    width: int,
    mlp_width: int,
    average_tokens: bool = False,
) -> nn.Module:
    """A vision transformer (arXiv 2010.11929) with patches of ``image_size / 8`` pixels.

    Args:
        num_classes: rows of the classifier.
        image_size: side of the square images in pixels, a multiple of 8; the network takes no other size.
        blocks: encoder blocks.
        heads: attention heads per block.
        width: hidden size of a token.
        mlp_width: hidden size of a block's perceptron.
        average_tokens: whether the classifier reads the mean of all tokens, and not the class token.

    Raises:
        LayerprobeError: if ``image_size`` is not a multiple of 8.
    """
    patch_size, rest = divmod(image_size, _PATCHES_PER_SIDE)
    if rest:
        nearest = max(round(image_size / _PATCHES_PER_SIDE), 1) * _PATCHES_PER_SIDE
        raise SettingsError(
            f"a cifar ViT cuts the image into 8x8 patches, so its size is a multiple of 8, not {image_size}; "
            f"try <data.image_size> {nearest}"
        )
    architecture = TokenAveragingTransformer if average_tokens else VisionTransformer
    model: nn.Module = architecture(
        image_size=image_size,
        patch_size=patch_size,
        num_layers=blocks,
        num_heads=heads,
        hidden_dim=width,
        mlp_dim=mlp_width,
        num_classes=num_classes,
    )
    return model
