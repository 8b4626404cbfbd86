"""The settings that the run of a cell was begun with, and whether they are still those of the grid file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerprobe.distill.folder import CONFIG
from layerprobe.distill.methods.catalogue import FINE_TUNED, PUBLICATION
from layerprobe.distill.resume_check import MAY_DIFFER
from layerprobe.distill.resume_check import differing_settings as differing_run_settings
from layerprobe.errors import LayerprobeError, first_of
from layerprobe.experiments.grid.grid_file import PlannedCell, Values
from layerprobe.files import read_yaml, write_yaml
from layerprobe.ranking.catalogue import RULES
from layerprobe.settings.configuration import current_values, differences, read_run_config, settings_of
from layerprobe.settings.run import DistillSettings

_RANKING = "ranking"


def settings_file(folder: Path, path: str) -> Path:
    """Where the settings of a cell are kept: beside its run folder, so that they are copied with it."""
    return folder / f"{path}.yaml"


def write_cell_settings(planned: PlannedCell, folder: Path) -> None:
    """Write the settings of a cell before its run; those of a run that has begun must be the same.

    Only the worker that holds the claim of the cell may do so.

    Raises:
        LayerprobeError: if the run was begun with other settings.
    """
    path = planned.cell.path
    if (folder / path / CONFIG).is_file() and (found := find_differences(planned, folder)):
        raise LayerprobeError(other_run(path, found, "unfinished"))
    values = planned.settings.configuration() | ({_RANKING: str(planned.ranking)} if planned.ranking else {})
    file = settings_file(folder, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_yaml(file, values)


def find_differences(planned: PlannedCell, folder: Path) -> str:
    """How the settings of a cell's run in a grid's folder differ from those of the grid file.

    Raises:
        LayerprobeError: if the settings of the run can't be read.
    """
    path = planned.cell.path
    begun = read_cell_settings(folder, path)
    config = {} if begun else read_run_config(folder / path / CONFIG)
    return differing_settings(planned, begun, config, folder)


def read_cell_settings(folder: Path, path: str) -> Values | None:
    """The settings that the run of a cell was begun with, as they were written; None: they were not kept.

    Raises:
        LayerprobeError: if they can't be read.
    """
    file = settings_file(folder, path)
    return read_yaml(file, "settings of a cell", f"remove it and {path}") if file.is_file() else None


def differing_settings(planned: PlannedCell, begun: Mapping[str, Any] | None, config: Values, folder: Path) -> str:
    """How the settings of a run differ from those of the grid file, e.g. ``training.epochs 3, not 4``; empty: not.

    Args:
        planned: the cell.
        begun: the settings that the run was begun with, as they were written; None: they were not kept, as of a run
            of `layerprobe distill`.
        config: of the run, which is compared then; it has the names of the layers, and not the rule that chose them.
        folder: of the grid, for messages.

    Raises:
        LayerprobeError: if the values are no configuration.
    """
    if begun is None:
        return first_of(differing_run_settings(planned.settings, _recorded(config)))
    values = current_values(begun, DistillSettings.command, settings_file(folder, planned.cell.path), also=(_RANKING,))
    ranking = values.pop(_RANKING, None)
    ours, theirs = _settings(planned.settings, planned.ranking), _settings(_recorded(values), ranking)
    return first_of(differences(ours, theirs, MAY_DIFFER))


def as_it_was_run(planned: PlannedCell, config: Values) -> PlannedCell:
    """A cell with the setting of its finished run, where version 0.1.0 made it and the grid file names no setting.

    Such a run counts as the cell's, and tables name its setting.
    """
    former = config.get("setting") == FINE_TUNED and planned.settings.setting == PUBLICATION
    return replace(planned, settings=planned.settings.replaced(setting=FINE_TUNED)) if former else planned


def other_run(path: str, found: str, state: str) -> str:
    """The message that the run of a cell, finished or not, has other settings."""
    return f"the {state} run there has {found}; name another --output for the grid, or remove {path}"


def _recorded(values: Values) -> DistillSettings:
    return settings_of(DistillSettings, values, Path(), recorded=True)


def _settings(plan: DistillSettings, ranking: Path | str | None) -> dict[str, Any]:
    """All settings of a run, defaults included, and the ranking that its rule uses."""
    rule = plan.layers.rule if plan.layers else None
    used = rule and (rule.name not in RULES or RULES[rule.name].score)  # a user's own may look at it
    return {**plan.configuration(), _RANKING: str(ranking) if ranking and used else None}
