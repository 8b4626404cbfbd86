"""What a cell's run was told when it began, and whether the grid file still says that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerprobe.distill.folder import CONFIG
from layerprobe.distill.resume_check import MAY_DIFFER
from layerprobe.distill.resume_check import differing_settings as differing_run_settings
from layerprobe.errors import LayerprobeError, first_of
from layerprobe.experiments.grid.grid_file import PlannedCell, Values
from layerprobe.files import read_yaml, write_yaml
from layerprobe.ranking.catalogue import RULES
from layerprobe.settings.configuration import current_values, differences, read_run_config, settings_of
from layerprobe.settings.run import DistillSettings

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
    told = planned.settings.configuration() | ({_RANKING: str(planned.ranking)} if planned.ranking else {})
    file = asked_file(folder, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_yaml(file, told)


def told_otherwise(planned: PlannedCell, folder: Path) -> str:
    """What the run of a cell that lies in a grid's folder was told otherwise than the grid file says.

    Raises:
        LayerprobeError: if what it was told can't be read.
    """
    path = planned.cell.path
    told = told_values(folder, path)
    config = {} if told else read_run_config(folder / path / CONFIG)
    return differing_settings(planned, told, config, folder)


def told_values(folder: Path, path: str) -> Values | None:
    """What the run of a cell was told when it began, as it was written; None where that was not kept.

    Raises:
        LayerprobeError: if it can't be read.
    """
    file = asked_file(folder, path)
    return read_yaml(file, "settings of a cell", f"remove it and {path}") if file.is_file() else None


def differing_settings(planned: PlannedCell, told: Mapping[str, Any] | None, config: Values, folder: Path) -> str:
    """What a run was told otherwise than the grid file says, e.g. ``training.epochs 3, not 4``; empty: nothing.

    Args:
        planned: the cell.
        told: what the run was told when it began, as it was written; None where that was not kept, as of a run of
            `layerprobe distill`.
        config: of the run, which is compared then; it holds the names of the layers, and not the rule that chose them.
        folder: of the grid, for messages.

    Raises:
        LayerprobeError: if the values are no configuration.
    """
    if told is None:
        return first_of(differing_run_settings(planned.settings, _recorded(config)))
    values = current_values(told, DistillSettings.command, asked_file(folder, planned.cell.path), also=(_RANKING,))
    ranking = values.pop(_RANKING, None)
    ours, theirs = _settings(planned.settings, planned.ranking), _settings(_recorded(values), ranking)
    return first_of(differences(ours, theirs, MAY_DIFFER))


def other_run(path: str, found: str, state: str) -> str:
    """A message for a person: a cell's run, finished or not, is of other settings."""
    return f"the {state} run there has {found}; name another --output for the grid, or remove {path}"


def _recorded(values: Values) -> DistillSettings:
    return settings_of(DistillSettings, values, Path(), recorded=True)


def _settings(plan: DistillSettings, ranking: Path | str | None) -> dict[str, Any]:
    """Everything that a run is told, defaults too, and the ranking that its rule looks at."""
    rule = plan.layers.rule if plan.layers else None
    used = rule and (rule.name not in RULES or RULES[rule.name].score)  # a user's own may look at it
    return {**plan.configuration(), _RANKING: str(ranking) if ranking and used else None}
