"""Feature files ranked and drawn: what ``layerprobe rank`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.ranking.cache import StatisticsCache, open_cache
from layerprobe.ranking.choose import Choice
from layerprobe.ranking.file import families_there, ranking_path, save_ranking
from layerprobe.ranking.grams import open_source
from layerprobe.ranking.measure import Wanted
from layerprobe.ranking.rank import rank_network, with_score
from layerprobe.records import NetworkGeometry, Progress, Ranking, silent
from layerprobe.report.figures.gallery import GALLERY, Exhibit
from layerprobe.report.figures.relative_depth import relative_depth_figure
from layerprobe.report.figures.style import PAGE_WIDTH, check_figure, paper_style, save_figure

DEPTHS = "relative-depth"
"""The figure of several networks."""


@dataclass(frozen=True)
class SurveyConfig:
    """What to rank, and what to draw.

    Attributes:
        features: feature or Gram files, one per network.
        choice: how many layers, by which score.
        wanted: what to measure beside the scores; what the figures and the score need is added.
        output: folder for the figures; None: nothing is drawn.
        figures: keys of ``GALLERY``, or ``all``.
        width: of the figures, inches.
        style: a matplotlib style sheet that is laid over the house style.
        ranking: the ranking file, where there is one network; None: beside its features.
        cache: whether results are kept beside the features for the next time.
        overwrite: whether existing rankings and figures may be replaced.

    Raises:
        LayerprobeError: if these can't go together, or a figure is unknown.
    """

    features: tuple[Path, ...]
    choice: Choice = field(default_factory=Choice)
    wanted: Wanted = field(default_factory=Wanted)
    output: Path | None = None
    figures: tuple[str, ...] = ("quality",)
    width: float = PAGE_WIDTH
    style: Path | None = None
    ranking: Path | None = None
    cache: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        if unknown := [name for name in self.figures if name not in (*GALLERY, "all")]:
            raise LayerprobeError(f"no figure {unknown[0]!r}; --figures takes all, or {', '.join(GALLERY)}")
        if "sizes" in self.figures and not self.wanted.sizes:
            raise LayerprobeError("--figures sizes needs --sizes, e.g. --sizes 10,25,50")
        if self.wanted.sizes and self.output is None:
            raise LayerprobeError(
                "--sizes is drawn, and its values stand beside the figure: name a folder, --output DIR"
            )
        if self.ranking and len(self.features) > 1:
            raise LayerprobeError("--ranking names one file, but there are several networks; leave it out")
        stems = [path.stem for path in self.features]
        if twice := [stem for stem in stems if stems.count(stem) > 1]:
            raise LayerprobeError(f"two files are called {twice[0]!r}: their figures would be, too; rename one")

    @property
    def exhibits(self) -> Mapping[str, Exhibit]:
        """The figures of each network."""
        if self.output is None:
            return {}
        drawn = {name for name in GALLERY if name in self.figures or "all" in self.figures}
        drawn = drawn - {"sizes"} | ({"sizes"} if self.wanted.sizes else set())
        return {name: exhibit for name, exhibit in GALLERY.items() if name in drawn}

    @property
    def everything(self) -> Wanted:
        """What to measure, with what the figures need."""
        shown = self.exhibits.values()
        families = [
            *with_score(self.wanted, self.choice).families,
            *(family for exhibit in shown for family in exhibit.families),
        ]
        views = [*self.wanted.views, *(view for exhibit in shown for view in exhibit.views)]
        return replace(self.wanted, families=tuple(dict.fromkeys(families)), views=tuple(dict.fromkeys(views)))

    def target(self, features: Path) -> Path:
        """The ranking file of one network."""
        return self.ranking or ranking_path(features)


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        rankings: one per network.
        files: everything that was written.
    """

    rankings: tuple[Ranking, ...]
    files: tuple[Path, ...]


def survey(config: SurveyConfig, device: torch.device | None = None, progress: Progress = silent) -> Survey:
    """Rank every network, save the rankings and draw the figures.

    Args:
        config: what to do.
        device: where Gram matrices are computed; default: the CPU.
        progress: told before every layer.

    Raises:
        LayerprobeError: if the input is wrong, or something that exists may not be overwritten; before any work is done
            where that can be known.
    """
    with ExitStack() as stack, paper_style(config.style):
        sources = [open_source(path) for path in config.features]
        for source in sources:
            stack.callback(source.close)
        _check_outputs(config)
        there = [_families_there(config, source) for source in sources]
        networks, files = [], []
        for source, families in zip(sources, there, strict=True):
            network = _rank(config, source, families or (), device, progress)
            if families is None or set(config.everything.families) - set(families):
                save_ranking(network.ranking, config.target(source.path))
                files.append(config.target(source.path))
            files += _draw(config, source.path.stem, network)
            networks.append(network)
    rankings = tuple(network.ranking for network in networks)
    return Survey(rankings, (*files, *_draw_together(config, rankings)))


def _families_there(config: SurveyConfig, source: FeatureFile | GramFile) -> tuple[str, ...] | None:
    """Statistics in a ranking file of the same choice, which is left as it is or gets more; None: write it anew."""
    target = config.target(source.path)
    if config.overwrite or not target.exists():
        return None
    return families_there(target, source.provenance, config.choice, config.everything)


def _rank(
    config: SurveyConfig,
    source: FeatureFile | GramFile,
    families: tuple[str, ...],
    device: torch.device | None,
    progress: Progress,
) -> NetworkGeometry:
    cache = open_cache(source) if config.cache else StatisticsCache(None)
    wanted = config.everything
    wanted = replace(wanted, families=tuple(dict.fromkeys([*wanted.families, *families])))
    similarity = any(exhibit.similarity for exhibit in config.exhibits.values())
    return rank_network(source, config.choice, wanted, similarity, cache, device, progress)


def _check_outputs(config: SurveyConfig) -> None:
    if config.output is None:
        return
    for path in config.features:
        for name in config.exhibits:
            check_figure(config.output, f"{path.stem}.{name}", config.overwrite)
    if len(config.features) > 1:
        check_figure(config.output, DEPTHS, config.overwrite)


def _draw(config: SurveyConfig, stem: str, network: NetworkGeometry) -> list[Path]:
    files: list[Path] = []
    for name, exhibit in config.exhibits.items():
        if config.output is not None:
            draw = partial(exhibit.draw, network, config.width)
            files += save_figure(draw, config.output, f"{stem}.{name}", config.overwrite, config.style)
    return files


def _draw_together(config: SurveyConfig, rankings: Sequence[Ranking]) -> list[Path]:
    if config.output is None or len(rankings) == 1:
        return []
    draw = partial(relative_depth_figure, rankings, config.width)
    return save_figure(draw, config.output, DEPTHS, config.overwrite, config.style)
