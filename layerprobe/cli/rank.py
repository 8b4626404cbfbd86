"""``layerprobe rank``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from layerprobe.cli import options
from layerprobe.cli.reporter import Reporter
from layerprobe.errors import LayerprobeError

EXAMPLES = """Examples:

layerprobe rank r56.h5 --output figures/ --top 4

layerprobe rank r56.h5 --statistics all --figures all --sizes 25,50,100,250,500 --output figures/

layerprobe rank r56.h5 --by probe --format latex > table.tex

layerprobe rank r56.h5 vgg19.h5 vit.h5 --output figures/
"""


def rank(
    features: Annotated[
        list[Path],
        typer.Argument(help="Files that `layerprobe extract` wrote, one per network.", show_default=False),
    ],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many layers to choose.")] = 4,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="quality, quality-normalised, separation, information, efficiency, sqrt-ie, probe, logme or depth.",
        ),
    ] = "quality",
    resamples: Annotated[
        int, typer.Option("--resamples", help="Draws for the intervals, a multiple of four; 0: no intervals.")
    ] = 200,
    level: Annotated[float, typer.Option("--level", help="Of the intervals.")] = 0.9,
    seed: options.Seed = 0,
    statistics: Annotated[
        str | None,
        typer.Option(
            "--statistics",
            help="Further ones, separated by commas: neighbours, collapse, dimensions, probe, logme; or all.",
            show_default=False,
        ),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option("--sizes", help="Also score smaller samples, e.g. of 10,25,50 images per class, and draw it."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the figures; the ranking file: --ranking.")
    ] = None,
    figures: Annotated[
        str | None,
        typer.Option(
            "--figures",
            help="With --output, separated by commas: quality, spectra, dimensions, cka, distances, plane, sizes; or "
            "all  [default: quality]",
        ),
    ] = None,
    width: options.Width = "page",
    style: options.Style = None,
    ranking: Annotated[
        Path | None, typer.Option("--ranking", help="The ranking file to write  [default: beside the features]")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep results beside the features for the next time.")
    ] = True,
    format: options.Format = "table",
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure every layer and choose the best.

    Separation, information, efficiency and knowledge quality of each layer, with intervals, as a table and figures; the
    layers of highest score go to a ranking file.
    """
    from layerprobe.experiments.survey import SurveyConfig, survey
    from layerprobe.geometry.statistics import FAMILIES
    from layerprobe.ranking.choose import Choice
    from layerprobe.ranking.measure import Wanted
    from layerprobe.report.figures.style import figure_width
    from layerprobe.report.tables.ranking import different_samples, ranking_table
    from layerprobe.report.tables.table import check_format
    from layerprobe.runtime.devices import resolve_device

    check_format(format)
    families = options.names(statistics) or ()
    families = tuple(FAMILIES) if families == ("all",) else families
    if figures and output is None:
        raise LayerprobeError("--figures needs a folder for them: --output DIR")
    config = SurveyConfig(
        features=tuple(features),
        choice=Choice(top, by, level),
        wanted=Wanted(families, (), resamples, options.counts(sizes, "--sizes"), seed),
        output=output,
        figures=options.names(figures) or ("quality",),
        width=figure_width(width),
        style=style,
        ranking=ranking,
        cache=cache,
        overwrite=overwrite,
    )
    with Reporter(quiet, verbose) as reporter:
        found = survey(config, resolve_device(device), reporter.progress)
        reporter.show([ranking_table(one) for one in found.rankings], format)
        if warning := different_samples(found.rankings):
            reporter.say(f"warning: {warning}")
        alone = len(features) == 1
        following = _next_command(found.rankings[0].provenance, config.target(features[0])) if alone else None
        reporter.wrote(found.files, following)


def _next_command(source: Mapping[str, object], ranking: Path) -> str:
    from layerprobe.networks import AS_BUILT

    weights = "" if source["weights"] == AS_BUILT else f"--weights {source['weights']} "
    return (
        f"layerprobe distill --teacher {source['model']} {weights}--student ... "
        f"--data {source['dataset']} --layers {ranking} --output ..."
    )
