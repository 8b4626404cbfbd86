"""How the learning rate moves over a training; it moves after every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from layerprobe.distill.config import Recipe
from layerprobe.errors import LayerprobeError, closest

WARM_UP = 0.3
"""The share of all steps in which OneCycle's rate rises."""


def default_milestones(epochs: int) -> tuple[int, ...]:
    """After 5/8, 3/4 and 7/8 of the epochs.

    Example:
        >>> default_milestones(240)
        (150, 180, 210)
    """
    return tuple(sorted({epochs * eighths // 8 for eighths in (5, 6, 7)} - {0}))


def _onecycle(optimizer: Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    rates = [group["lr"] for group in optimizer.param_groups]
    # SGD keeps its momentum: cycling it is a choice of its own. AdamW's first beta moves between 0.85 and 0.95.
    cycles = recipe.optimizer == "adamw"
    return OneCycleLR(
        optimizer, max_lr=rates, total_steps=recipe.epochs * steps, pct_start=WARM_UP, cycle_momentum=cycles
    )


def _multi_step(optimizer: Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    milestones = recipe.milestones or default_milestones(recipe.epochs)
    return MultiStepLR(optimizer, [epoch * steps for epoch in milestones], gamma=recipe.decay)


SCHEDULES: Mapping[str, Callable[[Optimizer, Recipe, int], LRScheduler]] = {
    "onecycle": _onecycle,
    "cosine": lambda optimizer, recipe, steps: CosineAnnealingLR(optimizer, T_max=recipe.epochs * steps),
    "multi-step": _multi_step,
}
"""Every schedule by its name on the command line: from the optimizer, the recipe and the steps of an epoch."""


def check_schedule(recipe: Recipe) -> None:
    """Refuse a schedule that there is none of, or whose milestones lie outside the training.

    Raises:
        LayerprobeError: if so.
    """
    if recipe.schedule not in SCHEDULES:
        raise LayerprobeError(f"no schedule {recipe.schedule!r}; {closest(recipe.schedule, SCHEDULES)}")
    milestones = recipe.milestones
    if not milestones:
        return
    if recipe.schedule != "multi-step":
        raise LayerprobeError(f"--milestones belong to --schedule multi-step, not to {recipe.schedule}; leave them out")
    if list(milestones) != sorted(set(milestones)) or milestones[-1] >= recipe.epochs:
        shown = ",".join(map(str, milestones))
        raise LayerprobeError(
            f"--milestones are ascending epochs below --epochs {recipe.epochs}, not {shown!r}; e.g. "
            + ",".join(map(str, default_milestones(recipe.epochs)))
        )


def describe(recipe: Recipe) -> str:
    """Schedule and optimizer in a few words, for people."""
    schedule = {
        "onecycle": f"OneCycle with {WARM_UP:.0%} warm-up",
        "cosine": "cosine",
        "multi-step": f"x{recipe.decay:g} after epochs {', '.join(map(str, recipe.milestones or ()))}",
    }[recipe.schedule]
    momentum = f" (momentum {recipe.momentum:g})" if recipe.optimizer == "sgd" else ""
    name = {"adamw": "AdamW", "sgd": "SGD"}[recipe.optimizer]
    return f"{name}{momentum}, weight decay {recipe.weight_decay:g}, {schedule}"
