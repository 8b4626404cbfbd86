"""The ranking file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerprobe.errors import LayerprobeError
from layerprobe.files import write_json
from layerprobe.ranking.choose import Choice
from layerprobe.ranking.measure import Wanted
from layerprobe.ranking.rank import ranking_provenance
from layerprobe.records import Ranking


def ranking_path(features: Path) -> Path:
    """Where the ranking of a feature file is written: ``NAME.ranking.json`` beside ``NAME.h5``."""
    return features.with_name(f"{features.stem}.ranking.json")


def save_ranking(ranking: Ranking, path: Path) -> None:
    """Write a ranking file; values that are NaN become null."""
    write_json(path, ranking.to_dict())


def families_there(target: Path, provenance: Mapping[str, Any], choice: Choice, wanted: Wanted) -> tuple[str, ...]:
    """The families of statistics in a ranking file that already holds this choice from these features.

    Args:
        target: the ranking file.
        provenance: of the features.
        choice: how many layers, by which score.
        wanted: what is measured.

    Raises:
        LayerprobeError: if it holds another choice, or isn't a ranking file.
    """
    old = Ranking.load(target)
    new = ranking_provenance(provenance, wanted, choice)
    same = all(old.provenance.get(key) == new.get(key) for key in ("created", "resamples", "level", "seed"))
    if same and (old.score, len(old.selected)) == (choice.statistic, choice.top):
        return tuple(old.provenance["families"])
    raise LayerprobeError(
        f"{target} exists (top {len(old.selected)} by {old.score}); "
        "--overwrite replaces it, --ranking FILE writes elsewhere"
    )
