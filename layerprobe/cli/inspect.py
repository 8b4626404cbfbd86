"""``layerprobe inspect``."""

from __future__ import annotations

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.errors import LayerprobeError
from layerprobe.settings.display import ColumnSettings
from layerprobe.settings.inspect import InspectSettings

EXAMPLES = """
layerprobe inspect r56.h5
layerprobe inspect r56.h5 --verify --format json
"""
FIRST = ("--verify", "--format", "--columns")


def inspect(settings: InspectSettings, display: ColumnSettings) -> None:
    """Show what is in a feature file, finished or not.

    Prints the layers, where the features come from and how much of the file is there. With --verify it also checks that
    every row is what was written. Files of Gram matrices are shown likewise.
    """
    from layerprobe.ranking.grams import is_gram_file

    with Reporter(display) as reporter:
        if is_gram_file(settings.features):
            _show_grams(settings, reporter)
        else:
            _show_features(settings, reporter)


def _show_grams(settings: InspectSettings, reporter: Reporter) -> None:
    from layerprobe.ranking.grams import open_source
    from layerprobe.report.tables.layers import gram_table

    if settings.verify:
        raise LayerprobeError(f"{settings.features} holds Gram matrices, which have no checksums; leave --verify out")
    with open_source(settings.features) as grams:
        reporter.show(gram_table(settings.features, grams.layers, grams.provenance))


def _show_features(settings: InspectSettings, reporter: Reporter) -> None:
    from layerprobe.features.hdf5.reader import FeatureFile
    from layerprobe.report.tables.layers import file_table

    features = settings.features
    with FeatureFile(features, unfinished=True) as file:
        damaged = file.damaged_layers(reporter.progress) if settings.verify else None
        reporter.show(file_table(features, file.layers, file.provenance, file.counts, file.complete, damaged))
        if damaged:
            remedy = (
                "extract it again with --overwrite"
                if file.complete
                else "the `layerprobe extract` command that began it computes them again"
            )
            raise LayerprobeError(
                f"{features} is damaged: rows of {', '.join(damaged)} are not what was written; {remedy}"
            )


COMMAND = Command("inspect", inspect, EXAMPLES, FIRST)
