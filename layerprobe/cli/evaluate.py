"""``layerprobe evaluate``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.settings.display import TableSettings
from layerprobe.settings.evaluate import EvaluateSettings

EXAMPLES = """
layerprobe evaluate run/
layerprobe evaluate run/ --data photos/ --which best --output figures/
"""


def evaluate(settings: EvaluateSettings, display: TableSettings) -> None:
    """Classify images with a trained network: top-1, top-5, every class, and which are confused."""
    from layerprobe.evaluation.evaluate import evaluate as run
    from layerprobe.evaluation.evaluate import evaluated
    from layerprobe.report.figures.confusion import confusion_figure
    from layerprobe.report.figures.style import WIDTHS, check_figure, save_figure
    from layerprobe.report.tables.runs import evaluation_table

    folder, name = settings.output or settings.run, _figure_name(settings)
    with Reporter(display) as reporter:
        shows = evaluated(settings)
        check_figure(folder, name, settings.overwrite, shows)
        evaluation = run(settings, reporter.progress)
        draw = partial(confusion_figure, evaluation, WIDTHS[settings.width])
        files = save_figure(draw, folder, name, settings.overwrite, settings.style, shows)
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


COMMAND = Command("evaluate", evaluate, EXAMPLES)
