"""``layerprobe rank``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.errors import LayerprobeError
from layerprobe.geometry.catalogue import ALWAYS, CLUSTERS, DEFAULT_SCORE, STATISTICS, UNMEASURED, described
from layerprobe.plugins import split_file_name
from layerprobe.ranking.catalogue import RECOMMENDED_RULE, RULE_WITHOUT_LABELS
from layerprobe.settings.display import ColumnSettings
from layerprobe.settings.flags import command_line
from layerprobe.settings.model import AS_BUILT
from layerprobe.settings.rank import RankSettings
from layerprobe.settings.run import DistillSettings

if TYPE_CHECKING:
    from layerprobe.records import Ranking

EXAMPLES = """
layerprobe rank r56.h5 --output figures/ --top 4
layerprobe rank r56.h5 --statistics all --figures all \\
    --sizes 25,50,100,250,500 --output figures/
layerprobe rank r56.h5 --by probe --format latex > table.tex
layerprobe rank r56.h5 --by my_scores.py:curvature
layerprobe rank r56.h5 vgg19.h5 vit.h5 --output figures/
"""
FIRST = (
    "--top", "--by", "--statistics", "--output", "--figures", "--resamples", "--format", "--columns",
    "--device", "--overwrite",
)  # fmt: skip


def rank(settings: RankSettings, display: ColumnSettings) -> None:
    """Measure every layer of a network and choose the best.

    Prints separation, information, efficiency and knowledge quality of each layer with intervals, draws figures, and
    writes the layers with the best score to a ranking file.
    """
    from layerprobe.ranking.rank_files import rank_files, shown_choices, target
    from layerprobe.report.figures.drawing import check_drawings, draw_rankings
    from layerprobe.report.tables.ranking import different_samples, ranking_table
    from layerprobe.runtime.devices import resolve_device

    settings = _measuring(settings, display.columns)
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
        reporter.wrote([*found.files, *drawn])
        if alone:
            _go_on(found.rankings[0], settings, target(settings, first), reporter)


def _measuring(settings: RankSettings, columns: Sequence[str]) -> RankSettings:
    """The settings, which measure what is asked for as a column, too.

    Raises:
        LayerprobeError: if a column is asked for that no ranking has.
    """
    from layerprobe.report.tables.choice import check_columns
    from layerprobe.report.tables.ranking import possible_columns

    named = [one.family for one in STATISTICS.values() if one.name in columns or one.symbol in columns]
    labels = [described(name).label for name in (settings.by or DEFAULT_SCORE, *settings.families)]
    own = [name for name in columns if split_file_name(name) and name not in labels]
    more = [name for name in (*named, *own) if name not in (ALWAYS, UNMEASURED, *settings.statistics)]
    settings = settings.replaced(statistics=tuple(dict.fromkeys([*settings.statistics, *more])))
    plugins = [name for name in (settings.by or DEFAULT_SCORE, *settings.families) if split_file_name(name)]
    check_columns(possible_columns(settings.top, plugins), columns)
    return settings


def _go_on(ranking: Ranking, settings: RankSettings, file: Path, reporter: Reporter) -> None:
    """Name the next command: by the rule that we recommend, unless the user has a say in the choice of layers."""
    own = settings.by not in (None, DEFAULT_SCORE) or settings.layers is not None
    own = own or not ranking.evenly_spread or ranking.labels is None  # too few blocks, or no classes, for the rule
    layers = str(file) if own else f"{RECOMMENDED_RULE}:{settings.top}"
    try:
        command = _next_command(ranking.provenance, layers, settings.device)
    except LayerprobeError as error:  # the results stand: another version, or somebody else, wrote the features
        reporter.say(f"warning: no next command, since {settings.features[0]} names what distill can't take: {error}")
        return
    reporter.wrote([], command)
    if described(ranking.score).family == CLUSTERS:
        reporter.hint("  these layers were chosen by the scores of clusters of the images, not of their classes")
    if ranking.labels is None:
        reporter.hint(
            f"  for images without labels we recommend no rule, since none has been compared with others; "
            f"--layers {RULE_WITHOUT_LABELS}:{settings.top} spreads the layers evenly"
        )
    elif not own:
        reporter.hint(f"  {layers} is the rule that we recommend; --layers {file} takes the layers marked above")


def _next_command(source: Mapping[str, Any], layers: str, device: str) -> str:
    """The distillation from these layers, with the teacher and the images as the features were made of them."""
    weights = None if source["weights"] == AS_BUILT else source["weights"]
    second = source.get("spectrum_sample") or {}
    others = {key: source[key] for key in ("weights_key", "num_classes", "prefix_tokens") if key in source}
    following = {
        "teacher": {"name": source["model"], "weights": weights, **others},
        "student": "...",
        "data": {**(source.get("data_options") or {}), "name": source["dataset"]},
        "layers": layers,
        "spectrum_samples": None if layers.endswith(".json") else second.get("requested"),
        "training": {"device": device},
        "output": "...",
    }
    return command_line("distill", DistillSettings.parse(following))


COMMAND = Command("rank", rank, EXAMPLES, FIRST)
