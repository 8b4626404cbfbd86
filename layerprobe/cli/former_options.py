"""Options that mean the same in every command, defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerprobe.errors import LayerprobeError

MODEL_HELP = "timm:NAME, torchvision:NAME, cifar:NAME or FILE.py:callable"
WEIGHTS_HELP = (
    "weights file (.safetensors, .pt, .pth, .th), 'pretrained' (from the hub) or 'random'  "
    "[default: pretrained for timm: and torchvision:]"
)

DATA_HELP = (
    "digits, CIFAR10, CIFAR100, FashionMNIST, SVHN, EuroSAT, Flowers102, OxfordIIITPet, "
    "or a folder of class folders (with or without train/ and test/)."
)

Model = Annotated[str, typer.Option("--model", help=f"The network: {MODEL_HELP}.", show_default=False)]
Weights = Annotated[str | None, typer.Option("--weights", help=f"Its weights: {WEIGHTS_HELP}.", show_default=False)]
NumClasses = Annotated[
    int | None,
    typer.Option("--num-classes", min=1, help="Size of its classifier  [default: as in the weights, or as the data]"),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        help=DATA_HELP,
        show_default=False,
    ),
]
DataRoot = Annotated[
    Path | None, typer.Option("--data-root", help="Folder of torchvision's data sets  [default: data]")
]
Download = Annotated[bool, typer.Option("--download/--no-download", help="Download the data set if it is missing.")]
ImageSize = Annotated[int | None, typer.Option("--image-size", min=1, help="Input size in pixels, over the default.")]
Mean = Annotated[str | None, typer.Option("--mean", help="Channel means, e.g. 0.5 or 0.485,0.456,0.406.")]
Std = Annotated[str | None, typer.Option("--std", help="Channel standard deviations, like --mean.")]
Samples = Annotated[
    str | None,
    typer.Option("--samples", help="Images in the class-balanced sample, or 'all'  [default: 5000, or what there is]"),
]
Layers = Annotated[
    str | None,
    typer.Option(
        "--layers",
        help="Which layers, separated by commas: names, globs (layer3.*), indices, ranges (3-7, 3:8, -4:), every:4 or "
        "all  [default: all]",
    ),
]
Dtype = Annotated[str, typer.Option("--dtype", help="float32 or float16, on disk.")]
Pool = Annotated[
    str | None,
    typer.Option("--pool", help="avg:H or max:H: maps become H x H at most  [default: only huge ones are averaged]"),
]
Tokens = Annotated[str, typer.Option("--tokens", help="cls, mean or all: what to keep of a transformer's tokens.")]
Project = Annotated[
    int | None, typer.Option("--project", min=1, help="Random projection of layers with more features than this.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images per step.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes that decode images.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")]
Width = Annotated[str, typer.Option("--width", help="column (3.4 in) or page (7 in): the width of the figures.")]
Style = Annotated[Path | None, typer.Option("--style", help="A .mplstyle file, laid over the style of the figures.")]
Format = Annotated[str, typer.Option("--format", help="table, json, csv, markdown or latex.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Warnings and results only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]


def numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """Read ``0.5`` or ``0.485,0.456,0.406``."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise LayerprobeError(f"{option} is one number or three, separated by commas; not {text!r}") from None


def counts(text: str | None, option: str) -> tuple[int, ...]:
    """Read ``10,25,50``, in ascending order without repeats."""
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    if not all(part.isdigit() for part in parts):
        raise LayerprobeError(f"{option} is numbers separated by commas; not {text!r}")
    return tuple(sorted(set(map(int, parts))))


def names(text: str | None) -> tuple[str, ...] | None:
    """Read a comma-separated list of layers."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def samples(text: str | None, option: str) -> int | str | None:
    """Read a number of images, or ``all``."""
    if text is None or text == "all":
        return text
    if not text.isdigit() or int(text) == 0:
        raise LayerprobeError(f"{option} is a number of images, or 'all'; not {text!r}")
    return int(text)
