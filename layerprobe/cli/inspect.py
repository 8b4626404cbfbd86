"""``layerprobe inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerprobe.cli import options
from layerprobe.cli.reporter import Reporter
from layerprobe.errors import LayerprobeError

EXAMPLES = """Examples:

layerprobe inspect r56.h5

layerprobe inspect r56.h5 --verify --format json
"""


def inspect(
    features: Annotated[Path, typer.Argument(help="A file that `layerprobe extract` wrote.", show_default=False)],
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Read every row and compare it with its checksum; exit code 2 if one differs."),
    ] = False,
    format: options.Format = "table",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Print what is in a feature file, finished or not.

    Its layers, where they came from, how far it got, and with --verify whether every row is what was written. Of a
    file of Gram matrices its layers, and where they came from.
    """
    from layerprobe.features.hdf5.reader import FeatureFile
    from layerprobe.ranking.grams import is_gram_file, open_source
    from layerprobe.report.tables.layers import file_table, gram_table
    from layerprobe.report.tables.table import check_format

    check_format(format)
    if is_gram_file(features):
        if verify:
            raise LayerprobeError(f"{features} holds Gram matrices, without checksums; leave --verify out")
        with Reporter(quiet, verbose) as reporter, open_source(features) as grams:
            reporter.show(gram_table(features, grams.layers, grams.provenance), format)
        return
    with Reporter(quiet, verbose) as reporter, FeatureFile(features, unfinished=True) as file:
        damaged = file.damaged_layers(reporter.progress) if verify else None
        done = int(file.written.sum())
        reporter.show(file_table(features, file.layers, file.provenance, done, file.complete, damaged), format)
        if damaged:
            remedy = (
                "extract it again with --overwrite"
                if file.complete
                else "the `layerprobe extract` command that began it computes them again"
            )
            raise LayerprobeError(
                f"{features} is damaged: rows of {', '.join(damaged)} are not what was written; {remedy}"
            )
