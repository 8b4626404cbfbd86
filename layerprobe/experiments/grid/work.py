"""One worker of a grid: takes cells that nobody works on, until all are done."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from layerprobe.distill.folder import OtherRunError
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError, first_of, is_of_full_disk
from layerprobe.experiments.grid.cell_settings import as_it_was_begun, begun_config, other_run, write_cell_settings
from layerprobe.experiments.grid.claims import Claim, ClaimLostError
from layerprobe.experiments.grid.evaluate_cell import evaluate_cell
from layerprobe.experiments.grid.grid_file import Grid, PlannedCell
from layerprobe.experiments.grid.rankings import ranking_of
from layerprobe.experiments.grid.results import (
    claim_name,
    claims,
    fail_deadly_cells,
    is_run,
    is_settled,
    mark_failed,
    tried_before,
)
from layerprobe.experiments.resolve_rules import resolve_rules, scored_rule
from layerprobe.locks import HeldError
from layerprobe.plugins import ends_program
from layerprobe.records import Cell, EpochMetrics, Progress, silent
from layerprobe.runtime.interruption import interruptible
from layerprobe.settings.run import DistillSettings

_log = logging.getLogger(__name__)

POLL = 5.0
"""Seconds between looks at cells that others work on."""

MOST_BUGS = 3
"""So many failures in a row that nobody foresaw end a worker."""

OnEpoch = Callable[[Cell, EpochMetrics, int], None]


class WorkerEndsError(LayerprobeError):
    """A worker that can't go on; others can, with the cells that are left."""


def _ignore_epoch(cell: Cell, metrics: EpochMetrics, epochs: int) -> None:
    """The epoch callback that does nothing."""


def work(
    grid: Grid,
    folder: Path,
    on_epoch: OnEpoch = _ignore_epoch,
    progress: Progress = silent,
    poll: float = POLL,
) -> tuple[Cell, ...]:
    """Run cells until every one is done or has failed, here or elsewhere.

    Cells of the first seed come first, so that a grid that is interrupted has something of every method; those that
    failed before, or whose worker died, come last. A cell whose worker died is taken over, and goes on after the last
    epoch that was saved; after two deaths it is marked as failed. A cell that fails is marked, and the next one is
    taken. Where a failure may well be the process's own, the worker ends, so that it doesn't fail every other cell too.

    Args:
        grid: which cells.
        folder: of the grid.
        on_epoch: told the cell, every epoch's metrics, and how many epochs there are.
        progress: told after every step.
        poll: seconds between looks at cells that others work on.

    Returns:
        The cells that this worker ran to their end.

    Raises:
        WorkerEndsError: where the disk is full, after an error of the accelerator, or after ``MOST_BUGS`` failures in a
            row that nobody foresaw.
    """
    ran, held = list[Cell](), set[str]()
    bugs, waits = 0, False
    open_cells: Sequence[PlannedCell] = grid.cells
    while open_cells := [planned for planned in open_cells if not is_settled(planned, folder)]:
        fail_deadly_cells(open_cells, folder)
        found = _take(open_cells, folder, held)
        if found is None:
            if not waits:
                _log.info("waiting for %s, where others work", first_of([one.cell.path for one in open_cells]))
            waits = True
            time.sleep(poll)
            continue
        planned, claim = found
        with claim.kept():
            try:
                with interruptible():  # an interruption is no failure of the cell, whatever it breaks
                    if _run(planned, claim, grid, folder, on_epoch, progress):
                        ran.append(planned.cell)
                bugs = 0
            except (KeyboardInterrupt, WorkerEndsError):
                raise
            except HeldError as error:  # by what made no claim, such as `layerprobe distill`
                if planned.cell.path not in held:
                    _log.warning("%s", error)
                held.add(planned.cell.path)
                time.sleep(poll)
            except Exception as error:
                bugs += 1
                _fail_unforeseen(folder, planned.cell, error, is_last=bugs == MOST_BUGS)
            except BaseException as error:  # of a model or plug-in, such as sys.exit
                _fail(folder, planned.cell, ends_program(error))
    return tuple(ran)


