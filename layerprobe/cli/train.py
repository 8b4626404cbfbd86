"""``layerprobe train``."""

from __future__ import annotations

from typing import Annotated

import typer

from layerprobe.cli import former_options as options
from layerprobe.cli import training_options
from layerprobe.cli.reporter import Reporter
from layerprobe.cli.runs import show_run
from layerprobe.settings.display import TableSettings

EXAMPLES = """Examples:

layerprobe train --model cifar:resnet56 --data CIFAR10 --epochs 50 --output teacher/

layerprobe train --model timm:resnet34 --weights pretrained --backbone-lr-factor 0.01 --data photos/ --output teacher/

layerprobe train --resume --output teacher/
"""

_PLACES = {"model": "model.name", "weights": "model.weights"}


def train(
    ctx: typer.Context,
    output: training_options.Output,
    model: Annotated[
        str | None, typer.Option("--model", help=f"The network: {options.MODEL_HELP}.", show_default=False)
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help=options.DATA_HELP, show_default=False)] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", help="Its first weights: a file, 'pretrained' (from the hub) or 'random'.  [default: random]"
        ),
    ] = None,
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
    """Train any model with cross entropy: a teacher."""
    values = training_options.configuration(ctx, _PLACES)

    from layerprobe.distill.run import train_model
    from layerprobe.runtime.devices import is_main_process

    plan = training_options.settings_from("train", values, output, overwrite, resume)
    with Reporter(
        TableSettings.parse({"quiet": quiet, "verbose": verbose, "format": format}), speaks=is_main_process()
    ) as reporter:
        run = train_model(plan, lambda metrics: reporter.epoch(metrics, plan.training.epochs), reporter.progress)
        following = (
            f"layerprobe extract --model {plan.model.name} --weights {run.weights} --data {plan.data.name} "
            "--output features.h5"
        )
        if is_main_process():
            show_run(run, reporter, following)
