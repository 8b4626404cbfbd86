"""The grid file: pairs, data sets, methods, layer choices and seeds, and the cells that they make together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layerprobe.distill.methods.catalogue import METHODS
from layerprobe.errors import LayerprobeError, closest
from layerprobe.files import parse_yaml, read_text, short_name
from layerprobe.records import Cell
from layerprobe.settings.configuration import merge, settings_of
from layerprobe.settings.evaluate import EvaluateSettings
from layerprobe.settings.grid import CandidateSettings, GridSettings
from layerprobe.settings.legacy import with_new_keys
from layerprobe.settings.presets import recipe_of
from layerprobe.settings.run import DistillSettings

Values = Mapping[str, Any]

RUNS = "runs"
"""The folder of a grid's runs, below the grid's own."""

_OURS = ("choices", "preset", "ranking")
"""Keys of a patch that are no run's."""


@dataclass(frozen=True)
class PlannedCell:
    """A cell, and the settings of its run.

    Attributes:
        cell: which.
        settings: of its run, which goes on where it was stopped; ``output`` is below the grid's folder.
        ranking: the ranking file that a rule for ``layers`` reads; None: the layers are ranked when needed.
        evaluation: how the features of its run are evaluated; None: they are not.
    """

    cell: Cell
    settings: DistillSettings
    ranking: Path | None = None
    evaluation: EvaluateSettings | None = None

    def config(self, folder: Path) -> DistillSettings:
        """Its run in a grid's folder."""
        return self.settings.replaced(output=folder / self.cell.path)


