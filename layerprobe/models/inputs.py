"""The image size and normalization that a model itself asks for."""

from __future__ import annotations

from torch import nn

from layerprobe.models.model_input import ModelInput, size_of
from layerprobe.models.sources import source_of
from layerprobe.models.variants import split_variant
from layerprobe.plugins import split_file_name


def model_input(name: str, model: nn.Module, pretrained: bool = False) -> ModelInput:
    """The input that a model asks for: the one that its published weights were trained for, if there are any.

    Args:
        name: the name that ``build_model`` built it from.
        model: what ``build_model`` gave.
        pretrained: whether the published weights are loaded; ``source`` says so.
    """
    base = split_variant(name)[0]
    source = None if split_file_name(name) else source_of(base)
    if source is None:
        size = size_of(model)
        return ModelInput(image_size=size, source="the model's image_size" if size else "")
    found: ModelInput = source.call("input", base.partition(":")[2], model, pretrained)
    return found
