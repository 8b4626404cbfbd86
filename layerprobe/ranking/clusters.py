"""The clusters of a file's images that stand for classes: found once, in one layer, for all of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.errors import LayerprobeError, closest
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.clusters import Clusters, choose_clusters, k_means, mean_silhouette
from layerprobe.geometry.measure import Values
from layerprobe.ranking.cache import StatisticsCache
from layerprobe.ranking.grams import UndefinedLayerError, gram_of
from layerprobe.records import Gram, StoredLayer, body_layers
from layerprobe.records.clusters import BY_SILHOUETTE, GIVEN, ClusterSource

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClusterChoice:
    """Which clusters are asked for.

    Attributes:
        count: k; None: the number of highest silhouette.
        layer: whose features they are found by; empty: the last block.
        seed: of k-means.
    """

    count: int | None = None
    layer: str = ""
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.count or 'auto'} of {self.layer}, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class FoundClusters:
    """Clusters of a file's images.

    Attributes:
        labels: (n,) int64; None: the sample has no clusters.
        source: how they were found, which the ranking file holds.
    """

    labels: Tensor | None
    source: ClusterSource


def with_layer(choice: ClusterChoice, source: FeatureFile | GramFile) -> ClusterChoice:
    """The choice with a layer of a file by its name, where it named none: the last block, or the last layer.

    Raises:
        LayerprobeError: if the file has no such layer, or fewer images than clusters are asked for.
    """
    layers = [stored.layer for stored in source.layers]
    names = [layer.name for layer in layers]
    if choice.layer and choice.layer not in names:
        raise LayerprobeError(
            f"--clusters-of: {source.path} has no layer {choice.layer!r}; {closest(choice.layer, names, 3)}; "
            f"`layerprobe inspect {source.path}` lists them"
        )
    if choice.count and choice.count > source.header.rows // 2:
        raise LayerprobeError(
            f"--clusters {choice.count}: a cluster needs two images, and the sample has {source.header.rows}; "
            f"choose {source.header.rows // 2} or fewer, or auto"
        )
    late = (*layers, *body_layers(layers))[-1]
    return ClusterChoice(choice.count, choice.layer or late.name, choice.seed)


def find_clusters(
    source: FeatureFile | GramFile, choice: ClusterChoice, kept: StatisticsCache, device: torch.device | None
) -> FoundClusters:
    """The clusters of a file's images; results that are kept are not computed again.

    A sample in which they can't be found has none, and a warning says why.

    Args:
        source: the file.
        choice: which clusters.
        kept: results of earlier runs, where new ones are put.
        device: where the Gram matrix is computed; default: the CPU.
    """
    choice = with_layer(choice, source)
    task = f"images in clusters {choice}"
    known, new = kept.get(choice.layer, task), False
    if known is None:
        known, new = _found(source, choice, device), True
        kept.put(choice.layer, task, known)
    labels = known["cluster labels"].long()
    chosen, sizes = GIVEN if choice.count else BY_SILHOUETTE, torch.bincount(labels).tolist()
    origin = ClusterSource(
        choice.layer, len(sizes), chosen, float(known["silhouette"]), choice.seed, min(sizes, default=0)
    )
    if new:
        _log.info("%s", origin)
    return FoundClusters(labels if sizes else None, origin)


def _found(source: FeatureFile | GramFile, choice: ClusterChoice, device: torch.device | None) -> Values:
    stored = next(one for one in source.layers if one.layer.name == choice.layer)
    try:
        found = _grouped(gram_of(source, stored, device), choice)
    except (UndefinedLayerError, ValueError) as error:
        _log.warning("scores of clusters are undefined: %s", _reason(error, stored))
        return {"cluster labels": torch.empty(0), "silhouette": torch.tensor(torch.nan)}
    return {"cluster labels": found.labels.double(), "silhouette": torch.tensor(found.silhouette, dtype=torch.float64)}


def _reason(error: Exception, stored: StoredLayer) -> str:
    return str(error) if isinstance(error, LayerprobeError) else f"{error} by {stored.layer.name}"


def _grouped(gram: Gram, choice: ClusterChoice) -> Clusters:
    if choice.count is None:
        return choose_clusters(gram, choice.seed)
    found = k_means(gram, choice.count, choice.seed)
    return Clusters(found.labels, found.inertia, mean_silhouette(gram, found.labels))
