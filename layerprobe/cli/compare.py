"""``layerprobe compare``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.settings.compare import CompareSettings, PlanSettings
from layerprobe.settings.display import DisplaySettings, TableSettings
from layerprobe.settings.flags import command_line
from layerprobe.settings.report import ReportSettings

if TYPE_CHECKING:
    from layerprobe.experiments.grid.grid_file import Grid
    from layerprobe.records import Cell, CellResult, GridResults

EXAMPLES = """
layerprobe compare examples/paper/cpu-methods.yaml --output grid/ --dry-run
layerprobe compare examples/paper/cpu-methods.yaml --output grid/ --jobs 2
layerprobe compare examples/paper/resnet34.yaml --output grid/ --per-device 3
layerprobe compare examples/paper/cifar10.yaml --output grid/ \\
    --launcher slurm --jobs 16 --launcher-option timeout_min=600 \\
    --launcher-option gpus_per_node=1
layerprobe report grid/
"""
FIRST = ("--output", "--jobs", "--dry-run", "--launcher", "--launcher-option", "--format")


def compare(settings: CompareSettings, plan: PlanSettings, display: TableSettings) -> None:
    """Run a whole grid of distillations from one file.

    The grid file names pairs of networks, data sets, methods, choices of layers and seeds. Every cell is a run of
    `layerprobe distill` in its own folder. Finished cells are never run again: the same command continues an
    interrupted grid, and several commands, on any machines that share the folder, divide the cells.
    """
    from layerprobe.experiments.grid.compare import compare as run
    from layerprobe.experiments.grid.compare import plan_grid
    from layerprobe.report.grid.tables import grid_table

    with grid_reporter(display, plan) as reporter:
        if plan.dry_run:
            show_plan(plan_grid(settings), settings, reporter)
            return
        compared = run(
            settings,
            lambda cell, metrics, epochs: reporter.epoch(metrics, epochs),
            reporter.progress,
            GridWatch(reporter),
        )
        if compared.left:
            reporter.say(compared.left)
            return
        reporter.show(grid_table(compared.results))
        failed = show_failures(compared.results, reporter)
        reporter.wrote([settings.output / "grid.yaml"], report_line(settings.output))
    if failed:
        raise typer.Exit(1)


def report_line(folder: Path, allow_code: bool = False) -> str:
    """The command that reports on a grid, with leave to run the file of its teacher where it must."""
    return command_line("report", ReportSettings(sources=(folder,), allow_code=allow_code))


def grid_reporter(display: DisplaySettings, plan: PlanSettings) -> Reporter:
    """A reporter that leaves out what the trial runs of a dry run say of themselves: their layers are no cell's."""
    return Reporter(display, usual=logging.WARNING if plan.dry_run else logging.INFO)


def show_plan(grid: Grid, settings: CompareSettings, reporter: Reporter) -> None:
    """The cells of a grid, and how long they will take."""
    from layerprobe.experiments.grid.estimate import estimate_seconds
    from layerprobe.experiments.grid.launchers import count_workers
    from layerprobe.experiments.grid.results import GridReader
    from layerprobe.report.tables.plan import plan_table

    results = GridReader(grid, settings.output).read()
    workers = count_workers(settings)
    seconds = estimate_seconds(grid, results, reporter.progress, workers if settings.launcher == "local" else 1)
    reporter.show(plan_table(results, seconds, workers))


def show_failures(results: GridResults, reporter: Reporter) -> bool:
    """A line for every cell that failed; whether there are any."""
    failed = [result for result in results.results if result.state == "failed"]
    for result in failed:
        reporter.say(f"failed: {_words(result.cell)}: {result.reason}")
    return bool(failed)


class GridWatch:
    """Says what became of a cell when something has."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._known: dict[str, str] = {}

    def __call__(self, results: GridResults) -> None:
        """Compare the state with the one before."""
        for result in results.results:
            before = self._known.get(result.cell.path)
            if result.state != before and not (before is None and result.state == "waiting"):
                self._say(result, before, sum(one.state == "done" for one in results.results), len(results.results))
            self._known[result.cell.path] = result.state
        self._reporter.progress(
            "cells", sum(one.state in ("done", "failed") for one in results.results), len(results.results)
        )

    def _say(self, result: CellResult, before: str | None, done: int, cells: int) -> None:
        what = _words(result.cell)
        if result.state == "done" and result.run:
            if before is not None:
                self._reporter.hint(f"{done}/{cells} done: {what}: {result.run.outcome}")
        elif result.state == "failed":
            self._reporter.say(f"failed: {what}: {result.reason}")
        elif result.state == "running":
            self._reporter.hint(f"running: {what}")


def _words(cell: Cell) -> str:
    return ", ".join(filter(None, (cell.pair, cell.data, cell.label, f"seed {cell.seed}")))


COMMAND = Command("compare", compare, EXAMPLES, FIRST)
