"""Lazy modules of torch, such as ``nn.LazyConv2d``, which learn their shapes from the first images."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from layerprobe.errors import LayerprobeError
from layerprobe.plugins import one_line
from layerprobe.settings.base import SettingsError


def initialize_lazy_modules(model: nn.Module, image_size: tuple[int, int], seed: int) -> None:
    """Give a model's lazy modules their shapes and initial weights, by a pass of one blank image; others are unchanged.

    Args:
        model: a model as it was built, on the CPU.
        image_size: height and width of the images that it will read, in pixels.
        seed: of the initial weights; the global random state is left as it was.

    Raises:
        LayerprobeError: if the model fails on such an image, or a module isn't reached by it.
    """
    if not _lazy_names(model):
        return
    training = [module for module in model.modules() if module.training]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            # Not the seed itself: modules that are built with it draw the same numbers.
            torch.default_generator.manual_seed(seed + 2**32)
            model.eval()(torch.zeros(1, 3, *image_size))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a model of the user's own raises
        size = "x".join(map(str, image_size))
        raise SettingsError(
            f"the model has lazy modules, which take their shapes from a first image, and fails on one of {size} "
            f"pixels: {one_line(error)}; correct the model, or name a size that it takes with <data.image_size>"
        ) from error
    finally:
        for module in training:
            module.training = True
    if left := _lazy_names(model):
        raise LayerprobeError(
            f"the model's lazy module {left[0]!r} is not reached by a forward pass, and so has no shape; give it one"
        )


def _lazy_names(model: nn.Module) -> list[str]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [name.rpartition(".")[0] for name, tensor in tensors if is_lazy(tensor)]
