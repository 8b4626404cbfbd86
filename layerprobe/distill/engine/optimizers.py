"""The optimizer, and which parameters learn how fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from layerprobe.distill.engine.catalogue import OPTIMIZERS
from layerprobe.layers.taps import Tap
from layerprobe.records import Layer
from layerprobe.settings.recipe import RecipeSettings


def adamw(groups: Sequence[Any], recipe: RecipeSettings) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101)."""
    return torch.optim.AdamW(groups, lr=peak_rate(recipe), weight_decay=recipe.weight_decay, betas=(0.9, 0.999))


def sgd(groups: Sequence[Any], recipe: RecipeSettings) -> Optimizer:
    """Stochastic gradient descent with momentum."""
    return torch.optim.SGD(groups, lr=peak_rate(recipe), weight_decay=recipe.weight_decay, momentum=recipe.momentum)


def make_optimizer(
    student: nn.Module, objective: nn.Module, new_modules: Sequence[str], recipe: RecipeSettings
) -> Optimizer:
    """An optimizer for the student and the modules that its objective adds.

    With a ``backbone_lr_factor`` other than 1 there are two groups of parameters: the student's backbone, and its
    classifier together with what the method adds, beside it or in it.

    Args:
        student: the network to train.
        objective: what it is trained for, with modules of its own.
        new_modules: dotted paths of the student's modules that are not part of its backbone.
        recipe: which optimizer, and how fast.
    """
    made: Callable[[Sequence[Any], RecipeSettings], Optimizer] = OPTIMIZERS[recipe.optimizer].load()
    if recipe.backbone_lr_factor == 1:
        return made([*student.parameters(), *objective.parameters()], recipe)
    new = {parameter for path in new_modules for parameter in student.get_submodule(path).parameters()}
    backbone = [parameter for parameter in student.parameters() if parameter not in new]
    others = [parameter for parameter in student.parameters() if parameter in new]
    groups = [
        {"params": [*others, *objective.parameters()]},
        {"params": backbone, "lr": peak_rate(recipe) * recipe.backbone_lr_factor},
    ]
    return made(groups, recipe)


def find_head(student: nn.Module, layers: Sequence[Layer]) -> tuple[str, ...]:
    """Dotted paths of a network's classifier: all that its last feature enters, else the last module with parameters.

    Of several layers it is the part of the network that holds them, such as VGG's ``classifier``; where they stand in
    none, it is each of the modules with parameters from the first of them on.
    """
    own = [name for name, module in student.named_modules() if next(module.parameters(recurse=False), None) is not None]
    features = [index for index, layer in enumerate(layers) if layer.kind == "feature"]
    if not features:
        return (own[-1],)
    entered, *behind = (Tap.of(layer.name).module for layer in layers[features[-1] :])
    if not behind:
        return (entered,)
    levels = zip(*(name.split(".") for name in (entered, *behind)), strict=False)
    whole = ".".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels))
    return (whole,) if whole else tuple(own[own.index(entered) :]) if entered in own else (entered,)


def peak_rate(recipe: RecipeSettings) -> float:
    """The learning rate of the recipe.

    Raises:
        ValueError: if it was not resolved for the architecture.
    """
    if recipe.lr is None:
        raise ValueError("the learning rate is not resolved")
    return recipe.lr
