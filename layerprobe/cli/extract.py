"""``layerprobe extract``."""

from __future__ import annotations

from layerprobe.cli.options import Command, Given
from layerprobe.cli.reporter import Reporter
from layerprobe.geometry.catalogue import WITHOUT_LABELS
from layerprobe.settings.display import DisplaySettings
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.flags import command_line
from layerprobe.settings.rank import RankSettings
from layerprobe.settings.samples import SAMPLE_PRESETS, SamplePresetSettings

EXAMPLES = """
layerprobe extract --model timm:resnet50 --data photos/ --output r50.h5
layerprobe extract --model cifar:resnet56 --weights r56.safetensors \\
    --data CIFAR10 --samples all --output r56.h5
layerprobe extract --preset paper --model cifar:resnet56 \\
    --weights r56.safetensors --data CIFAR100 --output r56.h5
layerprobe extract --model timm:vit_small_patch16_224 --data photos/ \\
    --layers every:2 --tokens mean --output vit.h5
accelerate launch -m layerprobe extract --model timm:resnet50 \\
    --data photos/ --output r50.h5
"""
FIRST = (
    "--model", "--weights", "--data", "--output", "--split", "--samples", "--layers", "--batch-size",
    "--device", "--overwrite",
)  # fmt: skip


def extract(given: Given[ExtractSettings], preset: SamplePresetSettings, display: DisplaySettings) -> None:
    """Write the features of every layer to one HDF5 file.

    This takes one forward pass over a sample of images, class-balanced if they have labels. The file also holds the
    labels, and where the features come from. After an interruption the same command continues.
    """
    from layerprobe.features.extraction.extract import extract as run
    from layerprobe.features.hdf5.header import DescribedFile
    from layerprobe.ranking.grams import extract_grams
    from layerprobe.runtime.devices import is_main_process

    values = SAMPLE_PRESETS[preset.preset].values if preset.preset else {}
    settings = ExtractSettings.parse({**values, **given.values})
    with Reporter(display, speaks=is_main_process()) as reporter:
        if settings.stats_only:
            found: DescribedFile = extract_grams(settings, progress=reporter.progress)
        else:
            found = run(settings, progress=reporter.progress)
        following = RankSettings(features=(settings.output,), device=settings.device)
        with found:
            following = following if found.labels is not None else following.replaced(by=WITHOUT_LABELS)
        reporter.wrote([settings.output], command_line("rank", following))


COMMAND = Command("extract", extract, EXAMPLES, FIRST)
