"""A network's layers measured, and the best of them chosen: what ``layerprobe rank`` does."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Container, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.catalogue import CLUSTERS, DEFAULT_SCORE, VIEWS, WITHOUT_LABELS, described
from layerprobe.layers.selection import find_layers
from layerprobe.plugins import file_sha256, split_file_name
from layerprobe.ranking.cache import StatisticsCache, open_cache
from layerprobe.ranking.choose import Choice, check_count, choose
from layerprobe.ranking.clusters import ClusterChoice, find_clusters, with_layer
from layerprobe.ranking.file import Existing, check_replaceable_ranking, ranking_path, read_existing, save_ranking
from layerprobe.ranking.grams import described_source, extract_grams, open_source
from layerprobe.ranking.measure import Measurements, measure_layers
from layerprobe.ranking.provenance import ranking_provenance, with_score
from layerprobe.ranking.sample import check_score, permitted
from layerprobe.ranking.similarity import layer_similarity
from layerprobe.records import Progress, Ranking, StoredLayer, silent
from layerprobe.runtime.devices import resolve_device
from layerprobe.runtime.lack_of_memory import explaining_lack_of_memory
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.layer_choice import LayerChoice
from layerprobe.settings.rank import RankSettings

_log = logging.getLogger(__name__)
_UNCHANGED = "%s was not changed, since it holds %s; --overwrite replaces it, and --ranking FILE writes another file"


def rank(
    source: FeatureFile | GramFile,
    top: int = 4,
    by: str = "quality",
    resamples: int = 200,
    level: float = 0.9,
    seed: int = 0,
    statistics: Sequence[str] = (),
    device: torch.device | None = None,
    progress: Progress = silent,
    layers: LayerChoice | None = None,
    clusters: int | None = None,
    clusters_of: str = "",
) -> Ranking:
    """Measure layers of a feature file and choose the ``top`` layers of best score.

    Results are kept in memory alone; the command keeps them beside the file.

    Args:
        source: the features, or their Gram matrices.
        top: k, how many layers to choose.
        by: the score, a name in ``layerprobe.geometry.catalogue.SCORES``, or your own: ``FILE.py:function``, a function
            of a ``Gram``, the higher the better.
        resamples: how many times the sample is drawn again for the intervals, a multiple of four; 0: no intervals.
        level: of the intervals, between 0 and 1.
        seed: of those draws.
        statistics: further ones, names in ``FAMILIES`` there, or your own.
        device: where the Gram matrices are computed; default: the CPU.
        progress: told before every layer.
        layers: those that are ranked, by name or pattern; None: all.
        clusters: how many clusters of the images stand for classes in the scores of clusters; None: the number of
            highest silhouette.
        clusters_of: name of the layer that they are found by; empty: the last block.

    Raises:
        LayerprobeError: if k exceeds the number of layers that have a score, or the score is unknown or not defined for
            such a sample, or a function of your own fails.
    """
    measurements = Measurements(
        tuple(statistics), (), resamples, (), seed, clusters=ClusterChoice(clusters, clusters_of, seed)
    )
    ranked = chosen_layers(source, layers)
    return rank_source(source, Choice(top, by, level), measurements, device=device, progress=progress, layers=ranked)


def rank_source(
    source: FeatureFile | GramFile,
    choice: Choice,
    measurements: Measurements,
    similarity: bool = False,
    cache: StatisticsCache | None = None,
    device: torch.device | None = None,
    progress: Progress = silent,
    layers: Sequence[StoredLayer] | None = None,
) -> Ranking:
    """Measure layers, choose, and keep what figures show.

    Args:
        source: the features, or their Gram matrices.
        choice: how many layers, by which score. What the score needs is measured too.
        measurements: what to measure beside the scores.
        similarity: whether to compare the layers with each other: linear CKA.
        cache: results of earlier runs.
        device: where the Gram matrices are computed; default: the CPU.
        progress: told before every layer.
        layers: those of the file that are ranked; None: all.

    Raises:
        LayerprobeError: as ``rank``.
    """
    layers = source.layers if layers is None else layers
    check_count(choice, len(layers))
    check_score(choice.score, source)
    measurements = permitted(with_score(measurements, choice), source)
    cache = cache or StatisticsCache(None)
    measured = measure_layers(source, measurements, cache, device, progress, layers)
    provenance = dict(ranking_provenance(source.provenance, measurements, choice))
    if CLUSTERS in measurements.statistics:
        provenance[CLUSTERS] = asdict(find_clusters(source, measurements.clusters, cache, device).source)
    ranking = choose(measured, choice, provenance)
    undefined = [one.layer.name for one in measured if one.undefined]
    cka = partial(layer_similarity, source, None, cache, device, progress, layers, undefined)
    return replace(
        ranking,
        labels=source.labels,
        classes=source.classes,
        views=tuple(name for name in measurements.views if measurements.allows(VIEWS[name])),
        sizes=measurements.sizes,
        similarity=cka() if similarity else None,
    )


def chosen_layers(source: FeatureFile | GramFile, choice: LayerChoice | None) -> tuple[StoredLayer, ...]:
    """The layers of a file that are named; an index is a layer's in its network, also where the file lacks some.

    Raises:
        LayerprobeError: if a name or pattern selects none of them.
    """
    if choice is None:
        return source.layers
    stored = {one.layer.index: one for one in source.layers}
    lacking = [replace(source.layers[0].layer, index=index, name=f" {index}") for index in range(max(stored))]
    places = [stored[place].layer if place in stored else lacking[place] for place in range(max(stored) + 1)]
    found = find_layers(places, choice.names, str(source.path), f"`layerprobe inspect {source.path}` lists them")
    if not (held := tuple(stored[layer.index] for layer in found if layer.index in stored)):
        raise LayerprobeError(
            f"{source.path} holds none of the layers {choice}; `layerprobe inspect {source.path}` lists those it has"
        )
    return held


def rank_model(
    settings: ExtractSettings,
    top: int = 4,
    by: str = "quality",
    statistics: Sequence[str] = (),
    resamples: int = 200,
    progress: Progress = silent,
) -> Ranking:
    """Rank the layers of a network without a feature file.

    The Gram matrices lie in a temporary folder meanwhile: 50 MB per layer for 5,000 images.

    Args:
        settings: the network and the images; its ``output`` is not used.
        top: how many layers to choose.
        by: the score.
        statistics: further ones.
        resamples: draws for the intervals; 0: none.
        progress: told while images pass through, and before every layer.

    Raises:
        LayerprobeError: as ``extract_grams`` and ``rank``.
    """
    device = resolve_device(settings.device)
    with (
        tempfile.TemporaryDirectory() as folder,
        extract_grams(settings.replaced(output=Path(folder) / "grams.h5"), progress=progress) as grams,
    ):
        return rank(grams, top, by, resamples, statistics=statistics, device=device, progress=progress)


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
        planned = [_plan(source, settings) for source in sources]
        found = [_rank_planned(one, settings, device, progress) for one in planned]
    return Ranked(
        tuple(ranking for ranking, _ in found),
        tuple(one.file for one, (_, saved) in zip(planned, found, strict=True) if saved),
        tuple(one.file for one in planned if one.existing and not one.existing.same_layers),
    )


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
    """

    source: FeatureFile | GramFile
    layers: tuple[StoredLayer, ...]
    choice: Choice
    measurements: Measurements
    file: Path
    existing: Existing | None


