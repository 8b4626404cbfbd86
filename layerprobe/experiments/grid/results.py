"""The state of a grid's cells, read from its folder at any moment."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from layerprobe.distill.folder import RESULT, build_run, read_record, tidy_run
from layerprobe.errors import FileError, LayerprobeError
from layerprobe.experiments.grid.cell_settings import as_it_was_begun, differing_settings, other_run, read_cell_settings
from layerprobe.experiments.grid.claims import Claims
from layerprobe.experiments.grid.evaluate_cell import is_evaluated, kept_evaluation, scores_of
from layerprobe.experiments.grid.grid_file import Grid, PlannedCell, load_grid, slug
from layerprobe.experiments.grid.study import RANKINGS, FinishedCell, read_study
from layerprobe.files import read_json, short_name, write_json
from layerprobe.records import CellResult, GridResults
from layerprobe.records.grid_files import Failure
from layerprobe.records.parsing import parse
from layerprobe.version import __version__

GRID_FILE, CLAIMS, FAILURES = "grid.yaml", "claims", "failures"
BEFORE = ".before"
"""Ending of the failures that an earlier command left."""
MOST_DEATHS = 2
"""So many workers may die of a cell."""
DONE, RUNNING, FAILED, WAITING = "done", "running", "failed", "waiting"


def read_grid(folder: Path) -> GridResults:
    """The state of every cell of a grid.

    Raises:
        LayerprobeError: if the folder holds no grid.
    """
    if not (folder / GRID_FILE).is_file():
        raise LayerprobeError(f"{folder} holds no grid: it has no {GRID_FILE}; `layerprobe compare` makes one")
    return GridReader(load_grid(folder / GRID_FILE, recorded=True), folder).read()


class GridReader:
    """Reads a grid's folder again and again, and every finished run once.

    Args:
        grid: the cells.
        folder: of the grid, which need not exist yet.
    """

    def __init__(self, grid: Grid, folder: Path) -> None:
        self._grid, self._folder = grid, folder
        self._done: dict[str, CellResult] = {}

    def read(self) -> GridResults:
        """The state of every cell."""
        results = []
        for planned in self._grid.cells:
            result = self._done.get(planned.cell.path) or cell_result(planned, self._folder)
            if result.state == DONE:
                self._done[planned.cell.path] = result
            results.append(result)
        grid = self._grid
        return GridResults(grid.title, grid.reference, tuple(results), provenance(grid), grid.ways)


def provenance(grid: Grid) -> dict[str, Any]:
    """Versions, the grid file, and the time."""
    return {
        "layerprobe": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "read": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "grid_sha256": grid.sha256,
        "grid": grid.text,
    }


def cell_result(planned: PlannedCell, folder: Path) -> CellResult:
    """The state of one cell.

    Raises:
        LayerprobeError: if the folder is a study whose table is damaged.
    """
    cell = planned.cell
    read_study(folder)
    try:
        kept = finished_cell(planned, folder)
        meant = as_it_was_begun(planned, kept.run.config) if kept else planned
        found = differing_settings(meant, kept.settings, kept.run.config, folder) if kept else ""
    except LayerprobeError as error:
        return CellResult(cell, FAILED, reason=str(error))
    if found:
        return CellResult(cell, FAILED, reason=other_run(cell.path, found, "finished"))
    if kept and not _awaits_evaluation(planned, folder):
        return CellResult(cell, DONE, kept.run, scores=scores_of(kept.evaluation))
    run = kept.run if kept else None
    if claims(folder).held(claim_name(cell.path)):
        return CellResult(cell, RUNNING, run)
    if reason := failure(folder, cell.path) or _published_failure(folder, cell.path):
        return CellResult(cell, FAILED, run, reason)
    return CellResult(cell, WAITING, run)


def finished_cell(planned: PlannedCell, folder: Path) -> FinishedCell | None:
    """A cell whose run is finished, from its folder, else from the study's table; None: it isn't.

    Raises:
        LayerprobeError: if the folder or the table is damaged.
    """
    path = planned.cell.path
    if not is_run(planned, folder):
        return read_study(folder).finished.get(path)
    record = read_record(folder / path)
    run, settings = build_run(folder / path, record), read_cell_settings(folder, path)
    return FinishedCell(run, record, settings, kept_evaluation(planned, folder))


def tidy_cells(cells: Iterable[PlannedCell], folder: Path) -> None:
    """Delete what killed workers left in the folders of finished cells, which no run opens any more."""
    for planned in cells:
        if is_run(planned, folder):
            tidy_run(folder / planned.cell.path)


def is_settled(planned: PlannedCell, folder: Path) -> bool:
    """Whether a cell is finished and evaluated, or has failed, so that nothing is left to do for it."""
    path = planned.cell.path
    if failure(folder, path):
        return True
    return (is_run(planned, folder) or path in read_study(folder).finished) and not _awaits_evaluation(planned, folder)


def is_run(planned: PlannedCell, folder: Path) -> bool:
    """Whether the run of a cell is finished, and lies in its folder."""
    return (folder / planned.cell.path / RESULT).is_file()


def _awaits_evaluation(planned: PlannedCell, folder: Path) -> bool:
    """Whether the features of a finished run are still to be evaluated; what a study holds has no weights for it."""
    return is_run(planned, folder) and not is_evaluated(planned, folder)


def claims(folder: Path) -> Claims:
    """Who works on the cells of a grid."""
    return Claims(folder / CLAIMS)


def claim_name(path: str) -> str:
    """What the claim of a run folder is called, with room for an ending."""
    return short_name(path.replace("/", "__"), 240)


_AGAIN = "the same command tries the cell again"


def failure(folder: Path, path: str) -> str:
    """Why a cell failed when it was last run; empty: it didn't. A file that is malformed is a reason, too."""
    file = _failure_file(folder, path)
    try:
        return parse(Failure, read_json(file, "failure", _AGAIN), file, _AGAIN).reason
    except FileError as error:
        return str(error)
    except LayerprobeError:
        if file.exists():
            raise
        return ""


