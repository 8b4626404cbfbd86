"""A grid run from its file to its results: what ``layerprobe compare`` does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from layerprobe.distill.resume_check import changed_plugin
from layerprobe.errors import LayerprobeError, first_of
from layerprobe.experiments.grid.cell_settings import check_settings
from layerprobe.experiments.grid.evaluate_cell import check_evaluation
from layerprobe.experiments.grid.grid_file import RUNS, Grid, load_grid
from layerprobe.experiments.grid.label_check import check_labels
from layerprobe.experiments.grid.launchers import LAUNCHERS, Launch, Launched, count_workers
from layerprobe.experiments.grid.results import (
    DONE,
    GRID_FILE,
    RUNNING,
    WAITING,
    GridReader,
    fail_deadly_cells,
    finished_cell,
    forget_failures,
    tidy_cells,
)
from layerprobe.experiments.grid.work import OnEpoch, WorkerEndsError, work
from layerprobe.files import check_replaceable, is_temporary, write_text
from layerprobe.records import GridResults, Progress, silent
from layerprobe.runtime.interruption import interruptible
from layerprobe.settings.compare import CompareSettings
from layerprobe.settings.configuration import plugin_hashes

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compared:
    """What came of it.

    Attributes:
        results: of every cell.
        left: what is left for the user to do; empty: nothing.
    """

    results: GridResults
    left: str = ""


def open_grid(settings: CompareSettings) -> Grid:
    """Read the grid file, and make sure that the folder may hold the grid.

    Raises:
        LayerprobeError: if the file says what can't be, a cell needs labels and the images have none, or something else
            lies in the folder.
    """
    grid = load_grid(settings.grid)
    check_labels(grid, str(settings.grid))
    folder = settings.output
    if folder.exists() and not folder.is_dir():
        raise LayerprobeError(f"{folder} is a file; --output names a folder for the grid")
    filled = folder.is_dir() and any(not is_temporary(file) for file in folder.iterdir())
    if filled and not any((folder / name).exists() for name in (GRID_FILE, RUNS)):
        raise LayerprobeError(f"{folder} is not empty and holds no grid; name another --output")
    return grid


def plan_grid(settings: CompareSettings) -> Grid:
    """The grid that ``compare`` would run.

    Raises:
        LayerprobeError: as ``open_grid``; or if nothing says which layers to distil from, or runs of another grid in
            the folder would vanish, a plug-in has changed since a cell was finished, or runs would be added to those of
            an earlier version in another setting.
    """
    grid = open_grid(settings)
    lacking = next((planned.cell.label for planned in grid.cells if planned.settings.lacks_layers), None)
    if lacking and grid.validate:
        raise LayerprobeError(
            f"{settings.grid} has a key 'validate' and leaves the choice of layers to it; `layerprobe validate` runs it"
        )
    if lacking:
        raise LayerprobeError(
            f"{settings.grid}: {lacking} needs the teacher's layers; say how to choose them, "
            "e.g. choices: ['quality:4']"
        )
    check_kept(grid, settings.output)
    check_settings(grid.cells, settings.output)
    check_plugins(grid, settings.output)
    return grid


def compare(
    settings: CompareSettings,
    on_epoch: OnEpoch,
    progress: Progress = silent,
    watch: Callable[[GridResults], None] = lambda results: None,
) -> Compared:
    """Run every cell of a grid that is not finished; those that failed before are tried again.

    With one local worker the cells run in this process. A folder that already holds a grid goes on, also where the
    file has more cells than before; other workers, on this machine or another one, may be at work in it.

    Args:
        settings: what to run.
        on_epoch: of one local worker: told every epoch.
        progress: of one local worker: told after every step.
        watch: of several: told the state of the grid while they work.

    Raises:
        LayerprobeError: as ``plan_grid``, or if there are no labelled images to evaluate on, workers can't be started,
            or all ended before the last cell was settled.
    """
    grid = plan_grid(settings)
    check_evaluation(grid)
    write_grid(grid, settings.output)
    forget_failures(settings.output)
    tidy_cells(grid.cells, settings.output)
    reader = GridReader(grid, settings.output)
    with interruptible():
        workers = count_workers(settings)
        if settings.launcher == "local" and workers == 1:
            launched = _work_here(grid, settings.output, on_epoch, progress)
        else:
            launch = Launch(settings.output, workers, settings.launcher_options)
            launched = LAUNCHERS[settings.launcher](launch, lambda: watch(reader.read()))
    if launched.broken:
        fail_deadly_cells(grid.cells, settings.output)
    results = reader.read()
    if launched.broken:
        if left := sum(result.state in (WAITING, RUNNING) for result in results.results):
            what = "1 cell is" if left == 1 else f"{left} cells are"
            raise LayerprobeError(f"{launched.broken}; {what} left; the same command goes on")
        _log.warning("%s", launched.broken)
    return Compared(results, launched.left)


def _work_here(grid: Grid, folder: Path, on_epoch: OnEpoch, progress: Progress) -> Launched:
    """Be the one worker."""
    try:
        work(grid, folder, on_epoch, progress)
    except WorkerEndsError as error:
        return Launched(broken=str(error))
    return Launched()


def write_grid(grid: Grid, folder: Path) -> None:
    """Put a grid file into its folder, whole or not at all.

    Raises:
        LayerprobeError: if runs of another grid there would vanish.
    """
    check_kept(grid, folder)
    folder.mkdir(parents=True, exist_ok=True)
    if _text(folder) != grid.text:
        write_text(folder / GRID_FILE, grid.text)


def check_kept(grid: Grid, folder: Path) -> None:
    """Refuse a grid file without cells of the one that lies in the folder, where these were run or are running.

    Raises:
        LayerprobeError: if there are any, or what is there is no grid file.
    """
    check_replaceable(folder / GRID_FILE, "a grid file", lambda head: b"pairs" in head)
    text = _text(folder)
    if text in (None, grid.text):
        return
    try:
        there = load_grid(folder / GRID_FILE, recorded=True)
    except LayerprobeError:
        return  # an older version wrote it, or somebody by hand: nothing can be reported of it
    kept = {planned.cell.path for planned in grid.cells}
    results = GridReader(there, folder).read().results
    lost = [one.cell.path for one in results if one.state in (DONE, RUNNING) and one.cell.path not in kept]
    if lost:
        raise LayerprobeError(
            f"{folder} holds another grid, of which {first_of(lost)} would be in no report any more; name another "
            "--output, or remove these runs"
        )


def check_plugins(grid: Grid, folder: Path) -> None:
    """Refuse to add runs to those of a grid that were made with another version of a plug-in's file.

    Raises:
        LayerprobeError: if there are any, or the file of a plug-in is not there.
    """
    for planned in grid.cells:
        if not plugin_hashes(planned.settings):
            continue
        kept = finished_cell(planned, folder)
        name = changed_plugin(planned.settings, kept.run.config.get("plugins", {})) if kept else None
        if name is not None:
            raise LayerprobeError(
                f"{name} is another file than when {planned.cell.path} in {folder} was run; put that file back, or "
                "name another --output"
            )


def _text(folder: Path) -> str | None:
    """The grid file in a folder; None: there is none."""
    try:
        return (folder / GRID_FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