def is_of_accelerator(error: Exception) -> bool:
    """Whether a process can do nothing more on its accelerator; memory that ran out is no such error."""
    kind = getattr(torch, "AcceleratorError", None)  # since PyTorch 2.8
    return (kind is not None and isinstance(error, kind)) or (
        isinstance(error, RuntimeError) and "CUDA error" in str(error)
    )


def _take(cells: Iterable[PlannedCell], folder: Path, held: set[str]) -> tuple[PlannedCell, Claim] | None:
    """The first cell that nobody works on and nobody has settled, claimed; those that were held come last."""
    last = tried_before(folder) | {claim_name(path) for path in held}
    for planned in sorted(cells, key=lambda one: (claim_name(one.cell.path) in last, one.cell.seed)):
        if is_settled(planned, folder):
            continue
        claim = claims(folder).take(claim_name(planned.cell.path))
        if claim is not None:
            return planned, claim
    return None


def _run(planned: PlannedCell, claim: Claim, grid: Grid, folder: Path, on_epoch: OnEpoch, progress: Progress) -> bool:
    """Run a claimed cell to its end, and evaluate its student; whether it came there."""
    cell = planned.cell
    if is_settled(planned, folder):
        return False  # another worker finished it between the check and the claim
    _log.info("%s, %s, seed %d: %s", cell.pair, cell.label, cell.seed, cell.path)

    def check_and_tell(metrics: EpochMetrics) -> None:
        claim.check()
        on_epoch(cell, metrics, epochs)

    def check_and_show(what: str, done: int, total: int) -> None:
        claim.check()
        progress(what, done, total)

    try:
        if not is_run(planned, folder):
            planned = as_it_was_begun(planned, begun_config(planned, folder))
            write_cell_settings(planned, folder)
            plan = _plan(planned, grid, folder, check_and_show)
            epochs = plan.training.epochs
            distill_student(plan, check_and_tell, check_and_show)
        evaluate_cell(planned, folder, check_and_show)
    except ClaimLostError:
        _log.warning("another worker has taken %s over, since this one gave no sign of life", cell.path)
        return False
    except HeldError:
        raise
    except OtherRunError as error:
        _fail(folder, cell, other_run(cell.path, error.difference, "unfinished"))
        return False
    except LayerprobeError as error:
        reason = " ".join(str(error).split())
        if is_of_full_disk(error):  # no other cell would find room
            raise WorkerEndsError(f"a worker ended at {cell.path}: {reason}") from error
        _fail(folder, cell, reason)
        return False
    return True


def _plan(planned: PlannedCell, grid: Grid, folder: Path, progress: Progress) -> DistillSettings:
    """The run of a cell, with its teacher's layers by name."""
    plan = planned.config(folder)
    ranking = ranking_of(planned, plan, grid, folder, progress)
    second = plan.spectrum_samples if scored_rule(plan) else None  # a grid may ask for it once for all of its cells
    resolved = resolve_rules(
        plan.replaced(spectrum_samples=second), ranking, progress, name=str(planned.ranking or "the ranking")
    )
    return resolved.replaced(spectrum_samples=plan.spectrum_samples)


def _fail_unforeseen(folder: Path, cell: Cell, error: Exception, is_last: bool) -> None:
    """Mark a cell as failed by an error that nobody foresaw.

    Raises:
        WorkerEndsError: if it is the last that a worker bears, or may well spoil every other cell.
    """
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    _fail(folder, cell, reason, traceback.format_exc())
    if is_last or is_of_accelerator(error):
        raise WorkerEndsError(f"a worker ended after {cell.path} had failed ({reason})") from error


def _fail(folder: Path, cell: Cell, reason: str, trace: str = "") -> None:
    _log.error("%s failed: %s", cell.path, reason)
    with suppress(OSError, LayerprobeError):
        mark_failed(folder, cell.path, reason, trace)
