"""``layerprobe distill``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerprobe.cli import former_options as options
from layerprobe.cli import training_options
from layerprobe.cli.reporter import Reporter
from layerprobe.cli.runs import show_run
from layerprobe.settings.display import TableSettings

METHOD_NAMES = (
    "feature-only", "scratch", "kd", "kd-std", "dkd", "fitnets", "fitnets-full", "sp", "semckd", "simkd",
    "attention-transfer", "rkd", "crd", "reviewkd",
)  # fmt: skip

EXAMPLES = """Examples:

layerprobe distill --teacher cifar:resnet56 --weights r56.th --student cifar:resnet20 --data photos/
--layers r56.ranking.json --output run/

layerprobe distill --method kd --teacher timm:resnet34 --weights teacher.pt --student cifar:resnet9
--data CIFAR10 --preset paper-240 --output kd/

layerprobe distill --config run/config.yaml --seed 1 --output run-1/

layerprobe distill --resume --output run/
"""


_PLACES = {
    "teacher": "teacher.name",
    "weights": "teacher.weights",
    "student": "student.name",
    "student_weights": "student.weights",
    "method": "method",
    "layers": "layers",
    "alignment": "alignment.name",
    "by_class": "alignment.by_class",
    "projector": "alignment.projector",
    "feature_loss": "alignment.feature_loss",
    "mapping": "alignment.mapping",
    "cross_entropy": "alignment.cross_entropy",
    "kl": "alignment.kl",
    "feature_weight": "alignment.feature_weight",
    "student_layers": "student_layers",
    "teacher_features": "teacher_features",
}


def distill(
    ctx: typer.Context,
    output: training_options.Output,
    teacher: Annotated[
        str | None, typer.Option("--teacher", help=f"The teacher: {options.MODEL_HELP}.", show_default=False)
    ] = None,
    student: Annotated[
        str | None, typer.Option("--student", help="The student, named likewise.", show_default=False)
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help=options.DATA_HELP, show_default=False)] = None,
    method: Annotated[str, typer.Option("--method", help=f"{', '.join(METHOD_NAMES)}.")] = "feature-only",
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            help="Teacher layers: a ranking file, names or indices separated by commas, or a rule: even:K, "
            "even-quality:K, even-information:K, last:K, random:K, quality:K or another --by of rank, stagewise:K, "
            "stagewise-resolution:K, stagewise-reach:K.",
        ),
    ] = None,
    student_layers: Annotated[
        str | None,
        typer.Option(
            "--student-layers", help="Student layers, named likewise  [default: the paper's, else evenly spread]"
        ),
    ] = None,
    alignment: Annotated[
        str, typer.Option("--alignment", help="Of feature-only: projector, geometry, moments or relation.")
    ] = "projector",
    by_class: Annotated[
        bool, typer.Option("--by-class/--no-by-class", help="Geometry or moments of classes: labels shape the targets.")
    ] = False,
    projector: Annotated[
        str, typer.Option("--projector", help="Of feature-only: one-layer or three-layer.")
    ] = "one-layer",
    feature_loss: Annotated[str, typer.Option("--feature-loss", help="Of feature-only: mse, huber or cosine.")] = "mse",
    mapping: Annotated[
        str,
        typer.Option(
            "--mapping",
            help="Of feature-only: one-to-one, full, attention, or a table of pairs, the student's layer first: "
            "layer1.2=layer3.5,layer3.2=layer3.6.",
        ),
    ] = "one-to-one",
    cross_entropy: Annotated[
        bool,
        typer.Option(
            "--cross-entropy-into-backbone/--no-cross-entropy-into-backbone", help="An ablation of feature-only."
        ),
    ] = False,
    kl: Annotated[
        bool, typer.Option("--kl/--no-kl", help="An ablation of feature-only: KL of logits into the backbone.")
    ] = False,
    feature_weight: Annotated[
        float,
        typer.Option(
            "--feature-weight",
            help="With --cross-entropy-into-backbone or --kl: what the features' loss is multiplied by.",
        ),
    ] = 1.0,
    weights: Annotated[
        str | None, typer.Option("--weights", help=f"The teacher's weights: {options.WEIGHTS_HELP}")
    ] = None,
    student_weights: Annotated[
        str | None, typer.Option("--student-weights", help="The student's first weights  [default: random]")
    ] = None,
    teacher_features: Annotated[
        Path | None,
        typer.Option("--teacher-features", help="A file of `layerprobe extract` that stands for the teacher's passes."),
    ] = None,
    cache_teacher: training_options.CacheTeacher = False,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    config: training_options.Config = None,
    preset: training_options.Preset = None,
    resume: training_options.Resume = False,
    epochs: training_options.Epochs = 50,
    batch_size: training_options.BatchSize = 128,
    lr: training_options.LearningRate = None,
    backbone_lr_factor: training_options.BackboneFactor = 1.0,
    optimizer: training_options.Optimizer = "adamw",
    momentum: training_options.Momentum = 0.9,
    weight_decay: training_options.WeightDecay = 0.01,
    schedule: training_options.Schedule = "onecycle",
    milestones: training_options.Milestones = None,
    decay: training_options.Decay = 0.1,
    clip: training_options.Clip = None,
    accumulate: training_options.Accumulate = 1,
    augment: training_options.Augment = "none",
    train_samples: training_options.TrainSamples = None,
    test_samples: training_options.TestSamples = None,
    holdout: training_options.Holdout = 0.0,
    check: training_options.Check = True,
    image_size: options.ImageSize = None,
    mean: options.Mean = None,
    std: options.Std = None,
    device: options.Device = "auto",
    precision: training_options.Precision = "no",
    compile: training_options.Compile = False,
    channels_last: training_options.ChannelsLast = False,
    tensorboard: training_options.TensorBoard = False,
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
    values = training_options.configuration(ctx, _PLACES)

    from layerprobe.distill.run import distill_student
    from layerprobe.experiments.resolve_rules import resolve_rules
    from layerprobe.runtime.devices import is_main_process

    plan = training_options.settings_from("distill", values, output, overwrite, resume)
    with Reporter(
        TableSettings.parse({"quiet": quiet, "verbose": verbose, "format": format}), speaks=is_main_process()
    ) as reporter:
        plan = resolve_rules(plan, progress=reporter.progress)
        run = distill_student(plan, lambda metrics: reporter.epoch(metrics, plan.training.epochs), reporter.progress)
        if is_main_process():
            show_run(run, reporter, f"layerprobe evaluate {run.folder} --data {plan.data.name}")
