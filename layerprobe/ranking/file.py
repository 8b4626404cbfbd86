"""The ranking file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.files import check_replaceable, read_json, write_json
from layerprobe.geometry.catalogue import CLUSTERS
from layerprobe.plugins import file_sha256
from layerprobe.ranking.choose import Choice
from layerprobe.ranking.clusters import ClusterChoice
from layerprobe.ranking.measure import Measurements
from layerprobe.ranking.provenance import ranking_provenance
from layerprobe.records import RANKING_FORMAT, Ranking, StoredLayer
from layerprobe.records.clusters import GIVEN, cluster_source
from layerprobe.records.ranking_file import REMEDY, SECOND_VIEW, WHAT, parse_ranking


def ranking_path(features: Path) -> Path:
    """Where the ranking of a feature file is written: ``NAME.ranking.json`` beside ``NAME.h5``."""
    return features.with_name(f"{features.stem}.ranking.json")


def check_replaceable_ranking(path: Path) -> None:
    """Refuse to replace what is no ranking file.

    Raises:
        LayerprobeError: if something else is at the path.
    """
    check_replaceable(path, "a ranking", lambda head: RANKING_FORMAT.encode() in head, "--ranking")


def save_ranking(ranking: Ranking, path: Path) -> None:
    """Write a ranking file; values that are NaN become null."""
    write_json(path, ranking.to_dict())


def load_ranking(path: Path) -> Ranking:
    """Read a ranking file.

    Raises:
        LayerprobeError: if there is none, or it isn't one.
    """
    return parse_ranking(read_json(path, WHAT, REMEDY), path)


@dataclass(frozen=True)
class Existing:
    """A ranking file that is there, beside the ranking that is asked for.

    Attributes:
        statistics: the families of statistics that it holds.
        differs: what it holds instead of what is asked for, in words; empty: the same choice from the same draws.
        same_layers: whether it holds the same choice of the same features' layers.
        clusters: of the images, which its scores of clusters are of.
    """

    statistics: tuple[str, ...]
    differs: str
    same_layers: bool
    clusters: ClusterChoice = field(default_factory=ClusterChoice)


def read_existing(
    target: Path,
    source: FeatureFile | GramFile,
    ranked: Sequence[StoredLayer],
    choice: Choice,
    measurements: Measurements,
) -> Existing:
    """A ranking file that is there.

    Args:
        target: the ranking file.
        source: the features.
        ranked: those of their layers that are to be ranked.
        choice: how many layers, by which score.
        measurements: what is measured.

    Raises:
        LayerprobeError: if it isn't a ranking file.
    """
    old = load_ranking(target)
    new = ranking_provenance(source.provenance, measurements, choice)
    layers = []
    if old.provenance.get("created") != new.get("created"):
        layers.append("other features")
    elif [one.layer.name for one in old.geometries] != [stored.layer.name for stored in ranked]:
        layers.append(f"a ranking of {len(old.geometries)} layers")
    if (old.score, len(old.selected)) != (choice.by, choice.top):
        layers.append(f"the top {len(old.selected)} by {old.score}")
    for name, digest in old.provenance.get("plugins", {}).items():
        if _digest(name) != digest:
            layers.append(f"{name} as its file was before")
    statistics = tuple(old.provenance.get("statistics", ()))
    held, clusters = cluster_source(old.provenance), ClusterChoice()
    if held:
        clusters = ClusterChoice(held.count if held.chosen == GIVEN else None, held.layer, held.seed)
        if CLUSTERS in measurements.statistics and clusters != measurements.clusters:
            layers.append(f"scores of {held}")
    views = (old.provenance.get(SECOND_VIEW) or {}).get("fingerprint", measurements.second_view)
    if measurements.second_view not in ("", views):
        layers.append("LiDAR and InfoNCE of another second view")
    draws = _draws(old.provenance, new)
    return Existing(statistics, ", ".join(filter(None, [*layers, draws])), not layers, clusters)


def _draws(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """How the intervals of a file were made that is not asked for, in words; empty: as it is asked for."""
    differ = [key for key in ("resamples", "level", "seed") if old.get(key) != new.get(key)]
    if differ and "resamples" not in old:
        return "no intervals"
    return f"intervals with {', '.join(f'{key} {old.get(key)}' for key in differ)}" if differ else ""


def _digest(name: str) -> str:
    """Hash of the file of a user's own statistic; empty where it is gone."""
    try:
        return file_sha256(name)
    except LayerprobeError:
        return ""
