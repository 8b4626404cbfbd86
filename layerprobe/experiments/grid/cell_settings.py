"""What a cell's run was told when it began, and whether the grid file still says that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layerprobe.distill.config import DistillConfig
from layerprobe.distill.config_file import differences, distill_config, read_values, to_values
from layerprobe.distill.folder import CONFIG
from layerprobe.distill.resume_check import MAY_DIFFER
from layerprobe.distill.resume_check import told_otherwise as run_told_otherwise
from layerprobe.errors import LayerprobeError, first_of
from layerprobe.experiments.grid.grid_file import PlannedCell, Values
from layerprobe.files import write_yaml
from layerprobe.ranking.rules import read_wish

_RANKING = "ranking"


def asked_file(folder: Path, path: str) -> Path:
    """Where the values of a cell lie: beside its run folder, which they travel with."""
    return folder / f"{path}.yaml"


def ask(planned: PlannedCell, folder: Path) -> None:
    """Write what a cell's run is told, unless it has begun; where it has, it must be the same.

    Only one who holds the claim of a cell may do so.

    Raises:
        LayerprobeError: if the run that lies there was told otherwise.
    """
    path = planned.cell.path
    if (folder / path / CONFIG).is_file() and (found := told_otherwise(planned, folder)):
        raise LayerprobeError(other_run(path, found, "unfinished"))
    told = {**planned.values, **({_RANKING: str(planned.ranking)} if planned.ranking else {})}
    file = asked_file(folder, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_yaml(file, told)


def told_otherwise(planned: PlannedCell, folder: Path) -> str:
    """What a run was told otherwise than the grid file says, e.g. ``training.epochs 3, not 4``; empty: nothing.

    A run of which such values aren't kept, like one of `layerprobe distill`, is compared by its ``config.yaml``, which
    holds what came of them: the names of the layers, and not the rule that chose them.

    Raises:
        LayerprobeError: if what it was told can't be read.
    """
    path = planned.cell.path
    if asked_file(folder, path).is_file():
        told = read_values(asked_file(folder, path), "distill")
        ranking = told.pop(_RANKING, None)
        return first_of(differences(_settings(planned.values, planned.ranking), _settings(told, ranking), MAY_DIFFER))
    return first_of(run_told_otherwise(_plan(planned.values), _plan(read_values(folder / path / CONFIG, "distill"))))


def other_run(path: str, found: str, state: str) -> str:
    """A message for a person: a cell's run, finished or not, is of other settings."""
    return f"the {state} run there has {found}; name another --output for the grid, or remove {path}"


def _plan(values: Values) -> DistillConfig:
    return distill_config(values, Path(), overwrite=False, resume=True)


def _settings(values: Values, ranking: Path | str | None) -> dict[str, Any]:
    """Everything that a run is told, defaults too, and the ranking that its rule looks at."""
    plan = _plan(values)
    wish = read_wish(plan.layers) if plan.layers else None
    return {**to_values(plan), _RANKING: str(ranking) if ranking and wish and wish.rule.score else None}
