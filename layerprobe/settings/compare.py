"""What ``layerprobe compare`` and ``layerprobe validate`` are told."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, model_validator
from typing_extensions import Self

from layerprobe.settings.base import AnyPath, Count, Listed, RefusedError, Settings
from layerprobe.settings.flags import Flag


def _check_pair(option: str) -> str:
    key, equals, _ = option.partition("=")
    if not key or not equals:
        raise ValueError("KEY=VALUE, such as timeout_min=600")
    return option


class CompareSettings(Settings):
    """Which grid is run, where, and by whom."""

    panel: ClassVar[str] = "Machine"

    grid: Annotated[AnyPath, Flag(argument=True, metavar="GRID")]
    """The grid file."""
    output: Annotated[AnyPath, Flag(short="-o", panel="Output", metavar="DIR")]
    """The grid's folder."""
    jobs: Annotated[Count, Flag(short="-j")] = 1
    """The number of workers that run cells at the same time."""
    per_device: Annotated[Count | None, Flag(default="as many workers as --jobs says, over all devices")] = None
    """The number of workers on every GPU of this machine, which share its memory evenly; without a GPU, on the CPU."""
    launcher: Literal["local", "slurm"] = "local"
    """How workers are started: as processes on this machine, or as jobs of Slurm."""
    launcher_option: Annotated[
        tuple[Annotated[str, AfterValidator(_check_pair)], ...], Listed, Flag(metavar="KEY=VALUE")
    ] = ()
    """An option for submitit, such as timeout_min=600. Give it several times for several options."""

    @model_validator(mode="after")
    def _options_have_a_launcher(self) -> Self:
        if self.launcher == "local" and self.launcher_option:
            raise RefusedError(
                "<launcher_option> is for the launcher slurm, and local workers take no options; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _workers_are_counted_once(self) -> Self:
        if self.per_device is None:
            return self
        if self.launcher != "local":
            raise RefusedError(
                f"<per_device> is for workers of this machine, and those of {self.launcher} have devices of their own; "
                "give <jobs>"
            )
        if self.jobs != 1:
            raise RefusedError("<jobs> and <per_device> both say how many workers there are; give one of them")
        return self

    @property
    def launcher_options(self) -> dict[str, str]:
        """The launcher's options by key."""
        pairs = (option.partition("=") for option in self.launcher_option)
        return {key: value for key, _, value in pairs}


class PlanSettings(Settings):
    """Whether a grid is run at all."""

    panel: ClassVar[str] = "Machine"

    dry_run: Annotated[bool, Flag(alone=True)] = False
    """Print the cells and an estimate of how long they take, and run nothing."""