@dataclass(frozen=True)
class Grid:
    """Everything that a grid file says.

    Attributes:
        title: what the grid is about.
        reference: label of the method that others are compared with; empty: none.
        cells: in the order of the file.
        validate: settings of ``layerprobe validate``; None: the grid is for ``layerprobe compare``.
        text: of the file.
        evaluation: how the features of every run are evaluated; None: they are not.
    """

    title: str
    reference: str
    cells: tuple[PlannedCell, ...]
    validate: CandidateSettings | None
    text: str
    evaluation: EvaluateSettings | None = None

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways in which the features of its runs are evaluated."""
        return self.evaluation.by or () if self.evaluation else ()

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def load_grid(path: Path, recorded: bool = False) -> Grid:
    """Read a grid file.

    Args:
        path: of the file.
        recorded: whether its runs are looked at, and not run: files of plug-ins need not be there any more.

    Raises:
        LayerprobeError: if it isn't there, isn't YAML, or says what can't be.
    """
    text = read_text(path, "grid file", "examples/paper/ has some")
    return parse_grid(text, str(path), recorded)


def parse_grid(text: str, name: str, recorded: bool = False) -> Grid:
    """Read the text of a grid file.

    Args:
        text: YAML.
        name: of the file, for messages.
        recorded: as ``load_grid`` has it.

    Raises:
        LayerprobeError: if it isn't YAML, or says what can't be.
    """
    given = _parsed(text, name)
    cells = tuple(_cells(given, name, recorded))
    paths = [planned.cell.path for planned in cells]
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise LayerprobeError(f"{name}: two cells would be {twice[0]}; give them labels that differ in more than signs")
    labels = {label for planned in cells for label in (planned.cell.method, planned.cell.label)}
    if given.reference and given.reference not in labels:
        raise LayerprobeError(
            f"{name}: the reference {given.reference!r} is no method of it; {closest(given.reference, sorted(labels))}"
        )
    return Grid(given.title or Path(name).stem, given.reference or "", cells, given.validation, text, given.evaluation)


def _parsed(text: str, name: str) -> GridSettings:
    values = parse_yaml(text, name, "a grid has pairs and methods at least")
    try:
        return GridSettings.parse(values)
    except LayerprobeError as error:
        raise LayerprobeError(f"{name}: {error}") from None


def _cells(given: GridSettings, name: str, recorded: bool) -> Iterator[PlannedCell]:
    datasets = given.datasets or {"": {}}
    of_pairs = {data: _of_pairs(of_data, given.pairs, f"{name}: datasets.{data}") for data, of_data in datasets.items()}
    for pair, of_pair in given.pairs.items():
        for data, of_data in datasets.items():
            of_both = of_pairs[data].get(pair, {})
            alone = {key: value for key, value in of_data.items() if key != "pairs"}
            shared = _merged(given.common, of_pair, alone, of_both)
            for method, of_method in given.methods.items():
                own = _merged({"method": method}, of_method)
                for choice, of_choice in _choices(own, given.choices, f"{name}: methods.{method}").items():
                    for seed in given.seeds:
                        labels = (pair, data, method, choice)
                        planned = _planned(labels, seed, _merged(shared, own, of_choice), name, recorded)
                        yield replace(planned, evaluation=given.evaluation)


def _of_pairs(data: Values, pairs: Iterable[str], where: str) -> Mapping[str, Values]:
    """What a data set says of one pair alone, by pair."""
    found = {
        str(pair): with_new_keys(_mapping(patch or {}, f"{where}.pairs.{pair}"))
        for pair, patch in _mapping(data.get("pairs") or {}, f"{where}.pairs").items()
    }
    for pair in found:
        if pair not in pairs:
            raise LayerprobeError(f"{where}.pairs names a pair {pair!r} that is none; {closest(pair, pairs)}")
    return found


def _planned(labels: tuple[str, str, str, str], seed: int, values: Values, name: str, recorded: bool) -> PlannedCell:
    """A cell, with its settings checked before any run begins."""
    path = "/".join([RUNS, *(slug(label) for label in labels if label), f"seed-{seed}"])
    cell, ranking = Cell(*labels, seed, path), values.get("ranking")
    if not isinstance(ranking, str | None):
        raise LayerprobeError(f"{name}: the ranking of {labels[0]} is a path, not {ranking!r}")
    own = {key: value for key, value in values.items() if key not in _OURS}
    try:
        told = _merged(_recipe(values), own, {"training": {"seed": seed}})
        settings = settings_of(DistillSettings, told, Path(path), recorded, resume=True)
    except LayerprobeError as error:
        raise LayerprobeError(f"{name}: {cell.label}: {error}") from None
    method = settings.chosen_method
    reached, setting = method.labels_reach_backbone(settings.alignment), method.shown_setting(settings.chosen_setting)
    cell = replace(cell, labels_reach_backbone=reached, setting=setting)
    return PlannedCell(cell, settings, Path(ranking) if ranking else None)


def _recipe(values: Values) -> Values:
    """The recipe that a cell's preset stands for; what the file says under ``training`` is laid over it.

    Raises:
        LayerprobeError: if there is no such preset.
    """
    preset = values.get("preset")
    return {} if preset is None else recipe_of(str(preset), values, DistillSettings.network_part)


def _choices(method: Values, choices: Mapping[str, Values], where: str) -> Mapping[str, Values]:
    """The choices of layers that a method is run with: those that it names, or all, or its own way alone."""
    named = method.get("choices")
    if named is not None:
        if not isinstance(named, list) or not named:
            raise LayerprobeError(f"{where}.choices is a list of choices, not {named!r}")
        if unknown := [label for label in named if not isinstance(label, str) or label not in choices]:
            raise LayerprobeError(f"{where} names a choice {unknown[0]!r}; {closest(str(unknown[0]), choices)}")
        return {label: choices[label] for label in named}
    name = method["method"]  # whatever the file says; it is checked with the other settings
    chosen = isinstance(name, str) and name in METHODS and METHODS[name].layers_required and "layers" not in method
    return choices if chosen and choices else {"": {}}


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise LayerprobeError(f"{where} has keys below it, not {value!r}")
    return dict(value)


def _merged(*patches: Values) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for patch in patches:
        merged = merge(merged, patch)
    return merged


def slug(label: str) -> str:
    """A label as the name of a folder, shortened where it is too long for one.

    Examples:
        >>> slug("ResNet-56 to ResNet-20"), slug("quality:4")
        ('resnet-56-to-resnet-20', 'quality-4')
    """
    return short_name(re.sub(r"[^a-z0-9._]+", "-", label.lower()).strip("-.") or "-")
