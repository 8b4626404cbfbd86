"""The settings that the run of a cell was begun with, and whether they are still those of the grid file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerprobe.distill.folder import CONFIG
from layerprobe.distill.resume_check import MAY_DIFFER
from layerprobe.distill.resume_check import differing_settings as differing_run_settings
from layerprobe.errors import LayerprobeError, first_of
from layerprobe.experiments.grid.grid_file import PlannedCell, Values
from layerprobe.experiments.grid.study import read_study
from layerprobe.files import read_yaml, write_yaml
from layerprobe.ranking.catalogue import RULES
from layerprobe.records.run_files import CONSTANTS
from layerprobe.settings.configuration import current_values, differences, read_run_config, settings_of
from layerprobe.settings.legacy import FORMER_SETTINGS
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
    values = planned.settings.configuration() | {CONSTANTS: dict(planned.settings.chosen_method.constants)}
    values |= {_RANKING: str(planned.ranking)} if planned.ranking else {}
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
    file = settings_file(folder, planned.cell.path)
    values = current_values(begun, DistillSettings.command, file, also=(_RANKING,), begun=True)
    ranking = values.pop(_RANKING, None)
    ours, theirs = _settings(planned.settings, planned.ranking), _settings(_recorded(values), ranking)
    return first_of(differences(ours, theirs, MAY_DIFFER))


def as_it_was_begun(planned: PlannedCell, config: Values | None) -> PlannedCell:
    """A cell with the setting of its run, where an earlier version began it and the grid file names no setting.

    Such a run counts as the cell's, or goes on as it was, and tables name its setting.

    Args:
        planned: the cell.
        config: of its run; None: it has not begun.
    """
    if planned.settings.setting or config is None or CONSTANTS in config:
        return planned
    former = FORMER_SETTINGS.get(planned.settings.method, {}).values()
    if config.get("setting") not in former:
        return planned
    return replace(planned, settings=planned.settings.replaced(setting=config["setting"]))


def begun_config(planned: PlannedCell, folder: Path) -> Values | None:
    """The configuration of a cell's run, finished or not; None: it has not begun.

    Raises:
        LayerprobeError: if it can't be read.
    """
    path = planned.cell.path
    if (folder / path / CONFIG).is_file():
        return read_run_config(folder / path / CONFIG)
    kept = read_study(folder).finished.get(path)
    return kept.run.config if kept else None


def check_settings(cells: Iterable[PlannedCell], folder: Path) -> None:
    """Refuse to add runs to those of a method that an earlier version made in another setting.

    Where the grid file names the setting, such runs are told from the grid's own by that.

    Raises:
        LayerprobeError: if there are any.
    """
    begun: dict[str, str] = {}
    left: dict[str, str] = {}
    for planned in cells:
        with suppress(LayerprobeError):  # the cell says so when it is run or read
            config = begun_config(planned, folder)
            setting = as_it_was_begun(planned, config).settings.chosen_setting
            (left if config is None else begun)[planned.cell.method] = setting
    for method in begun.keys() & left.keys():
        if begun[method] != left[method]:
            raise LayerprobeError(
                f"{folder} has runs of {method} in the setting {begun[method]}, which an earlier version made, and "
                f"those that are left would be in {left[method]}; name the setting in the grid file, "
                f"`{method}: {{setting: {begun[method]}}}`, or another --output"
            )


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
