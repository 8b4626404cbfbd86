"""``layerprobe evaluate``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.settings.display import ColumnSettings
from layerprobe.settings.evaluate import EvaluateSettings

EXAMPLES = """
layerprobe evaluate run/
layerprobe evaluate run/ --data photos/ --which best --output figures/
"""
FIRST = (
    "--data", "--split", "--samples", "--which", "--output", "--format", "--columns", "--batch-size",
    "--device", "--overwrite",
)  # fmt: skip


def evaluate(settings: EvaluateSettings, display: ColumnSettings) -> None:
    """Classify images with a trained network.

    Prints top-1 and top-5 accuracy and the accuracy of every class, and draws the confusion matrix.
    """
    from layerprobe.evaluation.evaluate import evaluate as run
    from layerprobe.evaluation.evaluate import evaluated
    from layerprobe.report.figures.confusion import confusion_figure
    from layerprobe.report.figures.style import WIDTHS, check_figure, save_figure
    from layerprobe.report.tables.choice import check_columns
    from layerprobe.report.tables.runs import EVALUATION_COLUMNS, evaluation_table

    check_columns(EVALUATION_COLUMNS, display.columns)
    folder, name = settings.output or settings.run, _figure_name(settings)
    with Reporter(display) as reporter:
        shows = evaluated(settings)
        check_figure(folder, name, settings.overwrite, shows)
        evaluation = run(settings, reporter.progress)
        draw = partial(confusion_figure, evaluation, WIDTHS[settings.width])
        files = save_figure(draw, folder, name, settings.overwrite, settings.style, shows, settings.caption)
        reporter.show(evaluation_table(evaluation))
        reporter.wrote(files)


def _figure_name(settings: EvaluateSettings) -> str:
    """``confusion``, with what was evaluated other than the last weights on the run's own test images."""
    data = Path(settings.data.name).name if settings.data else ""
    sample = "" if settings.samples is None else str(settings.samples)
    split, which = (
        value if value != usual else "" for value, usual in ((settings.split, "test"), (settings.which, "last"))
    )
    return "-".join(filter(None, ("confusion", data, split, sample, which)))


COMMAND = Command("evaluate", evaluate, EXAMPLES, FIRST)
