"""The optimizers and learning-rate schedules, by name, without importing PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from layerprobe.catalogue import Catalogue, Entry

ONE_CYCLE_WARM_UP = 0.3
"""The share of all steps in which OneCycle's rate rises."""


@dataclass(frozen=True)
class Optimizer(Entry):
    """An optimizer. ``target`` is a function of the parameter groups and the recipe.

    Attributes:
        description: what tables and the log say, with the recipe's values by name; empty: the label.
        cycles_momentum: whether OneCycle moves its momentum, or first beta, against the rate.
    """

    description: str = ""
    cycles_momentum: bool = False


@dataclass(frozen=True)
class Schedule(Entry):
    """A learning-rate schedule. ``target`` is a function of the optimizer, the recipe and the steps of an epoch.

    Attributes:
        description: what tables and the log say, with the recipe's values by name; empty: the label.
        takes_milestones: whether the epochs after which the rate falls are chosen for it.
    """

    description: str = ""
    takes_milestones: bool = False


OPTIMIZERS = Catalogue(
    "optimizer",
    (
        Optimizer(
            "adamw",
            "AdamW",
            "AdamW with betas 0.9 and 0.999",
            "layerprobe.distill.engine.optimizers:adamw",
            cycles_momentum=True,
        ),
        Optimizer(
            "sgd",
            "SGD",
            "stochastic gradient descent with momentum",
            "layerprobe.distill.engine.optimizers:sgd",
            description="SGD (momentum {momentum:g})",
        ),
    ),
)
"""Every optimizer."""

SCHEDULES = Catalogue(
    "schedule",
    (
        Schedule(
            "onecycle",
            "OneCycle",
            f"the rate rises over {ONE_CYCLE_WARM_UP:.0%} of the steps, and falls to almost 0",
            "layerprobe.distill.engine.schedules:one_cycle",
            description=f"OneCycle with {ONE_CYCLE_WARM_UP:.0%} warm-up",
        ),
        Schedule(
            "cosine", "cosine", "the rate falls to 0 along a cosine", "layerprobe.distill.engine.schedules:cosine"
        ),
        Schedule(
            "multi-step",
            "multi-step",
            "the rate is multiplied by the decay after each milestone",
            "layerprobe.distill.engine.schedules:multi_step",
            description="x{decay:g} after epochs {milestones}",
            takes_milestones=True,
        ),
    ),
)
"""Every learning-rate schedule; the rate moves after every step."""


def default_milestones(epochs: int) -> tuple[int, ...]:
    """After 5/8, 3/4 and 7/8 of the epochs.

    Examples:
        >>> default_milestones(240)
        (150, 180, 210)
    """
    return tuple(sorted({epochs * eighths // 8 for eighths in (5, 6, 7)} - {0}))
