"""``layerprobe extract``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerprobe.cli import options
from layerprobe.cli.reporter import Reporter

EXAMPLES = """Examples:

layerprobe extract --model timm:resnet50 --data photos/ --output r50.h5

layerprobe extract --model cifar:resnet56 --weights r56.safetensors --data CIFAR10 --samples all --output r56.h5

layerprobe extract --model timm:vit_small_patch16_224 --data photos/ --layers every:2 --tokens mean --output vit.h5

accelerate launch -m layerprobe extract --model timm:resnet50 --data photos/ --output r50.h5
"""


def extract(
    model: options.Model,
    data: options.Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HDF5 file to write.", show_default=False)],
    weights: options.Weights = None,
    num_classes: options.NumClasses = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    split: Annotated[str, typer.Option("--split", help="train, test or all.")] = "train",
    samples: options.Samples = None,
    layers: options.Layers = None,
    dtype: options.Dtype = "float32",
    pool: options.Pool = None,
    tokens: options.Tokens = "all",
    project: options.Project = None,
    amp: Annotated[
        bool, typer.Option("--amp", help="Compute in 16 bits: bfloat16 on a CPU, float16 on a GPU.")
    ] = False,
    image_size: options.ImageSize = None,
    mean: options.Mean = None,
    std: options.Std = None,
    device: options.Device = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            show_default=False,
            help="Images per forward pass; default 128, or 32 for images above 64 pixels on a CPU.",
        ),
    ] = None,
    workers: options.Workers = 0,
    seed: options.Seed = 0,
    stats_only: Annotated[
        bool, typer.Option("--stats-only", help="Write no features, only the Gram matrices that `rank` needs.")
    ] = False,
    memory: Annotated[
        float | None,
        typer.Option(
            "--memory",
            min=0.001,
            show_default=False,
            help="With --stats-only: GB that features may take; default half of what is free.",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write every layer's features to one HDF5 file.

    One forward pass over a class-balanced sample of images, with labels and provenance. Stopped at any moment, the same
    command goes on from there.
    """
    sample = options.samples(samples, "--samples")
    means, stds = options.numbers(mean, "--mean"), options.numbers(std, "--std")

    from layerprobe.features.config import ExtractConfig
    from layerprobe.features.extraction.extract import extract as run
    from layerprobe.networks import DataSpec, ModelSpec
    from layerprobe.ranking.grams import extract_grams
    from layerprobe.runtime.devices import is_main_process

    config = ExtractConfig(
        model=ModelSpec(model, weights, num_classes),
        data=DataSpec(data, data_root, download, image_size, means, stds),
        output=output,
        split=split,
        samples=sample,
        layers=options.names(layers),
        dtype=dtype,
        pool=pool,
        tokens=tokens,
        project=project,
        amp=amp,
        device=device,
        batch_size=batch_size,
        workers=workers,
        seed=seed,
        overwrite=overwrite,
    )
    with Reporter(quiet or not is_main_process(), verbose) as reporter:
        if stats_only:
            extract_grams(config, memory and memory * 1e9, reporter.progress).close()
        else:
            run(config, progress=reporter.progress).close()
        reporter.wrote([output], f"layerprobe rank {output}")
