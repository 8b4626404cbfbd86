"""Options of the two commands that train, and what they make of a configuration file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from layerprobe.cli import former_options as options
from layerprobe.errors import LayerprobeError

Output = Annotated[Path, typer.Option("--output", "-o", help="The run folder to make.", show_default=False)]
Config = Annotated[
    Path | None, typer.Option("--config", help="Repeat the run of this config.yaml; other options change it.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --output after the last whole epoch.")]
Preset = Annotated[
    str | None,
    typer.Option("--preset", help="A whole recipe: paper-50 or paper-240; other options change it."),
]
Epochs = Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training images.")]
LearningRate = Annotated[
    float | None,
    typer.Option("--lr", min=0, help="Peak learning rate  [default: 0.0075; VGG 0.005; transformers 0.001]"),
]
BackboneFactor = Annotated[
    float,
    typer.Option("--backbone-lr-factor", min=0, help="Backbone's rate / classifier's; 0.01 suits pretrained weights."),
]
Optimizer = Annotated[str, typer.Option("--optimizer", help="adamw or sgd.")]
Momentum = Annotated[float, typer.Option("--momentum", min=0, help="Of SGD.")]
WeightDecay = Annotated[float, typer.Option("--weight-decay", min=0, help="Of the optimizer.")]
Schedule = Annotated[str, typer.Option("--schedule", help="onecycle, cosine or multi-step.")]
Milestones = Annotated[
    str | None,
    typer.Option("--milestones", help="Epochs of multi-step, e.g. 150,180,210  [default: at 5/8, 3/4 and 7/8]"),
]
Decay = Annotated[float, typer.Option("--decay", min=0, help="Of multi-step: what the rate is multiplied by.")]
Clip = Annotated[float | None, typer.Option("--clip", help="Largest norm of a step's gradient  [default: any]")]
Accumulate = Annotated[int, typer.Option("--accumulate", min=1, help="Batches per step.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images per batch, in every process.")]
Augment = Annotated[
    str, typer.Option("--augment", help="none, crop-flip or trivial; a teacher sees the same changed images.")
]
TrainSamples = Annotated[
    str | None,
    typer.Option("--train-samples", help="Train on a class-balanced sample of so many, or 'all'  [default: all]"),
]
TestSamples = Annotated[
    str | None,
    typer.Option("--test-samples", help="Test on a class-balanced sample of so many, or 'all'  [default: all]"),
]
Holdout = Annotated[
    float, typer.Option("--holdout", help="Fraction of the training images held out to choose an epoch.")
]
Precision = Annotated[str, typer.Option("--precision", help="no (float32), bf16 or fp16.")]
Compile = Annotated[bool, typer.Option("--compile/--no-compile", help="Compile the networks with torch.compile.")]
Check = Annotated[
    bool,
    typer.Option("--check/--no-check", help="First make sure that no gradient of the classifier reaches the backbone."),
]
CacheTeacher = Annotated[
    bool,
    typer.Option(
        "--cache-teacher/--no-cache-teacher",
        help="Run the teacher once over the training images and keep its outputs.",
    ),
]
ChannelsLast = Annotated[
    bool,
    typer.Option(
        "--channels-last/--no-channels-last",
        help="Keep maps with their channels last in memory: convolutions are faster.",
    ),
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard/--no-tensorboard", help="Write event files for TensorBoard too.")
]

_PLACES: Mapping[str, str] = {
    "data": "data.name",
    "data_root": "data.data_root",
    "download": "data.download",
    "image_size": "data.image_size",
    "mean": "data.mean",
    "std": "data.std",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "lr": "training.lr",
    "backbone_lr_factor": "training.backbone_lr_factor",
    "optimizer": "training.optimizer",
    "momentum": "training.momentum",
    "weight_decay": "training.weight_decay",
    "schedule": "training.schedule",
    "milestones": "training.milestones",
    "decay": "training.decay",
    "clip": "training.clip",
    "accumulate": "training.accumulate",
    "augment": "training.augment",
    "train_samples": "training.train_samples",
    "test_samples": "training.test_samples",
    "holdout": "training.holdout",
    "device": "training.device",
    "precision": "training.precision",
    "compile": "training.compile",
    "check": "training.check",
    "cache_teacher": "training.cache_teacher",
    "channels_last": "training.channels_last",
    "tensorboard": "training.tensorboard",
    "workers": "training.workers",
    "seed": "training.seed",
}
"""Where in a configuration an option's value goes."""


def configuration(ctx: typer.Context, places: Mapping[str, str]) -> dict[str, Any]:
    """The values of a command's configuration: the file's, a preset's over them, the command line's over all.

    Args:
        ctx: the command, with its options.
        places: where the options of this command alone go.

    Raises:
        LayerprobeError: if a file or an option can't be read.
    """
    given = {
        name: value
        for name, value in ctx.params.items()
        if getattr(ctx.get_parameter_source(name), "name", "") != "DEFAULT"
    }
    over = _nested(given, {**_PLACES, **places})

    from layerprobe.settings.configuration import merge, read_values
    from layerprobe.settings.presets import preset

    command = str(ctx.info_name)
    file = ctx.params["config"]
    own = ctx.params["output"] / "config.yaml"
    if file is None and ctx.params["resume"] and own.is_file():
        file = own
    values = read_values(file, command) if file else {}
    if ctx.params["preset"]:
        values = merge(values, {"training": dict(preset(ctx.params["preset"]))})
    return merge(values, over)


def settings_from(command: str, values: dict[str, Any], output: Path, overwrite: bool, resume: bool) -> Any:
    """The settings that a configuration means, with errors that name the flags.

    Raises:
        LayerprobeError: if a value is missing or may not stand where it does.
    """
    from layerprobe.settings.base import SettingsError
    from layerprobe.settings.configuration import COMMANDS, settings_of
    from layerprobe.settings.flags import flag_of

    if resume and not any(key in values for key in ("student", "model")):
        raise LayerprobeError(f"{output} holds no run to go on with; --output names its folder, where --resume does")
    try:
        return settings_of(COMMANDS[command], values, output, overwrite=overwrite, resume=resume)
    except SettingsError as error:
        text = error.spelled(lambda path: flag_of(COMMANDS[command], path))
        raise LayerprobeError(f"{text}, or --config FILE" if "missing; give" in text else text) from None


def _nested(given: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    readers: Mapping[str, Callable[[str], Any]] = {
        "mean": lambda text: options.numbers(text, "--mean"),
        "std": lambda text: options.numbers(text, "--std"),
        "milestones": _epochs,
        "train_samples": lambda text: _images(text, "--train-samples"),
        "test_samples": lambda text: _images(text, "--test-samples"),
    }
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in places:
            part, _, key = places[name].rpartition(".")
            target = values.setdefault(part, {}) if part else values
            target[key] = readers[name](value) if name in readers else value
    return values


def _images(text: str, option: str) -> int | None:
    """A number of images; None for all."""
    count = options.samples(text, option)
    return count if isinstance(count, int) else None


def _epochs(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise LayerprobeError(f"--milestones is epochs separated by commas, e.g. 150,180,210; not {text!r}") from None
