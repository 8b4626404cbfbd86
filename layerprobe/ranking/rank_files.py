"""Rankings of feature files, kept beside them: what ``layerprobe rank`` does."""

from __future__ import annotations

import json
import logging
from collections.abc import Container
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from layerprobe.features.extraction.memory import allowed_memory
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.catalogue import CLUSTERS, DEFAULT_SCORE, TWO_VIEWS, described
from layerprobe.plugins import file_sha256, split_file_name
from layerprobe.ranking.cache import StatisticsCache, open_cache
from layerprobe.ranking.choose import Choice
from layerprobe.ranking.clusters import ClusterChoice, with_layer
from layerprobe.ranking.file import Existing, check_replaceable_ranking, ranking_path, read_existing, save_ranking
from layerprobe.ranking.grams import described_source, open_source
from layerprobe.ranking.measure import Measurements
from layerprobe.ranking.provenance import with_score
from layerprobe.ranking.rank import chosen_layers, default_score, rank_source
from layerprobe.ranking.sample import check_score, permitted
from layerprobe.ranking.second_view import open_second_view
from layerprobe.records import Progress, Ranking, StoredLayer, silent
from layerprobe.runtime.lack_of_memory import explaining_lack_of_memory
from layerprobe.settings.rank import RankSettings

_log = logging.getLogger(__name__)
_UNCHANGED = "%s was not changed, since it holds %s; --overwrite replaces it, and --ranking FILE writes another file"


def _without(ranking: Ranking, families: Container[str]) -> Ranking:
    """A ranking without the statistics that its file had before, and that nobody asks for now."""
    geometries = (
        replace(
            one,
            statistics={
                name: value for name, value in one.statistics.items() if described(name).family not in families
            },
        )
        for one in ranking.geometries
    )
    return replace(ranking, geometries=tuple(geometries))


def _with_layer(measurements: Measurements, source: FeatureFile | GramFile) -> Measurements:
    """The measurements with the layer by its name that clusters are found by, where there are to be any.

    Raises:
        LayerprobeError: if the file has no such layer, or too few images for so many clusters.
    """
    if CLUSTERS not in measurements.statistics:
        return measurements
    return replace(measurements, clusters=with_layer(measurements.clusters, source))


def target(settings: RankSettings, features: Path) -> Path:
    """The ranking file of one of the networks."""
    return settings.ranking or ranking_path(features)


@dataclass(frozen=True)
class Ranked:
    """What was found.

    Attributes:
        rankings: one per network.
        files: the ranking files that were written.
        others: the ranking files that hold another choice of layers, and were left as they are.
    """

    rankings: tuple[Ranking, ...]
    files: tuple[Path, ...]
    others: tuple[Path, ...] = ()


def shown_choices(settings: RankSettings) -> tuple[str, ...]:
    """Of every network, which choice of which features' layers is asked for: what the figures show, in any form.

    Raises:
        LayerprobeError: if a file can't be read, or a plug-in isn't there.
    """
    score = settings.by or DEFAULT_SCORE
    by = [score, *([file_sha256(score)] if split_file_name(score) else [])]
    layers = [str(settings.layers)] if settings.layers else []
    return tuple(json.dumps([described_source(path), by, settings.top, *layers]) for path in settings.features)


@explaining_lack_of_memory
def rank_files(settings: RankSettings, device: torch.device | None = None, progress: Progress = silent) -> Ranked:
    """Rank every network and save the rankings.

    A ranking file of the same choice is left as it is, or written anew with the statistics that it lacks. One that
    holds something else stays as it is, and what differs is said.

    Args:
        settings: what to do.
        device: where Gram matrices are computed; default: the CPU.
        progress: told before every layer.

    Raises:
        LayerprobeError: if the input is wrong, or something else than a ranking lies where one is to be written;
            before any work is done where that can be known.
    """
    with ExitStack() as stack:
        sources = [stack.enter_context(closing(open_source(path))) for path in settings.features]
        for source in sources if settings.overwrite else ():
            check_replaceable_ranking(target(settings, source.path))
        second = stack.enter_context(_opened_view(settings, sources[0]))
        planned = [_plan(source, settings, second) for source in sources]
        found = [_rank_planned(one, settings, second, device, progress) for one in planned]
    return Ranked(
        tuple(ranking for ranking, _ in found),
        tuple(one.file for one, (_, saved) in zip(planned, found, strict=True) if saved),
        tuple(one.file for one in planned if one.existing and not one.existing.same_layers),
    )


