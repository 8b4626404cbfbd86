"""``layerprobe train``."""

from __future__ import annotations

from pathlib import Path

from layerprobe.cli.options import Command, Given
from layerprobe.cli.reporter import Reporter
from layerprobe.cli.run_settings import run_settings
from layerprobe.cli.runs import check_style, show_run
from layerprobe.settings.display import PageFigureSettings, TableSettings
from layerprobe.settings.flags import command_line
from layerprobe.settings.run import TrainSettings
from layerprobe.settings.source import SourceSettings

EXAMPLES = """
layerprobe train --model cifar:resnet56 --data CIFAR10 --epochs 50 \\
    --output teacher/
layerprobe train --model timm:resnet34 --weights pretrained \\
    --backbone-lr-factor 0.01 --data photos/ --output teacher/
layerprobe train --resume --output teacher/
"""
FIRST = (
    "--model", "--weights", "--data", "--output", "--preset", "--epochs", "--batch-size", "--augment",
    "--device", "--resume",
)  # fmt: skip


def train(
    source: SourceSettings, given: Given[TrainSettings], display: TableSettings, figures: PageFigureSettings
) -> None:
    """Train a network on labels, for instance a teacher."""
    settings = run_settings(given, source)
    check_style(figures)

    from layerprobe.distill.run import train_model
    from layerprobe.runtime.devices import is_main_process
    from layerprobe.settings.extract import ExtractSettings

    with Reporter(display, speaks=is_main_process()) as reporter:
        epochs = settings.training.epochs
        run = train_model(settings, lambda metrics: reporter.epoch(metrics, epochs), reporter.progress)
        if is_main_process():
            model = settings.model.replaced(weights=str(run.weights), weights_sha256=None)
            following = ExtractSettings(
                model=model, data=settings.data, output=Path("features.h5"), device=settings.training.device
            )
            show_run(run, reporter, figures, command_line("extract", following))


COMMAND = Command("train", train, EXAMPLES, FIRST, interrupted="the same command with --resume goes on")