def _plan(source: FeatureFile | GramFile, settings: RankSettings) -> _PlannedRanking:
    """Find out what is to be done for one network.

    Raises:
        LayerprobeError: as ``rank_files``.
    """
    choice = Choice(settings.top, settings.by or _default_score(source), settings.level)
    check_score(choice.score, source)
    layers = chosen_layers(source, settings.layers)
    clusters = ClusterChoice(settings.cluster_count, settings.clusters_of or "", settings.seed)
    wanted = Measurements(
        settings.families, settings.views, settings.resamples, settings.sizes, settings.seed, clusters=clusters
    )
    allowed = _with_layer(permitted(with_score(wanted, choice), source), source)
    file = target(settings, source.path)
    reads = file.exists() and not settings.overwrite
    existing = read_existing(file, source, layers, choice, allowed) if reads else None
    return _PlannedRanking(source, layers, choice, allowed, file, existing)


def _default_score(source: FeatureFile | GramFile) -> str:
    """The score where the user names none; that of images without labels is said."""
    if source.labels is not None:
        return DEFAULT_SCORE
    said = "the images of %s have no labels, and %s needs classes: layers are chosen by %s (--by names another score)"
    _log.info(said, source.header.dataset, DEFAULT_SCORE, WITHOUT_LABELS)
    return WITHOUT_LABELS


def _rank_planned(
    planned: _PlannedRanking, settings: RankSettings, device: torch.device | None, progress: Progress
) -> tuple[Ranking, bool]:
    """The ranking of one network, and whether it was saved."""
    source, old, shown = planned.source, planned.existing, with_score(planned.measurements, planned.choice)
    known = old.statistics if old and not old.differs and set(shown.statistics) - set(old.statistics) else ()
    measured = replace(shown, statistics=tuple(dict.fromkeys([*shown.statistics, *known])))
    if old and CLUSTERS in known and CLUSTERS not in shown.statistics:
        measured = replace(measured, clusters=old.clusters)
    similarity = any(figure.similarity for figure in settings.drawn)
    cache = open_cache(source) if settings.cache else StatisticsCache(None)
    ranking = rank_source(source, planned.choice, measured, similarity, cache, device, progress, planned.layers)
    saved = old is None or (not old.differs and bool(set(ranking.provenance["statistics"]) - set(old.statistics)))
    if old and old.differs:
        _log.warning(_UNCHANGED, planned.file, old.differs)
    elif saved:
        save_ranking(ranking, planned.file)
    return _without(ranking, set(measured.statistics) - set(shown.statistics)), saved
