"""Which part of a network is its classifier, as names and shapes tell it, and which networks have none.

A network without a classifier has the attribute ``num_classes`` (timm's word) with the value 0, which ``build_model``
sets where it is asked for 0 classes, or returns no (batch, columns) tensor. What it returns is features: a pooled
embedding, a map or tokens. Its layers are those of the same network with a classifier, and what it returns is the last
one. Its ``Network.num_classes`` is 0. Its accuracy is not measured, and methods that need logits refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import takewhile

from torch import Tensor, nn

_NAMES = "fc|head|heads|head_dist|linear|classifier|last_linear"
_USUAL = re.compile(rf"({_NAMES}|output|logits)\.")
_PLACE = re.compile(rf"({_NAMES})(\.({_NAMES}|\d+))*")


def lacks_classifier(model: nn.Module) -> bool:
    """Whether a network says that it has no classifier."""
    said = getattr(model, "num_classes", None)
    return isinstance(said, int) and said == 0


def declare_no_classifier(model: nn.Module) -> None:
    """Have a network say that it has no classifier."""
    model.num_classes = 0  # type: ignore[assignment]  # an attribute of a module need not be a tensor


def head_classes(state: Mapping[str, Tensor], named: bool = False) -> int | None:
    """The number of classes that a state dict's classifier has: the rows of its last matrix.

    A classifier has a usual name (``fc``, ``head``, ``linear``, ``classifier``, ...), perhaps behind a prefix that all
    names have. Otherwise it is the last matrix, if the names are in the model's order (a ``.safetensors`` file sorts
    them) or there is one only.

    Args:
        state: by name.
        named: whether only a matrix of a usual name counts.

    Examples:
        >>> import torch
        >>> head_classes({"conv.weight": torch.zeros(8, 3, 3, 3), "fc.weight": torch.zeros(100, 8)})
        100

    Returns:
        None where it can't be told.
    """
    head = find_head_weight(state, named)
    return None if head is None else int(state[head].shape[0])


def find_head_weight(state: Mapping[str, Tensor], named: bool = False) -> str | None:
    """The name of the matrix that gives the logits, as ``head_classes`` finds it."""
    levels = zip(*(name.split(".")[:-1] for name in state), strict=False)
    prefix = "".join(f"{level[0]}." for level in takewhile(lambda level: len(set(level)) == 1, levels))
    matrices = [name for name, value in state.items() if value.ndim == 2 and name.endswith("weight")]
    if usual := [name for name in matrices if _USUAL.match(name) or _USUAL.match(name.removeprefix(prefix))]:
        return usual[-1]
    if named:
        return None
    in_order = list(state) != sorted(state)
    return matrices[-1] if matrices and (in_order or len(matrices) == 1) else None


def classifier_names(model: nn.Module) -> set[str]:
    """The names of the entries of a network's classifier: of the last layer of every head of a usual name."""
    if lacks_classifier(model):
        return set()
    state: dict[str, Tensor] = model.state_dict()
    last = {name.partition(".")[0]: name for name, value in state.items() if _is_head(name, value)}
    heads = set(last.values()) or {find_head_weight(state)} - {None}
    modules = {str(name).rpartition(".")[0] for name in heads}
    return {name for name in state if name.rpartition(".")[0] in modules}


def _is_head(name: str, value: Tensor) -> bool:
    """Whether an entry is the matrix, or the 1x1 convolution, of a part that has a classifier's usual name."""
    matrix = value.ndim == 2 or (value.ndim == 4 and value.shape[2:].numel() == 1)
    return matrix and name.endswith(".weight") and bool(_USUAL.match(name))


def is_in_classifier(name: str) -> bool:
    """Whether an entry belongs to a part of a network that has a classifier's usual name, such as VGG's ``classifier``.

    Examples:
        >>> is_in_classifier("classifier.0.weight"), is_in_classifier("features.0.weight")
        (True, False)
    """
    return bool(_USUAL.match(name))


def removed_classifiers(model: nn.Module) -> tuple[str, ...]:
    """Dotted paths of what stands in the place of the classifiers that a network is built without."""
    return tuple(
        name for name, module in model.named_modules() if isinstance(module, nn.Identity) and _PLACE.fullmatch(name)
    )


def is_below(name: str, paths: Iterable[str]) -> bool:
    """Whether an entry belongs to one of some modules."""
    return any(name.startswith(f"{path}.") for path in paths)


def remove_classifier(model: nn.Module, classes: int) -> None:
    """Put nothing (``nn.Identity``) in the place of the last layer that has so many outputs."""
    replace_module(model, find_classifier(model, classes), nn.Identity())
    declare_no_classifier(model)


def find_classifier(model: nn.Module, classes: int) -> str:
    """Dotted path of the last linear layer, or convolution, that has so many outputs."""
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    return next(str(name) for name, module in reversed(layers) if module.weight.shape[0] == classes)


def replace_module(model: nn.Module, path: str, new: nn.Module) -> None:
    """Put a module in the place of another one.

    Args:
        model: that holds it.
        path: its dotted path.
        new: what stands there afterwards.
    """
    parent, _, attribute = path.rpartition(".")
    setattr(model.get_submodule(parent), attribute, new)
