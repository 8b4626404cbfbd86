"""How the learning rate moves over a training; it moves after every step."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from layerprobe.distill.engine.catalogue import ONE_CYCLE_WARM_UP, OPTIMIZERS, SCHEDULES, default_milestones
from layerprobe.settings.recipe import RecipeSettings


def one_cycle(optimizer: Optimizer, recipe: RecipeSettings, steps: int) -> LRScheduler:
    """The rate rises, then falls to almost 0 (Smith and Topin 2018, arXiv 1708.07120)."""
    rates = [group["lr"] for group in optimizer.param_groups]
    # SGD keeps its momentum: cycling it is a choice of its own. AdamW's first beta moves between 0.85 and 0.95.
    cycles = OPTIMIZERS[recipe.optimizer].cycles_momentum
    return OneCycleLR(
        optimizer, max_lr=rates, total_steps=recipe.epochs * steps, pct_start=ONE_CYCLE_WARM_UP, cycle_momentum=cycles
    )


def multi_step(optimizer: Optimizer, recipe: RecipeSettings, steps: int) -> LRScheduler:
    """The rate is multiplied by the decay after each milestone."""
    milestones = recipe.milestones or default_milestones(recipe.epochs)
    return MultiStepLR(optimizer, [epoch * steps for epoch in milestones], gamma=recipe.decay)


def cosine(optimizer: Optimizer, recipe: RecipeSettings, steps: int) -> LRScheduler:
    """A cosine from the peak to 0 (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts)."""
    return CosineAnnealingLR(optimizer, T_max=recipe.epochs * steps)


def describe(recipe: RecipeSettings) -> str:
    """Optimizer and schedule in a few words, for people."""
    values = {**recipe.plain(), "milestones": ", ".join(map(str, recipe.milestones or ()))}
    optimizer, schedule = OPTIMIZERS.find(recipe.optimizer), SCHEDULES.find(recipe.schedule)
    shown = [(entry.description or entry.label).format(**values) for entry in (optimizer, schedule)]
    return f"{shown[0]}, weight decay {recipe.weight_decay:g}, {shown[1]}"
