"""The ranking file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerprobe.errors import LayerprobeError
from layerprobe.files import read_json, write_json
from layerprobe.plugins import file_sha256
from layerprobe.ranking.choose import Choice
from layerprobe.ranking.measure import Measurements
from layerprobe.ranking.provenance import ranking_provenance
from layerprobe.records import Ranking
from layerprobe.records.ranking_file import REMEDY, WHAT, parse_ranking


def ranking_path(features: Path) -> Path:
    """Where the ranking of a feature file is written: ``NAME.ranking.json`` beside ``NAME.h5``."""
    return features.with_name(f"{features.stem}.ranking.json")


def save_ranking(ranking: Ranking, path: Path) -> None:
    """Write a ranking file; values that are NaN become null."""
    write_json(path, ranking.to_dict())


def load_ranking(path: Path) -> Ranking:
    """Read a ranking file.

    Raises:
        LayerprobeError: if there is none, or it isn't one.
    """
    return parse_ranking(read_json(path, WHAT, REMEDY), path)


def statistics_there(
    target: Path, provenance: Mapping[str, Any], choice: Choice, measurements: Measurements
) -> tuple[str, ...]:
    """The families of statistics in a ranking file that already holds this choice from these features.

    Args:
        target: the ranking file.
        provenance: of the features.
        choice: how many layers, by which score.
        measurements: what is measured.

    Raises:
        LayerprobeError: if it holds another choice, or isn't a ranking file, or holds a user's own statistic whose file
            has changed.
    """
    old = load_ranking(target)
    new = ranking_provenance(provenance, measurements, choice)
    remedy = "--overwrite replaces it, --ranking FILE writes elsewhere"
    same = all(old.provenance.get(key) == new.get(key) for key in ("created", "resamples", "level", "seed"))
    if not same or (old.score, len(old.selected)) != (choice.by, choice.top):
        raise LayerprobeError(f"{target} exists (top {len(old.selected)} by {old.score}); {remedy}")
    for name, digest in old.provenance.get("plugins", {}).items():
        if _digest(name) != digest:
            raise LayerprobeError(f"{target} exists, with {name} as its file was before; {remedy}")
    return tuple(old.provenance.get("statistics", ()))


def _digest(name: str) -> str:
    """Hash of the file of a user's own statistic; empty where it is gone."""
    try:
        return file_sha256(name)
    except LayerprobeError:
        return ""
