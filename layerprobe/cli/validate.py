"""``layerprobe validate``."""

from __future__ import annotations

import typer

from layerprobe.cli.compare import GridWatch, grid_reporter, report_line, show_failures, show_plan
from layerprobe.cli.options import Command
from layerprobe.plugins import split_file_name
from layerprobe.settings.compare import PlanSettings
from layerprobe.settings.display import TableSettings
from layerprobe.settings.validate import ValidateSettings

EXAMPLES = """
layerprobe validate examples/paper/cpu-validate.yaml --output validation/ \\
    --dry-run
layerprobe validate examples/paper/cpu-validate.yaml --output validation/ \\
    --jobs 2
layerprobe validate mine.yaml --score my_scores.py:curvature \\
    --output validation/
layerprobe report validation/
"""
FIRST = ("--output", "--score", "--jobs", "--dry-run", "--launcher", "--launcher-option", "--format")


def validate(settings: ValidateSettings, plan: PlanSettings, display: TableSettings) -> None:
    """Test whether scores predict which layers distil well.

    A student is distilled from each teacher layer alone, and from sets of layers drawn at random. Their accuracies are
    correlated with every score that is known before training. After an interruption the same command continues.
    """
    from layerprobe.experiments.grid.grid_file import load_grid
    from layerprobe.experiments.grid.results import GRID_FILE
    from layerprobe.experiments.validation.results import read_validation
    from layerprobe.experiments.validation.scores import load_scores
    from layerprobe.experiments.validation.validate import plan_validation
    from layerprobe.experiments.validation.validate import validate as run
    from layerprobe.report.tables.validation import correlations_table

    output = settings.output
    with grid_reporter(display, plan) as reporter:
        if plan.dry_run:
            show_plan(plan_validation(settings), settings, reporter)
            return
        compared = run(
            settings,
            lambda cell, metrics, epochs: reporter.epoch(metrics, epochs),
            load_scores(settings.score),
            reporter.progress,
            GridWatch(reporter),
        )
        if compared.left:
            reporter.say(compared.left)
            return
        found = read_validation(output, allow_code=True)
        if found is not None:
            reporter.show(correlations_table(found))
        own = any(
            split_file_name(planned.settings.teacher.name)
            for planned in load_grid(output / GRID_FILE, recorded=True).cells
        )
        failed = show_failures(compared.results, reporter)
        reporter.wrote([output / "grid.yaml", output / "scores.json"], report_line(output, own))
    if failed:
        raise typer.Exit(1)


COMMAND = Command("validate", validate, EXAMPLES, FIRST)
