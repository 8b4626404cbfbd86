"""A network with a linear head on its pooled features, in the place of a classifier of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from layerprobe.distill.pooling import Pooling
from layerprobe.errors import LayerprobeError, closest
from layerprobe.files import write_bytes
from layerprobe.layers.capture import Capture
from layerprobe.models.weights import hash_weights
from layerprobe.models.weights_file import read_weights
from layerprobe.records import Layer
from layerprobe.records.layers import OUTPUT
from layerprobe.records.weights_header import parse_head_header
from layerprobe.version import __version__


class HeadedNetwork(nn.Module):
    """Classifies images by a linear head on the pooled features of one layer.

    Args:
        backbone: the network.
        layer: whose features the head reads; ``output_layer`` of what the network returns.
        pooling: of these features.
        weight: (classes, D) of the head.
        bias: (classes,).
    """

    def __init__(self, backbone: nn.Module, layer: Layer, pooling: Pooling, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.backbone, self.layer, self.pooling = backbone, layer, pooling
        self.head = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, classes) logits of (batch, 3, height, width) images."""
        with Capture(self.backbone, [] if self.layer.name == OUTPUT else [self.layer]) as capture:
            captured = capture(images)
        features = captured.features.get(self.layer.name, captured.logits)
        logits: Tensor = self.head(self.pooling(features))
        return logits


def write_head(
    path: Path, backbone: str, header: dict[str, str], weight: Tensor, bias: Tensor, classes: Sequence[str]
) -> None:
    """Write a head as safetensors; its header says which features of which network it reads.

    Args:
        path: of the file.
        backbone: SHA-256 of the network's weights.
        header: ``layer``, ``tokens`` and how the head was trained, as text.
        weight: (classes, D).
        bias: (classes,).
        classes: their names.

    Raises:
        LayerprobeError: if the file can't be written.
    """
    metadata = {
        "layerprobe_version": __version__,
        "backbone_sha256": backbone,
        "classes": json.dumps(list(classes)),
        **header,
    }
    tensors = {"weight": weight.float().contiguous(), "bias": bias.float().contiguous()}
    write_bytes(path, to_safetensors(tensors, metadata))


def read_head(
    backbone: nn.Module, layers: Sequence[Layer], path: Path, network: str
) -> tuple[HeadedNetwork, tuple[str, ...]]:
    """A network with the head of a file, in evaluation mode, and the names of its classes.

    Args:
        backbone: the network that the head was trained on.
        layers: of that network, and ``output_layer``.
        path: of the head.
        network: what messages call the network.

    Raises:
        LayerprobeError: if the file holds no head, or one that was trained on other weights.
    """
    weights = read_weights(path)
    header = parse_head_header(weights.metadata, path)
    if header.backbone_sha256 != (found := hash_weights(backbone)):
        raise LayerprobeError(
            f"the head {path} was trained on the features of other weights than those of {network}: SHA-256 "
            f"{header.backbone_sha256[:12]}, not {found[:12]}; train one for it with --save-head"
        )
    layer = next((layer for layer in layers if layer.name == header.layer), None)
    if layer is None:
        raise LayerprobeError(
            f"the head {path} reads the layer {header.layer!r}, which is not in {network}; "
            f"{closest(header.layer, [layer.name for layer in layers])}"
        )
    pooling = Pooling(layer.shape, header.tokens or None, layer.name)
    wanted = {"weight": (len(header.classes), pooling.dimension), "bias": (len(header.classes),)}
    found_shapes = {name: tuple(tensor.shape) for name, tensor in weights.state.items()}
    if found_shapes != wanted:
        raise LayerprobeError(f"the head {path} holds {wanted} by its header, not {found_shapes}; write it anew")
    if any(not tensor.isfinite().all() for tensor in weights.state.values()):
        raise LayerprobeError(
            f"the head {path} holds values that are no finite numbers; train it anew with --save-head"
        )
    return HeadedNetwork(backbone, layer, pooling, **weights.state).eval(), header.classes
