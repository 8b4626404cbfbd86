"""The grid file: pairs, data sets, methods, layer choices and seeds, and the cells that they make together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from layerprobe.distill.config import DistillConfig
from layerprobe.distill.config_file import distill_config, merge
from layerprobe.distill.mappings import is_table
from layerprobe.distill.methods.catalogue import METHODS
from layerprobe.errors import LayerprobeError, closest
from layerprobe.experiments.resolve_rules import check_rules
from layerprobe.records import Cell

Values = Mapping[str, Any]

RUNS = "runs"
"""The folder of a grid's runs, below the grid's own."""

_KEYS = ("title", "reference", "common", "pairs", "datasets", "methods", "choices", "seeds", "validate")
_OURS = ("choices", "ranking")
"""Keys of a patch that are no run's."""


@dataclass(frozen=True)
class PlannedCell:
    """A cell, and what its run is told.

    Attributes:
        cell: which.
        values: of the run's configuration, as its ``config.yaml`` holds them.
        ranking: the ranking file that a rule of ``teacher_layers`` reads; None: the layers are ranked when needed.
    """

    cell: Cell
    values: Values
    ranking: Path | None = None

    def config(self, folder: Path) -> DistillConfig:
        """Its run in a grid's folder, which goes on where it was stopped.

        Raises:
            LayerprobeError: if a key is unknown or missing, or a value is of another type.
        """
        return distill_config(self.values, folder / self.cell.path, overwrite=False, resume=True)