def _opened_view(settings: RankSettings, source: FeatureFile | GramFile) -> AbstractContextManager[FeatureFile | None]:
    return open_second_view(settings.second_view, source) if settings.second_view else nullcontext()


@dataclass(frozen=True)
class _PlannedRanking:
    """What is measured of one network, and where its ranking is kept.

    Attributes:
        source: of the features.
        layers: that are ranked.
        choice: how layers are chosen.
        measurements: that are asked for, and that the sample allows.
        file: the ranking file.
        existing: what lies there, unless it is replaced; None: nothing.
        memory: bytes that a Gram matrix, or the features that it is made of, may take.
    """

    source: FeatureFile | GramFile
    layers: tuple[StoredLayer, ...]
    choice: Choice
    measurements: Measurements
    file: Path
    existing: Existing | None
    memory: float


def _plan(source: FeatureFile | GramFile, settings: RankSettings, second: FeatureFile | None) -> _PlannedRanking:
    """Find out what is to be done for one network.

    Raises:
        LayerprobeError: as ``rank_files``.
    """
    choice = Choice(settings.top, settings.by or default_score(source), settings.level)
    memory = allowed_memory(settings.memory)
    check_score(choice.score, source, settings.second_view is not None, memory)
    layers = chosen_layers(source, settings.layers)
    clusters = ClusterChoice(settings.cluster_count, settings.clusters_of or "", settings.seed)
    wanted = Measurements(
        settings.families, settings.views, settings.resamples, settings.sizes, settings.seed, clusters=clusters
    )
    wanted = replace(wanted, second_view=second.fingerprint if second else "")
    allowed = _with_layer(permitted(with_score(wanted, choice), source, memory), source)
    file = target(settings, source.path)
    reads = file.exists() and not settings.overwrite
    existing = read_existing(file, source, layers, choice, allowed) if reads else None
    return _PlannedRanking(source, layers, choice, allowed, file, existing, memory)


def _rank_planned(
    planned: _PlannedRanking,
    settings: RankSettings,
    second: FeatureFile | None,
    device: torch.device | None,
    progress: Progress,
) -> tuple[Ranking, bool]:
    """The ranking of one network, and whether it was saved."""
    source, old, shown = planned.source, planned.existing, with_score(planned.measurements, planned.choice)
    differs = old.differs if old else ""
    if old and not differs and TWO_VIEWS in old.statistics and second is None:
        differs = "" if set(shown.statistics) <= set(old.statistics) else "values of two views (--second-view)"
    known = old.statistics if old and not differs and set(shown.statistics) - set(old.statistics) else ()
    measured = replace(shown, statistics=tuple(dict.fromkeys([*shown.statistics, *known])))
    if old and CLUSTERS in known and CLUSTERS not in shown.statistics:
        measured = replace(measured, clusters=old.clusters)
    similarity = any(figure.similarity for figure in settings.drawn)
    cache = open_cache(source) if settings.cache else StatisticsCache(None)
    ranking = rank_source(
        source, planned.choice, measured, similarity, cache, device, progress, planned.layers, second, planned.memory
    )
    saved = old is None or (not differs and bool(set(ranking.provenance["statistics"]) - set(old.statistics)))
    if differs:
        _log.warning(_UNCHANGED, planned.file, differs)
    elif saved:
        save_ranking(ranking, planned.file)
    return _without(ranking, set(measured.statistics) - set(shown.statistics)), saved
