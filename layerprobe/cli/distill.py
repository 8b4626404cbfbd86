"""``layerprobe distill``."""

from __future__ import annotations

from layerprobe.cli.options import Command, Given
from layerprobe.cli.reporter import Reporter
from layerprobe.cli.run_settings import run_settings
from layerprobe.cli.runs import check_style, show_run
from layerprobe.settings.display import PageFigureSettings, TableSettings
from layerprobe.settings.flags import command_line
from layerprobe.settings.run import DistillSettings
from layerprobe.settings.source import SourceSettings

EXAMPLES = """
layerprobe distill --teacher cifar:resnet56 --teacher-weights r56.th \\
    --student cifar:resnet20 --data photos/ --layers even-information:4 \\
    --output run/
layerprobe distill --teacher cifar:resnet56 --teacher-weights r56.th \\
    --student cifar:resnet20 --data photos/ --layers r56.ranking.json \\
    --output run-quality/
layerprobe distill --method kd --teacher timm:resnet34 \\
    --teacher-weights teacher.pt --student cifar:resnet9 --data CIFAR10 \\
    --preset paper-240 --output kd/
layerprobe distill --config run/config.yaml --seed 1 --output run-1/
layerprobe distill --resume --output run/
"""
FIRST = (
    "--teacher", "--teacher-weights", "--student", "--data", "--output", "--layers", "--method", "--preset",
    "--epochs", "--device",
)  # fmt: skip


def distill(
    source: SourceSettings, given: Given[DistillSettings], display: TableSettings, figures: PageFigureSettings
) -> None:
    """Train a student network from the layers of a teacher.

    With the default method, feature-only, its backbone learns from features alone. The other methods are baselines.
    """
    settings = run_settings(given, source)
    check_style(figures)

    from layerprobe.distill.run import distill_student
    from layerprobe.distill.students import evaluation_data, runs_code
    from layerprobe.experiments.resolve_rules import resolve_rules
    from layerprobe.runtime.devices import is_main_process
    from layerprobe.settings.evaluate import EvaluateSettings

    with Reporter(display, speaks=is_main_process()) as reporter:
        settings = resolve_rules(settings, progress=reporter.progress)
        epochs = settings.training.epochs
        run = distill_student(settings, lambda metrics: reporter.epoch(metrics, epochs), reporter.progress)
        if is_main_process():
            following = EvaluateSettings(
                run=run.folder,
                data=evaluation_data(run, settings.data),
                allow_code=runs_code(run.folder),
                device=settings.training.device,
                skip_damaged=settings.data.skip_damaged,
            )
            show_run(run, reporter, figures, command_line("evaluate", following))


COMMAND = Command(
    "distill",
    distill,
    EXAMPLES,
    FIRST,
    renamed={
        "--weights": "--teacher-weights",
        "--cross-entropy-into-backbone": "--cross-entropy",
        "--no-cross-entropy-into-backbone": "--no-cross-entropy",
    },
    interrupted="the same command with --resume goes on",
)