@dataclass(frozen=True)
class Grid:
    """Everything that a grid file says.

    Attributes:
        title: what the grid is about.
        reference: label of the method that others are compared with; empty: none.
        cells: in the order of the file.
        validate: what ``layerprobe validate`` is told; empty for any other grid.
        text: of the file.
    """

    title: str
    reference: str
    cells: tuple[PlannedCell, ...]
    validate: Values
    text: str

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def load_grid(path: Path) -> Grid:
    """Read a grid file.

    Raises:
        LayerprobeError: if it isn't there, isn't YAML, or says what can't be.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise LayerprobeError(f"no grid file at {path}; examples/paper/ has some") from None
    except UnicodeDecodeError as error:
        raise LayerprobeError(f"{path} is not a text file ({error}); a grid file is YAML") from None
    return parse_grid(text, str(path))


def parse_grid(text: str, name: str) -> Grid:
    """Read the text of a grid file.

    Args:
        text: YAML.
        name: of the file, for messages.

    Raises:
        LayerprobeError: if it isn't YAML, or says what can't be.
    """
    values = _yaml(text, name)
    for key in values:
        if key not in _KEYS:
            raise LayerprobeError(f"{name}: no key {key!r} in a grid file; {closest(str(key), _KEYS)}")
    if missing := [key for key in ("pairs", "methods") if not values.get(key)]:
        raise LayerprobeError(f"{name} names no {missing[0]}; a grid has pairs and methods at least")
    validate = _mapping(values.get("validate") or {}, f"{name}: validate")
    cells = tuple(_cells(values, name))
    paths = [planned.cell.path for planned in cells]
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise LayerprobeError(f"{name}: two cells would be {twice[0]}; give them labels that differ in more than signs")
    cells = tuple(_checked(planned, name) for planned in cells)
    reference = str(values.get("reference") or "")
    labels = {label for planned in cells for label in (planned.cell.method, planned.cell.label)}
    if reference and reference not in labels:
        raise LayerprobeError(
            f"{name}: the reference {reference!r} is no method of it; {closest(reference, sorted(labels))}"
        )
    return Grid(str(values.get("title") or Path(name).stem), reference, cells, validate, text)


def _yaml(text: str, name: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LayerprobeError(f"{name} is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise LayerprobeError(f"{name} holds no keys; a grid has pairs and methods at least")
    return values


def _cells(values: Values, name: str) -> Iterator[PlannedCell]:
    common = _mapping(values.get("common") or {}, f"{name}: common")
    choices = _axis(values.get("choices") or {}, "choices", name, shorthand=_layers)
    seeds = _seeds(values.get("seeds", 1), name)
    pairs = _axis(values["pairs"], "pairs", name)
    datasets = _axis(values.get("datasets") or {}, "datasets", name) or {"": {}}
    of_pairs = {data: _of_pairs(of_data, pairs, f"{name}: datasets.{data}") for data, of_data in datasets.items()}
    for pair, of_pair in pairs.items():
        for data, of_data in datasets.items():
            of_both = of_pairs[data].get(pair, {})
            shared = _merged(common, of_pair, {key: value for key, value in of_data.items() if key != "pairs"}, of_both)
            for method, of_method in _axis(values["methods"], "methods", name, shorthand=lambda label: {}).items():
                own = _merged({"method": method}, of_method)
                for choice, of_choice in _choices(own, choices, f"{name}: methods.{method}").items():
                    for seed in seeds:
                        yield _planned((pair, data, method, choice), seed, (shared, own, of_choice))


def _of_pairs(data: Values, pairs: Iterable[str], where: str) -> Mapping[str, Values]:
    """What a data set says of one pair alone, by pair."""
    found = {
        str(pair): _mapping(patch or {}, f"{where}.pairs.{pair}")
        for pair, patch in _mapping(data.get("pairs") or {}, f"{where}.pairs").items()
    }
    for pair in found:
        if pair not in pairs:
            raise LayerprobeError(f"{where}.pairs names a pair {pair!r} that is none; {closest(pair, pairs)}")
    return found


def _planned(labels: tuple[str, str, str, str], seed: int, patches: Iterable[Values]) -> PlannedCell:
    values = _merged(*patches, {"training": {"seed": seed}})
    ranking = values.get("ranking")
    if not isinstance(ranking, str | None):
        raise LayerprobeError(f"the ranking of {labels[0]} is a path, not {ranking!r}")
    path = "/".join([RUNS, *(slug(label) for label in labels if label), f"seed-{seed}"])
    told = {key: value for key, value in values.items() if key not in _OURS}
    return PlannedCell(Cell(*labels, seed, path), told, Path(ranking) if ranking else None)


def _choices(method: Values, choices: Mapping[str, Values], where: str) -> Mapping[str, Values]:
    """The choices of layers that a method is run with: those that it names, or all, or its own way alone."""
    named = method.get("choices")
    if named is not None:
        if not isinstance(named, list) or not named:
            raise LayerprobeError(f"{where}.choices is a list of choices, not {named!r}")
        if unknown := [label for label in named if label not in choices]:
            raise LayerprobeError(f"{where} names a choice {unknown[0]!r}; {closest(str(unknown[0]), choices)}")
        return {label: choices[label] for label in named}
    chosen = (
        method["method"] in METHODS and METHODS[method["method"]].layers_required and "teacher_layers" not in method
    )
    return choices if chosen and choices else {"": {}}


def _layers(label: str) -> Values:
    return {"teacher_layers": label}


def _axis(values: Any, key: str, name: str, shorthand: Any = None) -> dict[str, Values]:
    """Labels and what each stands for; a list of labels where they say it themselves."""
    if isinstance(values, list) and shorthand:
        return {str(label): shorthand(str(label)) for label in values}
    found = _mapping(values, f"{name}: {key}")
    return {
        str(label): _mapping(patch if patch is not None else {}, f"{name}: {key}.{label}")
        for label, patch in found.items()
    }


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise LayerprobeError(f"{where} has keys below it, not {value!r}")
    return dict(value)


def _merged(*patches: Values) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for patch in patches:
        merged = merge(merged, patch)
    return merged


def _seeds(value: Any, name: str) -> list[int]:
    seeds = list(range(value)) if type(value) is int else value
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
        raise LayerprobeError(f"{name}: seeds is a number of seeds or a list of whole numbers, not {value!r}")
    return seeds


def _checked(planned: PlannedCell, name: str) -> PlannedCell:
    """A cell that says whether labels reach the backbone; what no run could be told is refused before any is begun."""
    try:
        plan = planned.config(Path())
        reached = METHODS.find(plan.method).labels_reach_backbone(plan.alignment)
        check_rules(plan)
    except LayerprobeError as error:
        raise LayerprobeError(f"{name}: {planned.cell.label}: {error}") from None
    return replace(planned, cell=replace(planned.cell, labels_reach_backbone=reached))


def lacks_layers(planned: PlannedCell) -> bool:
    """Whether a cell's method needs layers of the teacher, and nothing says which."""
    plan = planned.config(Path())
    return METHODS[plan.method].layers_required and plan.layers is None and not is_table(plan.alignment.mapping)


def slug(label: str) -> str:
    """A label as the name of a folder.

    Example:
        >>> slug("ResNet-56 to ResNet-20"), slug("quality:4")
        ('resnet-56-to-resnet-20', 'quality-4')
    """
    return re.sub(r"[^a-z0-9._]+", "-", label.lower()).strip("-.") or "-"
