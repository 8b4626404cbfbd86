"""``layerprobe distill``."""

from __future__ import annotations

from typing import Annotated

import typer

from layerprobe.cli import options, training_options
from layerprobe.cli.reporter import Reporter
from layerprobe.cli.runs import show_run

METHOD_NAMES = (
    "feature-only", "scratch", "kd", "kd-std", "dkd", "fitnets", "fitnets-full", "sp", "semckd", "attention-transfer",
    "rkd", "reviewkd",
)  # fmt: skip

EXAMPLES = """Examples:

layerprobe distill --teacher cifar:resnet56 --weights r56.th --student cifar:resnet20 --data photos/
--layers r56.ranking.json --output run/

layerprobe distill --method kd --teacher timm:resnet34 --weights teacher.pt --student cifar:resnet9
--data CIFAR10 --output kd/
"""


def distill(
    teacher: Annotated[str, typer.Option("--teacher", help=f"The teacher: {options.MODEL_HELP}.", show_default=False)],
    student: Annotated[str, typer.Option("--student", help="The student, named likewise.", show_default=False)],
    data: options.Data,
    output: training_options.Output,
    method: Annotated[str, typer.Option("--method", help=f"{', '.join(METHOD_NAMES)}.")] = "feature-only",
    layers: Annotated[
        str | None,
        typer.Option("--layers", help="Teacher layers: a ranking file, or names or indices separated by commas."),
    ] = None,
    student_layers: Annotated[
        str | None,
        typer.Option("--student-layers", help="Student layers  [default: the paper's, else evenly spread]"),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help=f"The teacher's weights: {options.WEIGHTS_HELP}")
    ] = None,
    student_weights: Annotated[
        str | None, typer.Option("--student-weights", help="The student's first weights  [default: random]")
    ] = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    epochs: training_options.Epochs = 50,
    batch_size: options.BatchSize = 128,
    lr: training_options.LearningRate = None,
    weight_decay: training_options.WeightDecay = 0.01,
    train_samples: training_options.TrainSamples = None,
    test_samples: training_options.TestSamples = None,
    holdout: training_options.Holdout = 0.0,
    image_size: options.ImageSize = None,
    mean: options.Mean = None,
    std: options.Std = None,
    device: options.Device = "auto",
    precision: training_options.Precision = "no",
    workers: options.Workers = 0,
    seed: options.Seed = 0,
    format: options.Format = "table",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Train a student from a teacher's layers.

    Its backbone learns from the features alone (feature-only), or with a method to compare that with.
    """
    means, stds = options.numbers(mean, "--mean"), options.numbers(std, "--std")

    from layerprobe.distill.config import DistillConfig, Training
    from layerprobe.distill.run import distill_student
    from layerprobe.report.tables import check_format
    from layerprobe.resolve import DataSpec, ModelSpec

    check_format(format)
    config = DistillConfig(
        method=method,
        teacher=ModelSpec(teacher, weights),
        student=ModelSpec(student, student_weights),
        data=DataSpec(data, data_root, download, image_size, means, stds),
        output=output,
        layers=layers,
        student_layers=options.names(student_layers),
        training=Training(
            epochs, batch_size, lr, weight_decay, seed, train_samples, test_samples, holdout, device, precision, workers
        ),
        overwrite=overwrite,
    )
    with Reporter(quiet, verbose) as reporter:
        run = distill_student(config, lambda metrics: reporter.epoch(metrics, epochs), reporter.progress)
        show_run(run, reporter, format)