def _published_failure(folder: Path, path: str) -> str:
    """Why a cell had failed when its study was made; empty: it hadn't, or has been tried again since."""
    reason = read_study(folder).failures.get(path, "")
    return reason if reason and not _failure_file(folder, path).with_suffix(BEFORE).exists() else ""


def mark_failed(folder: Path, path: str, reason: str, traceback: str = "") -> None:
    """Remember why a cell failed."""
    file = _failure_file(folder, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"reason": reason, "traceback": traceback})


def forget_failures(folder: Path) -> None:
    """Have failed cells tried again, after all others."""
    for file in (folder / FAILURES).glob("*.json"):
        with suppress(FileNotFoundError):  # another command does the same
            claims(folder).forget_deaths(file.stem)
            file.replace(file.with_suffix(BEFORE))
    for path in read_study(folder).failures:
        file = _failure_file(folder, path).with_suffix(BEFORE)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def tried_before(folder: Path) -> set[str]:
    """Claim names of the cells that failed before, or whose worker died: those that are tried last."""
    failed = {file.stem for file in (folder / FAILURES).glob(f"*{BEFORE}")}
    return failed | set(claims(folder).deaths())


def fail_deadly_cells(cells: Iterable[PlannedCell], folder: Path) -> None:
    """Mark the cells as failed whose workers died ``MOST_DEATHS`` times."""
    deaths = claims(folder).deaths()
    for planned in cells:
        name = claim_name(planned.cell.path)
        if deaths[name] < MOST_DEATHS or is_settled(planned, folder):
            continue
        if claim := claims(folder).take(name):
            with claim.kept():
                mark_failed(
                    folder,
                    planned.cell.path,
                    f"its worker died {deaths[name]} times; out of memory? fewer --jobs, or a smaller "
                    "training.batch_size, need less",
                )


def _failure_file(folder: Path, path: str) -> Path:
    return folder / FAILURES / f"{claim_name(path)}.json"


def ranking_file(folder: Path, name: str) -> Path:
    """Where the ranking of a teacher's layers lies."""
    return folder / RANKINGS / f"{short_name(slug(name), 242)}.ranking.json"
