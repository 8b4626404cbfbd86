"""``layerprobe compare-layers``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from layerprobe.cli import options
from layerprobe.cli.reporter import Reporter

EXAMPLES = """Examples:

layerprobe compare-layers teacher.h5 student.h5 --output figures/

layerprobe compare-layers r56.h5 --debiased --format csv > cka.csv
"""


def compare_layers(
    first: Annotated[Path, typer.Argument(help="A file that `layerprobe extract` wrote.", show_default=False)],
    second: Annotated[
        Path | None, typer.Argument(help="Another, of the same images  [default: the first one again]")
    ] = None,
    debiased: Annotated[
        bool, typer.Option("--debiased", help="Without the bias of many dimensions for the number of images.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the figure.")] = None,
    width: options.Width = "column",
    style: options.Style = None,
    format: options.Format = "table",
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Compare the layers of two networks, or of one: linear CKA.

    Both files must hold features of the same images, as two `layerprobe extract` with the same --data, --samples and
    --seed write them; the networks and their preprocessing may differ.
    """
    from contextlib import ExitStack

    from layerprobe.ranking.grams import open_source
    from layerprobe.ranking.measure import layer_similarity
    from layerprobe.report.figures.similarity import similarity_figure
    from layerprobe.report.figures.style import check_figure, figure_width, paper_style, save_figure
    from layerprobe.report.tables.ranking import similarity_table
    from layerprobe.report.tables.table import check_format
    from layerprobe.runtime.devices import resolve_device

    check_format(format)
    name, inches = f"{first.stem}.{(second or first).stem}.cka", figure_width(width)
    with ExitStack() as stack:
        reporter = stack.enter_context(Reporter(quiet, verbose))
        stack.enter_context(paper_style(style))
        if output:
            check_figure(output, name, overwrite)
        one, other = open_source(first), open_source(second) if second else None
        for file in (one, other):
            stack.callback(file.close if file else lambda: None)
        similarity = layer_similarity(one, other, device=resolve_device(device), progress=reporter.progress)
        reporter.show(similarity_table(similarity, debiased), format)
        if output:
            draw = partial(similarity_figure, similarity, inches, debiased)
            reporter.wrote(save_figure(draw, output, name, overwrite, style))
