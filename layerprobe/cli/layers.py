"""``layerprobe layers``."""

from __future__ import annotations

from typing import Annotated

import typer

from layerprobe.cli import options
from layerprobe.cli.reporter import Reporter

EXAMPLES = """Examples:

layerprobe layers --model cifar:resnet56

layerprobe layers --model timm:vit_tiny_patch16_224 --layers every:4,-1 --tokens cls --samples 50000

layerprobe layers --model timm:resnet50 --format json
"""


def layers(
    model: options.Model,
    num_classes: options.NumClasses = None,
    image_size: options.ImageSize = None,
    layers: options.Layers = None,
    dtype: options.Dtype = "float32",
    pool: options.Pool = None,
    tokens: options.Tokens = "all",
    project: options.Project = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="How many images the file would hold.")] = 5000,
    format: options.Format = "table",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Print the layers of a model in execution order.

    With the choice and the reductions of `extract`: which layers these select, and the bytes they will take.
    """
    from layerprobe.features.extraction.reduce import Reduction, plan_reduction
    from layerprobe.features.hdf5.layout import check_dtype
    from layerprobe.layers.selection import find_layers
    from layerprobe.networks import find_model_layers
    from layerprobe.report.tables.layers import layers_table
    from layerprobe.report.tables.table import check_format

    check_format(format)
    check_dtype(dtype)
    reduction = Reduction(pool, tokens, project)
    with Reporter(quiet, verbose) as reporter:
        found = find_model_layers(model, num_classes, image_size)
        chosen = find_layers(found.layers, options.names(layers), model)
        stored = plan_reduction(chosen, reduction, found.tokens)
        reporter.show(layers_table(tuple(stored), model, dtype, samples), format)
