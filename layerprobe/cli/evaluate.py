"""``layerprobe evaluate``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layerprobe.cli import options
from layerprobe.cli.reporter import Reporter

if TYPE_CHECKING:
    from layerprobe.evaluation.evaluate import EvaluateConfig

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
        str | None, typer.Option("--samples", help="A class-balanced sample of so many, or 'all'  [default: all]")
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
    from layerprobe.evaluation.evaluate import EvaluateConfig
    from layerprobe.evaluation.evaluate import evaluate as compute
    from layerprobe.networks import DataSpec
    from layerprobe.report.figures.confusion import confusion_figure
    from layerprobe.report.figures.style import check_figure, figure_width, save_figure
    from layerprobe.report.tables.runs import evaluation_table
    from layerprobe.report.tables.table import check_format

    check_format(format)
    inches, folder = figure_width(width), output or run
    spec = DataSpec(data, data_root, download) if data else None
    count = options.samples(samples, "--samples")
    config = EvaluateConfig(
        run, spec, split, count if isinstance(count, int) else None, which, device, batch_size, workers
    )
    name = _figure_name(config)
    if run.is_dir():
        check_figure(folder, name, overwrite)
    with Reporter(quiet, verbose) as reporter:
        evaluation = compute(config, reporter.progress)
        files = save_figure(partial(confusion_figure, evaluation, inches), folder, name, overwrite, style)
        reporter.show(evaluation_table(evaluation), format)
        reporter.wrote(files)


def _figure_name(config: EvaluateConfig) -> str:
    """``confusion``, with what was evaluated other than the last weights on the run's own test images."""
    data = Path(config.data.name).name if config.data else ""
    sample = "" if config.samples is None else str(config.samples)
    split, which = (
        value if value != usual else "" for value, usual in ((config.split, "test"), (config.which, "last"))
    )
    return "-".join(filter(None, ("confusion", data, split, sample, which)))
