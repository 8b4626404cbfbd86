"""A grid run from its file to its results: what ``layerprobe compare`` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from layerprobe.errors import LayerprobeError, closest
from layerprobe.experiments.grids.grid_file import RUNS, Grid, load_grid
from layerprobe.experiments.grids.interruption import interrupted_by_sigterm
from layerprobe.experiments.grids.launchers import LAUNCHERS, Launch
from layerprobe.experiments.grids.results import GRID_FILE, Lookout, forget_failures
from layerprobe.experiments.grids.work import OnEpoch, work
from layerprobe.types import GridResults, Progress, silent


@dataclass(frozen=True)
class CompareConfig:
    """What to run, and how.

    Attributes:
        grid: the grid file.
        output: the grid's folder.
        jobs: how many workers.
        launcher: a key of ``LAUNCHERS``.
        options: of the launcher.

    Raises:
        LayerprobeError: if there is no such launcher, or less than one worker.
    """

    grid: Path
    output: Path
    jobs: int = 1
    launcher: str = "local"
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.launcher not in LAUNCHERS:
            raise LayerprobeError(f"no launcher {self.launcher!r}; {closest(self.launcher, LAUNCHERS)}")
        if self.jobs < 1:
            raise LayerprobeError(f"--jobs is a number of workers from 1, not {self.jobs}")
        if wrong := [option for option in self.options if "=" not in option]:
            raise LayerprobeError(f"--launcher-option is KEY=VALUE, e.g. timeout_min=600; not {wrong[0]!r}")

    @property
    def launch(self) -> Launch:
        """How to start the workers."""
        pairs = (option.partition("=") for option in self.options)
        return Launch(self.output, self.jobs, {key: value for key, _, value in pairs})


@dataclass(frozen=True)
class Compared:
    """What came of it.

    Attributes:
        results: of every cell.
        left: what is left for the user to do; empty: nothing.
    """

    results: GridResults
    left: str = ""


def open_grid(config: CompareConfig) -> Grid:
    """Read the grid file, and make sure that the folder may hold the grid.

    Raises:
        LayerprobeError: if the file says what can't be, or something else lies in the folder.
    """
    grid = load_grid(config.grid)
    folder = config.output
    if folder.exists() and not folder.is_dir():
        raise LayerprobeError(f"{folder} is a file; --output names a folder for the grid")
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).exists() for name in (GRID_FILE, RUNS)):
        raise LayerprobeError(f"{folder} is not empty and holds no grid; name another --output")
    return grid


def compare(
    config: CompareConfig,
    on_epoch: OnEpoch,
    progress: Progress = silent,
    watch: Callable[[GridResults], None] = lambda results: None,
) -> Compared:
    """Run every cell of a grid that is not finished; those that failed before are tried again.

    With one local worker the cells run in this process. A folder that already holds a grid goes on, also where the
    file has more cells than before; other workers, on this machine or another one, may be at work in it.

    Args:
        config: what to run.
        on_epoch: of one local worker: told every epoch.
        progress: of one local worker: told after every step.
        watch: of several: told the state of the grid while they work.

    Raises:
        LayerprobeError: as ``open_grid``, or if workers can't be started.
    """
    grid = open_grid(config)
    write_grid(grid, config.output)
    forget_failures(config.output)
    lookout = Lookout(grid, config.output)
    with interrupted_by_sigterm():
        if config.launcher == "local" and config.jobs == 1 and not config.options:
            work(grid, config.output, on_epoch, progress)
            return Compared(lookout.look())
        left = LAUNCHERS[config.launcher](config.launch, lambda: watch(lookout.look()))
    return Compared(lookout.look(), left)


def write_grid(grid: Grid, folder: Path) -> None:
    """Put a grid file into its folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{GRID_FILE}.partial"
    partial.write_text(grid.text, encoding="utf-8")
    partial.replace(folder / GRID_FILE)
