"""``layerprobe evaluate``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from layerprobe.cli import options
from layerprobe.cli.reporter import Reporter

EXAMPLES = """Examples:

layerprobe evaluate run/

layerprobe evaluate run/ --data photos/ --which best --output figures/
"""


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run of distill or train.", show_default=False)],
    data: Annotated[str | None, typer.Option("--data", help=f"{options.DATA_HELP}  [default: the run's]")] = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    split: Annotated[str, typer.Option("--split", help="train, test or all.")] = "test",
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="A class-balanced sample  [default: every image]")
    ] = None,
    which: Annotated[
        str, typer.Option("--which", help="Weights: last, best (on held-out images) or latest (of an unfinished run).")
    ] = "last",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the confusion matrix  [default: the run's]")
    ] = None,
    width: options.Width = "column",
    style: options.Style = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = 128,
    workers: options.Workers = 0,
    format: options.Format = "table",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Classify images with a trained network: top-1, top-5, every class, and which are confused."""
    from layerprobe.distill.evaluate import EvaluateConfig
    from layerprobe.distill.evaluate import evaluate as compute
    from layerprobe.report.figures.confusion import confusion_figure
    from layerprobe.report.run_tables import evaluation_table
    from layerprobe.report.style import check_figure, figure_width, save_figure
    from layerprobe.report.tables import check_format
    from layerprobe.resolve import DataSpec

    check_format(format)
    inches, folder = figure_width(width), output or run
    if run.is_dir():
        check_figure(folder, "confusion", overwrite)
    spec = DataSpec(data, data_root, download) if data else None
    config = EvaluateConfig(run, spec, split, samples, which, device, batch_size, workers)
    with Reporter(quiet, verbose) as reporter:
        evaluation = compute(config, reporter.progress)
        files = save_figure(partial(confusion_figure, evaluation, inches), folder, "confusion", overwrite, style)
        reporter.show(evaluation_table(evaluation), format)
        reporter.wrote(files)
