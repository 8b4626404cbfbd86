"""``layerprobe rank``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.settings.display import TableSettings
from layerprobe.settings.flags import command_line
from layerprobe.settings.model import AS_BUILT
from layerprobe.settings.rank import RankSettings
from layerprobe.settings.run import DistillSettings

EXAMPLES = """
layerprobe rank r56.h5 --output figures/ --top 4
layerprobe rank r56.h5 --statistics all --figures all \\
    --sizes 25,50,100,250,500 --output figures/
layerprobe rank r56.h5 --by probe --format latex > table.tex
layerprobe rank r56.h5 --by my_scores.py:curvature
layerprobe rank r56.h5 vgg19.h5 vit.h5 --output figures/
"""


def rank(settings: RankSettings, display: TableSettings) -> None:
    """Measure every layer and choose the best.

    Separation, information, efficiency and knowledge quality of each layer, with intervals, as a table and figures; the
    layers of best score go to a ranking file.
    """
    from layerprobe.ranking.rank import rank_files, shown_choices, target
    from layerprobe.report.figures.drawing import check_drawings, draw_rankings
    from layerprobe.report.tables.ranking import different_samples, ranking_table
    from layerprobe.runtime.devices import resolve_device

    with Reporter(display) as reporter:
        shows = shown_choices(settings)
        check_drawings(settings, shows)
        found = rank_files(settings, resolve_device(settings.device), reporter.progress)
        drawn = draw_rankings(settings, found.rankings, shows)
        reporter.show([ranking_table(one) for one in found.rankings])
        if warning := different_samples(found.rankings):
            reporter.say(f"warning: {warning}")
        first, *others = settings.features
        alone = not others and not found.others
        following = _next_command(found.rankings[0].provenance, target(settings, first)) if alone else None
        reporter.wrote([*found.files, *drawn], following)


def _next_command(source: Mapping[str, object], ranking: Path) -> str:
    weights = None if source["weights"] == AS_BUILT else source["weights"]
    others = {key: source[key] for key in ("weights_key", "num_classes") if key in source}
    following = {
        "teacher": {"name": source["model"], "weights": weights, **others},
        "student": "...",
        "data": source["dataset"],
        "layers": str(ranking),
        "output": "...",
    }
    return command_line("distill", DistillSettings.parse(following))


COMMAND = Command("rank", rank, EXAMPLES)
