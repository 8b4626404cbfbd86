"""``layerprobe rank``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.settings.display import TableSettings
from layerprobe.settings.rank import RankSettings

EXAMPLES = """
layerprobe rank r56.h5 --output figures/ --top 4
layerprobe rank r56.h5 --statistics all --figures all \\
    --sizes 25,50,100,250,500 --output figures/
layerprobe rank r56.h5 --by probe --format latex > table.tex
layerprobe rank r56.h5 vgg19.h5 vit.h5 --output figures/
"""


def rank(settings: RankSettings, display: TableSettings) -> None:
    """Measure every layer and choose the best.

    Separation, information, efficiency and knowledge quality of each layer, with intervals, as a table and figures; the
    layers of highest score go to a ranking file.
    """
    from layerprobe.experiments.survey import SurveyConfig, survey
    from layerprobe.geometry.statistics import FAMILIES
    from layerprobe.ranking.choose import Choice
    from layerprobe.ranking.measure import Wanted
    from layerprobe.report.figures.style import WIDTHS
    from layerprobe.report.tables.ranking import different_samples, ranking_table
    from layerprobe.runtime.devices import resolve_device

    families = tuple(FAMILIES) if settings.statistics == ("all",) else settings.statistics
    config = SurveyConfig(
        features=settings.features,
        choice=Choice(settings.top, settings.by, settings.level),
        wanted=Wanted(families, (), settings.resamples, settings.sizes, settings.seed),
        output=settings.output,
        figures=settings.figures or ("quality",),
        width=WIDTHS[settings.width],
        style=settings.style,
        ranking=settings.ranking,
        cache=settings.cache,
        overwrite=settings.overwrite,
    )
    with Reporter(display) as reporter:
        found = survey(config, resolve_device(settings.device), reporter.progress)
        reporter.show([ranking_table(one) for one in found.rankings])
        if warning := different_samples(found.rankings):
            reporter.say(f"warning: {warning}")
        alone = len(settings.features) == 1
        following = _next_command(found.rankings[0].provenance, config.target(settings.features[0])) if alone else None
        reporter.wrote(found.files, following)


def _next_command(source: Mapping[str, object], ranking: Path) -> str:
    from layerprobe.networks import AS_BUILT

    weights = "" if source["weights"] == AS_BUILT else f"--weights {source['weights']} "
    return (
        f"layerprobe distill --teacher {source['model']} {weights}--student ... "
        f"--data {source['dataset']} --layers {ranking} --output ..."
    )


COMMAND = Command("rank", rank, EXAMPLES)
