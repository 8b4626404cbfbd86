"""The ranking file: what lies in it, and how a ranking is made of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.errors import FileError, shown
from layerprobe.records.adaptation import Adaptation
from layerprobe.records.clusters import ClusterSource
from layerprobe.records.feature_header import AugmentedView, DrawnImages
from layerprobe.records.fields import Count, Defined, Name, Positive, Sha256, Share, Text
from layerprobe.records.geometry import Interval, LayerGeometry
from layerprobe.records.layers import Layer, as_layer
from layerprobe.records.parsing import parse
from layerprobe.records.preprocessing import Preprocessing
from layerprobe.records.ranking import RANKING_FORMAT, RANKING_VERSION, Ranking

_OLD_VERSION = 2
"""What layerprobe 0.1.0 wrote: it spelled the names of statistics otherwise."""
_RENAMED = {"probe_accuracy": "probe", "knn_accuracy": "knn", "families": "statistics"}

SECOND_VIEW = "second_view"
"""What a ranking says of the second view of its images, by this key of its provenance."""
WHAT, REMEDY = "ranking file", "`layerprobe rank FEATURES.h5` writes one"


@dataclass(frozen=True)
class SecondView:
    """The features that LiDAR and InfoNCE compare those of a ranking with.

    Attributes:
        fingerprint: SHA-256 of their content.
        view: of the images; None: the images as they are.
    """

    fingerprint: Sha256
    view: AugmentedView | None = None


@dataclass(frozen=True)
class RankingSource:
    """Where a ranking comes from, as far as it says so; ``Ranking.provenance`` holds the same as plain values."""

    model: Text | None = None
    weights: Text | None = None
    weights_key: Text | None = None
    num_classes: Count | None = None
    weights_sha256: Text | None = None
    adapted: tuple[Adaptation, ...] = ()
    dataset: Text | None = None
    split: Text | None = None
    population: Count | None = None
    rows: Count | None = None
    sample: DrawnImages | None = None
    spectrum_sample: DrawnImages | None = None
    view: AugmentedView | None = None
    second_view: SecondView | None = None
    preprocessing: Preprocessing | None = None
    dtype: Text | None = None
    created: Text | None = None
    layerprobe_version: Text | None = None
    statistics: tuple[Text, ...] | None = None
    plugins: Mapping[Text, Text] | None = None
    clusters: ClusterSource | None = None
    resamples: Positive | None = None
    level: Share | None = None
    seed: Count | None = None


@dataclass(frozen=True, kw_only=True)
class RankedLayer(Layer):
    """A layer and what was measured of it, side by side."""

    statistics: Mapping[Text, Defined]
    intervals: Mapping[Text, Interval]
    top_share: Share | None
    undefined: Text = ""

    @property
    def geometry(self) -> LayerGeometry:
        """The layer with its measurements."""
        return LayerGeometry(as_layer(self), self.statistics, self.intervals, self.top_share, self.undefined)


@dataclass(frozen=True)
class RankingFile:
    """The keys of a ranking file; see ``Ranking`` for what they mean."""

    score: Name
    selected: tuple[Name, ...]
    undecided: tuple[Name, ...]
    evenly_spread: tuple[Name, ...]
    provenance: RankingSource
    layers: tuple[RankedLayer, ...]


def parse_ranking(values: Any, path: Path) -> Ranking:
    """A ranking from the values of its file.

    Args:
        values: as JSON has them.
        path: of the file, for messages.

    Raises:
        FileError: if they are no ranking of this version, or a field is missing or wrong.
    """
    found = (values.get("format"), values.get("format_version")) if isinstance(values, dict) else (None, None)
    if found[0] != RANKING_FORMAT or found[1] not in (_OLD_VERSION, RANKING_VERSION):
        state = f"its format is {shown(found[0])}, its format_version {shown(found[1])}"
        raise FileError(f"{path} is not a layerprobe ranking of version {RANKING_VERSION} ({state}); {REMEDY}")
    if found[1] == _OLD_VERSION:
        values = _with_new_names(values)
    file = parse(RankingFile, values, path, REMEDY)
    _check_names(file, path)
    for number, layer in enumerate(file.layers):
        if file.score not in layer.statistics:
            raise FileError(f"{path}: layers[{number}].statistics has no {file.score!r}, the score; {REMEDY}")
        if layer.intervals and (file.provenance.level is None or file.provenance.resamples is None):
            raise FileError(f"{path}: layers[{number}] has intervals, but provenance no level and resamples; {REMEDY}")
    geometries = tuple(layer.geometry for layer in file.layers)
    return Ranking(geometries, file.score, file.selected, values["provenance"], file.undecided, file.evenly_spread)


def _check_names(file: RankingFile, path: Path) -> None:
    """Refuse layers that aren't in order, and names of layers that there aren't."""
    for number, (before, after) in enumerate(zip(file.layers, file.layers[1:], strict=False), 1):
        if before.index >= after.index:
            raise FileError(f"{path}: layers[{number}].index must be above {before.index}, not {after.index}; {REMEDY}")
    known = [layer.name for layer in file.layers]
    if len(set(known)) < len(known):
        raise FileError(f"{path}: layers has two of one name; {REMEDY}")
    if not file.selected:
        raise FileError(f"{path}: selected names no layer; {REMEDY}")
    for key in ("selected", "undecided", "evenly_spread"):
        if unknown := [name for name in getattr(file, key) if name not in known]:
            raise FileError(f"{path}: {key} names {unknown[0]!r}, which is none of the layers; {REMEDY}")


def _with_new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """A ranking of version 2 with the names that statistics have now; what is malformed stays as it is."""
    new = dict(values)
    if isinstance(new.get("score"), str):
        new["score"] = _new_name(new["score"])
    if isinstance(provenance := new.get("provenance"), dict):
        new["provenance"] = {_RENAMED.get(key, key): value for key, value in provenance.items()}
    if isinstance(layers := new.get("layers"), list):
        new["layers"] = [_layer_with_new_names(layer) for layer in layers]
    return new


def _layer_with_new_names(layer: Any) -> Any:
    if not isinstance(layer, dict):
        return layer
    named = {key: layer[key] for key in ("statistics", "intervals") if isinstance(layer.get(key), dict)}
    return layer | {key: {_new_name(name): value for name, value in part.items()} for key, part in named.items()}


def _new_name(name: Any) -> Any:
    """What a statistic of version 2 is called now.

    Examples:
        >>> _new_name("quality_normalised"), _new_name("probe_accuracy")
        ('quality-normalised', 'probe')
    """
    return _RENAMED.get(name, name.replace("_", "-")) if isinstance(name, str) else name
