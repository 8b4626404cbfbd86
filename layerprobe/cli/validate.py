"""``layerprobe validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerprobe.cli import options
from layerprobe.cli.compare import (
    DryRun,
    GridOutput,
    GridWatch,
    Jobs,
    Launcher,
    LauncherOption,
    grid_reporter,
    show_failures,
    show_plan,
)

EXAMPLES = """Examples:

layerprobe validate examples/paper/cpu-validate.yaml --output validation/ --dry-run

layerprobe validate examples/paper/cpu-validate.yaml --output validation/ --jobs 2

layerprobe validate mine.yaml --score my_scores.py:curvature --output validation/

layerprobe report validation/
"""


def validate(
    grid: Annotated[Path, typer.Argument(help="A grid file with a key `validate`.", show_default=False)],
    output: GridOutput,
    score: Annotated[
        list[str] | None,
        typer.Option("--score", help="A score of your own, FILE.py:function of a layer's Gram matrix; again for more."),
    ] = None,
    jobs: Jobs = 1,
    launcher: Launcher = "local",
    launcher_option: LauncherOption = None,
    dry_run: DryRun = False,
    format: options.Format = "table",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Test whether scores tell which layers distil well.

    A student is distilled from each teacher layer alone, and from sets of layers drawn at random; what they reach is
    correlated with every score that is known before training. The same command goes on where it was interrupted.
    """
    from layerprobe.experiments.grid.compare import CompareConfig
    from layerprobe.experiments.validation.results import read_validation
    from layerprobe.experiments.validation.scores import load_scores
    from layerprobe.experiments.validation.validate import plan_validation
    from layerprobe.experiments.validation.validate import validate as run
    from layerprobe.report.tables.table import check_format
    from layerprobe.report.tables.validation import correlations_table

    check_format(format)
    config = CompareConfig(grid, output, jobs, launcher, tuple(launcher_option or ()))
    with grid_reporter(quiet, verbose, dry_run) as reporter:
        if dry_run:
            show_plan(plan_validation(config), config, reporter, format)
            return
        compared = run(
            config,
            lambda cell, metrics, epochs: reporter.epoch(metrics, epochs),
            load_scores(score or ()),
            reporter.progress,
            GridWatch(reporter),
        )
        if compared.left:
            reporter.say(compared.left)
            return
        found = read_validation(output)
        if found is not None:
            reporter.show(correlations_table(found), format)
        failed = show_failures(compared.results, reporter)
        reporter.wrote([output / "grid.yaml", output / "scores.json"], f"layerprobe report {output}")
    if failed:
        raise typer.Exit(1)
