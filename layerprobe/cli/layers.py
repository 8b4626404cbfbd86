"""``layerprobe layers``."""

from __future__ import annotations

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.settings.display import ColumnSettings
from layerprobe.settings.extract import LayersSettings

EXAMPLES = """
layerprobe layers --model cifar:resnet56
layerprobe layers --model timm:vit_tiny_patch16_224 --layers every:4,-1 \\
    --tokens cls --samples 50000
layerprobe layers --model timm:resnet50 --format json
"""
FIRST = ("--model", "--layers", "--image-size", "--format", "--columns")


def layers(settings: LayersSettings, display: ColumnSettings) -> None:
    """List the layers of a network in the order they are run.

    Takes the choice of layers and the reductions of `layerprobe extract` too, and shows which layers they select and
    how large the feature file would be.
    """
    from layerprobe.features.extraction.reduce import Reduction, plan_reduction
    from layerprobe.layers.selection import find_layers
    from layerprobe.networks import find_model_layers
    from layerprobe.report.tables.layers import layers_table

    model = settings.model
    reduction = Reduction(settings.pool, settings.tokens, settings.project)
    with Reporter(display) as reporter:
        found = find_model_layers(model, settings.num_classes, settings.image_size, settings.prefix_tokens)
        chosen = find_layers(found, settings.layers.names if settings.layers else None, model)
        stored = plan_reduction(chosen, reduction)
        reporter.show(layers_table(tuple(stored), model, settings.dtype, settings.samples))


COMMAND = Command("layers", layers, EXAMPLES, FIRST)
