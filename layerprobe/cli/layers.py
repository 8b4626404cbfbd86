"""``layerprobe layers``."""

from __future__ import annotations

from layerprobe.cli import options
from layerprobe.cli.reporter import Reporter

EXAMPLES = """Examples:

layerprobe layers --model cifar:resnet56

layerprobe layers --model timm:vit_tiny_patch16_224 --format json
"""


def layers(
    model: options.Model,
    num_classes: options.NumClasses = None,
    image_size: options.ImageSize = None,
    format: options.Format = "table",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Print the layers of a model in execution order."""
    from layerprobe.report.builders import layers_table
    from layerprobe.resolve import find_model_layers

    with Reporter(quiet, verbose) as reporter:
        reporter.show(layers_table(find_model_layers(model, num_classes, image_size), model), format)
