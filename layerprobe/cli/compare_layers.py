"""``layerprobe compare-layers``."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.geometry.catalogue import CKA
from layerprobe.settings.compare_layers import CompareLayersSettings
from layerprobe.settings.display import ColumnSettings

EXAMPLES = """
layerprobe compare-layers teacher.h5 student.h5 --output figures/
layerprobe compare-layers r56.h5 --debiased --format csv > cka.csv
layerprobe compare-layers r56.h5 --measure mutual-neighbours
"""
FIRST = ("--measure", "--debiased", "--output", "--format", "--columns", "--device", "--overwrite")


def compare_layers(settings: CompareLayersSettings, display: ColumnSettings) -> None:
    """Compare the layers of one or two networks.

    They are compared by linear CKA, or with --measure by the nearest neighbours of the images. Both files must hold
    features of the same images, as two `layerprobe extract` with the same --data, --samples and --seed write them; the
    networks and their preprocessing may differ.
    """
    from layerprobe.ranking.grams import described_source, open_source
    from layerprobe.ranking.similarity import PairDraws, compare_neighbourhoods, layer_similarity
    from layerprobe.report.figures.similarity import comparison_figure, similarity_figure
    from layerprobe.report.figures.style import WIDTHS, check_figure, paper_style, save_figure
    from layerprobe.report.tables.choice import check_columns
    from layerprobe.report.tables.ranking import comparison_table, similarity_columns, similarity_table
    from layerprobe.runtime.devices import resolve_device

    first, second, output, style = settings.first, settings.second, settings.output, settings.style
    name, width = f"{first.stem}.{(second or first).stem}.{settings.measure}", WIDTHS[settings.width]
    with ExitStack() as stack:
        reporter = stack.enter_context(Reporter(display))
        stack.enter_context(paper_style(style))
        shows = "\n".join(map(described_source, filter(None, (first, second))))
        if output:
            check_figure(output, name, settings.overwrite, shows)
        one, other = open_source(first), open_source(second) if second else None
        for file in (one, other):
            stack.callback(file.close if file else lambda: None)
        columns = similarity_columns((stored.layer for stored in (other or one).layers), settings.measure)
        check_columns(columns, display.columns)
        device = resolve_device(settings.device)
        if settings.measure == CKA:
            similarity = layer_similarity(one, other, device=device, progress=reporter.progress)
            reporter.show(similarity_table(similarity, settings.debiased))
            draw = partial(similarity_figure, similarity, width, settings.debiased)
        else:
            draws = PairDraws(settings.resamples, settings.level, settings.seed) if settings.resamples else None
            comparison = compare_neighbourhoods(one, other, settings.measure, device, reporter.progress, draws)
            reporter.show(comparison_table(comparison))
            draw = partial(comparison_figure, comparison, width)
        if output:
            reporter.wrote(save_figure(draw, output, name, settings.overwrite, style, shows, settings.caption))


COMMAND = Command("compare-layers", compare_layers, EXAMPLES, FIRST)
