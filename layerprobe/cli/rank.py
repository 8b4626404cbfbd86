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

layerprobe rank r56.h5 --format latex > table.tex
"""


def rank(
    features: Annotated[Path, typer.Argument(help="A file that `layerprobe extract` wrote.", show_default=False)],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many layers to choose.")] = 4,
    by: Annotated[str, typer.Option("--by", help="quality, separation, information or efficiency.")] = "quality",
    resamples: Annotated[
        int, typer.Option("--resamples", help="Draws for the intervals, a multiple of four; 0: no intervals.")
    ] = 200,
    level: Annotated[float, typer.Option("--level", help="Of the intervals.")] = 0.9,
    seed: options.Seed = 0,
    statistics: Annotated[
        str | None,
        typer.Option(
            "--statistics", help="Further ones, separated by commas: neighbours, collapse.", show_default=False
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the figures.")] = None,
    ranking: Annotated[
        Path | None, typer.Option("--ranking", help="The ranking file to write  [default: beside the features]")
    ] = None,
    format: options.Format = "table",
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure every layer and choose the best.

    Separation, information, efficiency and knowledge quality of each layer, as a table and a figure; the layers of
    highest score go to a ranking file.
    """
    from layerprobe.devices import resolve_device
    from layerprobe.grams import open_source
    from layerprobe.ranking import rank as run
    from layerprobe.ranking import ranking_path, save_ranking
    from layerprobe.report.builders import ranking_table
    from layerprobe.report.figures.quality import quality_figure
    from layerprobe.report.style import check_figure, save_figure
    from layerprobe.report.tables import check_format

    check_format(format)
    target = ranking or ranking_path(features)
    with Reporter(quiet, verbose) as reporter, open_source(features) as file:
        if output:
            check_figure(output, f"{features.stem}.quality", overwrite)
        families = options.names(statistics) or ()
        draws = (resamples, level, seed) if resamples else (None, None, None)
        choice = (by, top, list(families), *draws)
        previous = _same_choice(target, file.provenance, choice, overwrite)
        result = run(file, top, by, resamples, level, seed, families, resolve_device(device), reporter.progress)
        reporter.show(ranking_table(result), format)
        written = [] if previous else [target]
        if not previous:
            save_ranking(result, target)
        if output:
            written += save_figure(quality_figure(result), output, f"{features.stem}.quality", overwrite)
        reporter.wrote(written, _next_command(result.provenance, target))


def _next_command(source: Mapping[str, object], ranking: Path) -> str:
    from layerprobe.resolve import AS_BUILT

    weights = "" if source["weights"] == AS_BUILT else f"--weights {source['weights']} "
    return (
        f"layerprobe distill --teacher {source['model']} {weights}--student ... "
        f"--data {source['dataset']} --layers {ranking} --output ..."
    )


def _same_choice(target: Path, provenance: Mapping[str, object], choice: tuple[object, ...], overwrite: bool) -> bool:
    """Whether the ranking file already holds this choice from these features: then it is left as it is."""
    from layerprobe.types import Ranking

    if not target.exists() or overwrite:
        return False
    old = Ranking.load(target)
    drawn = (old.provenance.get(key) for key in ("families", "resamples", "level", "seed"))
    if (old.score, len(old.selected), *drawn) == choice and old.provenance.get("created") == provenance["created"]:
        return True
    raise LayerprobeError(
        f"{target} exists (top {len(old.selected)} by {old.score}); "
        "--overwrite replaces it, --ranking FILE writes elsewhere"
    )
