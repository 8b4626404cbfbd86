"""Weights of one form of a network, brought to another form: other classes, a small stem, other patches.

Cooper et al. (arXiv 2511.14981) start their teachers for small images so from weights of ImageNet.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from layerprobe.models.classifier import classifier_names, is_in_classifier
from layerprobe.models.fit import Fit
from layerprobe.records.adaptation import Adaptation, Part
from layerprobe.settings.base import SettingsError

Kernels = Literal["resample", "average"]
"""How the kernels of a patch embedding become smaller or larger."""
POSITIONS = ("pos_embed", "pos_embedding")
_NEW = "new, with initial weights"
_HOW = {
    "resample": "resampled, so that a patch of a resized image gives the same token (FlexiViT's pseudoinverse)",
    "average": "averaged over squares of pixels",
}


@dataclass(frozen=True)
class _Changed:
    """A tensor that is not loaded as it stands in the file.

    Attributes:
        part: of the network that it belongs to.
        how: what was done.
        value: what is loaded; None: the network keeps its initial weights.
    """

    part: Part
    how: str
    value: Tensor | None = None


def adapt_weights(model: nn.Module, fit: Fit, kernels: Kernels, what: str) -> tuple[Fit, tuple[Adaptation, ...]]:
    """Bring weights to the shapes that a network has; what can't be brought to it is left for others to refuse.

    - Classifier: a tensor of the last layer, or of a hidden layer of the classifier, whose shape is another one keeps
      the network's initial weights; so does one of the last layer that is missing.
    - Stem: so does the convolution that sees the image, where its kernel has another size.
    - Patch embedding: kernels of another size are resampled (Beyer et al., "FlexiViT", arXiv 2212.08013, section 3.4),
      or averaged as by Cooper et al.
    - Position embeddings: those of the patches are interpolated to the new grid (bicubic, with antialiasing); those of
      the class token and of registers stay as they are.

    Args:
        model: the network.
        fit: what a file has in common with it.
        kernels: ``resample``, or ``average``.
        what: the file's name, for messages.

    Returns:
        The fit as if the file had these weights, and what was done. Tensors that are to keep their initial weights are
        neither in its state nor missing.

    Raises:
        SettingsError: if patches or positions can't be brought to the network's.
    """
    own: dict[str, Tensor] = model.state_dict()
    found = {name: _change(model, name, fit.state[name], own[name], kernels, what) for name in fit.shapes}
    found |= {name: _Changed("classifier", _NEW) for name in fit.missing if name in classifier_names(model)}
    changed = {name: change for name, change in found.items() if change}
    values = {name: change.value for name, change in changed.items() if change.value is not None}
    state = {name: value for name, value in fit.state.items() if name not in changed} | values
    adapted = replace(
        fit,
        state=state,
        missing=tuple(name for name in fit.missing if name not in changed),
        shapes=tuple(name for name in fit.shapes if name not in changed),
    )
    return adapted, describe_changes({name: (one.part, one.how) for name, one in changed.items()}, fit.state, own)


def describe_changes(
    changed: Mapping[str, tuple[Part, str]], state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[Adaptation, ...]:
    """Changes of tensors, by part of the network and by what was done.

    Args:
        changed: part and what was done, by the tensor's name.
        state: the tensors of the file.
        own: the tensors of the network.
    """
    return tuple(
        Adaptation(part, how, {name: _shapes(state.get(name), own[name]) for name in changed if changed[name] == kind})
        for kind in dict.fromkeys(changed.values())
        for part, how in (kind,)
    )


def new_classifier(names: Collection[str], state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Adaptation:
    """The record of a classifier that keeps its initial weights."""
    return describe_changes(dict.fromkeys(sorted(names), ("classifier", _NEW)), state, own)[0]


def _change(model: nn.Module, name: str, value: Tensor, own: Tensor, kernels: Kernels, what: str) -> _Changed | None:
    """What becomes of a tensor of another shape; None: it fits nowhere."""
    if name in classifier_names(model) or is_in_classifier(name):
        return _Changed("classifier", _NEW)
    if name == f"{first_convolution(model)}.weight" and value.ndim == 4 and value.shape[:2] == own.shape[:2]:
        if not is_patch_embedding(model.get_submodule(name.removesuffix(".weight"))):
            return _Changed("stem", _NEW)
        return _Changed("patch embedding", _HOW[kernels], _fit_kernels(value, own, kernels, f"{what}: {name!r}"))
    same = value.ndim == own.ndim == 3 and (value.shape[0], value.shape[2]) == (own.shape[0], own.shape[2])
    if name.rpartition(".")[2] in POSITIONS and same:
        resampled, how = _fit_positions(model, value, own, f"{what}: {name!r}")
        return _Changed("position embeddings", how, resampled)
    return None


def first_convolution(model: nn.Module) -> str:
    """Dotted path of the convolution that sees the image; empty: there is none."""
    layers = (name for name, module in model.named_modules() if isinstance(module, nn.Conv2d))
    return next(layers, "")


def is_patch_embedding(module: nn.Module) -> bool:
    """Whether a convolution cuts the image into patches, each of which it sees once."""
    return isinstance(module, nn.Conv2d) and module.kernel_size == module.stride and max(module.kernel_size) > 1


def _fit_kernels(value: Tensor, own: Tensor, kernels: Kernels, what: str) -> Tensor:
    """Kernels ``(width, 3, h, w)`` of another patch size."""
    height, width = own.shape[2:]
    if kernels == "resample":
        from timm.layers.patch_embed import resample_patch_embed

        resampled: Tensor = resample_patch_embed(value, [height, width])
        return resampled
    if value.shape[2] % height or value.shape[3] % width:
        raise SettingsError(
            f"{what} has patches of {value.shape[2]}x{value.shape[3]} pixels, which are no multiple of the network's "
            f"{height}x{width}, so that they can't be averaged; take <adapt> resample"
        )
    return functional.adaptive_avg_pool2d(value, (height, width))


def _fit_positions(model: nn.Module, value: Tensor, own: Tensor, what: str) -> tuple[Tensor, str]:
    """Position embeddings ``(1, tokens, width)`` of another grid, and how they were made."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    new = _grid(model)
    if new is None:
        raise SettingsError(f"{what}: the network does not say how its patches lie; take the image size of the weights")
    extra = own.shape[1] - math.prod(new)
    side = math.isqrt(max(value.shape[1] - extra, 0))
    if extra < 0 or side == 0 or side * side != value.shape[1] - extra:
        raise SettingsError(
            f"{what} has {value.shape[1]} positions, which are not {extra} of extra tokens and those of a square grid; "
            "take the network and the image size of the weights"
        )
    made: Tensor = resample_abs_pos_embed(
        value, new_size=list(new), old_size=[side, side], num_prefix_tokens=extra, interpolation="bicubic"
    )
    tokens = f"; {extra} other token{'s' if extra > 1 else ''} kept" if extra else ""
    return made, f"interpolated from a {side}x{side} to a {new[0]}x{new[1]} grid (bicubic){tokens}"


def _grid(model: nn.Module) -> tuple[int, int] | None:
    """Rows and columns of the patches of a transformer of timm's or torchvision's; None: it isn't one."""
    size = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if size is not None:
        return int(size[0]), int(size[1])
    image, patch = getattr(model, "image_size", None), getattr(model, "patch_size", None)
    if isinstance(image, int) and isinstance(patch, int):
        return image // patch, image // patch
    return None


def _shapes(before: Tensor | None, after: Tensor) -> str:
    return f"{'not in the file' if before is None else shape_of(before)} -> {shape_of(after)}"


def shape_of(tensor: Tensor) -> str:
    """A tensor's shape in words, such as ``10x64``."""
    return "x".join(map(str, tensor.shape)) or "a single number"
