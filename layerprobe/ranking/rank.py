"""A network's layers measured, and the best of them chosen."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction.memory import allowed_memory
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.catalogue import CLUSTERS, DEFAULT_SCORE, TWO_VIEWS, VIEWS, WITHOUT_LABELS
from layerprobe.layers.selection import find_layers
from layerprobe.ranking.cache import StatisticsCache
from layerprobe.ranking.choose import Choice, check_count, choose
from layerprobe.ranking.clusters import ClusterChoice, find_clusters
from layerprobe.ranking.grams import extract_grams
from layerprobe.ranking.measure import Measurements, measure_layers
from layerprobe.ranking.provenance import ranking_provenance, with_score
from layerprobe.ranking.sample import check_score, permitted
from layerprobe.ranking.second_view import describe_second_view, open_second_view
from layerprobe.ranking.similarity import layer_similarity
from layerprobe.records import Progress, Ranking, StoredLayer, silent
from layerprobe.records.ranking_file import SECOND_VIEW
from layerprobe.runtime.devices import resolve_device
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.layer_choice import LayerChoice

_log = logging.getLogger(__name__)


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
    second_view: Path | None = None,
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
        second_view: features of another view of the same images, for LiDAR and InfoNCE.

    Raises:
        LayerprobeError: if k exceeds the number of layers that have a score, or the score is unknown or not defined for
            such a sample, or a function of your own fails.
    """
    measurements = Measurements(
        tuple(statistics), (), resamples, (), seed, clusters=ClusterChoice(clusters, clusters_of, seed)
    )
    ranked, choice = chosen_layers(source, layers), Choice(top, by, level)
    with open_second_view(second_view, source) if second_view else nullcontext() as second:
        return rank_source(source, choice, measurements, device=device, progress=progress, layers=ranked, second=second)


def rank_source(
    source: FeatureFile | GramFile,
    choice: Choice,
    measurements: Measurements,
    similarity: bool = False,
    cache: StatisticsCache | None = None,
    device: torch.device | None = None,
    progress: Progress = silent,
    layers: Sequence[StoredLayer] | None = None,
    second: FeatureFile | None = None,
    memory: float | None = None,
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
        second: features of another view of the images.
        memory: bytes that a Gram matrix, or the features that it is made of, may take; None: half of what is available.

    Raises:
        LayerprobeError: as ``rank``.
    """
    layers = source.layers if layers is None else layers
    check_count(choice, len(layers))
    memory = memory or allowed_memory()
    check_score(choice.score, source, second is not None, memory)
    measurements = permitted(with_score(measurements, choice), source, memory)
    measurements = replace(measurements, second_view=second.fingerprint if second else "")
    cache = cache or StatisticsCache(None)
    measured = measure_layers(source, measurements, cache, device, progress, layers, second, memory)
    provenance = dict(ranking_provenance(source.provenance, measurements, choice))
    if CLUSTERS in measurements.statistics:
        provenance[CLUSTERS] = asdict(find_clusters(source, measurements.clusters, cache, device).source)
    if TWO_VIEWS in measurements.statistics and second:
        provenance[SECOND_VIEW] = describe_second_view(second)
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


def default_score(source: FeatureFile | GramFile) -> str:
    """The score where the user names none; that of images without labels is said."""
    if source.labels is not None:
        return DEFAULT_SCORE
    said = "the images of %s have no labels, and %s needs classes: layers are chosen by %s (--by names another score)"
    _log.info(said, source.header.dataset, DEFAULT_SCORE, WITHOUT_LABELS)
    return WITHOUT_LABELS
