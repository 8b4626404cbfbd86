"""Options of the two commands that train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Output = Annotated[Path, typer.Option("--output", "-o", help="The run folder to make.", show_default=False)]
Epochs = Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training images.")]
LearningRate = Annotated[
    float | None,
    typer.Option("--lr", min=0, help="Peak learning rate  [default: 0.0075; VGG 0.005; transformers 0.001]"),
]
WeightDecay = Annotated[float, typer.Option("--weight-decay", min=0, help="Of AdamW.")]
TrainSamples = Annotated[
    int | None,
    typer.Option("--train-samples", min=1, help="Train on a class-balanced sample  [default: every image]"),
]
TestSamples = Annotated[
    int | None,
    typer.Option("--test-samples", min=1, help="Test on a class-balanced sample  [default: every image]"),
]
Holdout = Annotated[
    float, typer.Option("--holdout", help="Fraction of the training images held out to choose an epoch.")
]
Precision = Annotated[str, typer.Option("--precision", help="no (float32), bf16 or fp16.")]
