"""Which sets of teacher layers to distil from: every layer alone, and sets drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import yaml

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.grid_file import Grid, PlannedCell, parse_grid
from layerprobe.layers.selection import find_layers
from layerprobe.networks import find_model_layers
from layerprobe.records import Layer, body_layers
from layerprobe.settings.data import DataSettings
from layerprobe.settings.grid import CandidateSettings
from layerprobe.settings.model import ModelSettings

METHOD = "feature-only"


def spread_out(grid: Grid, name: str) -> Grid:
    """The grid of a validation: one choice of layers for every candidate, in place of the file's.

    Args:
        grid: of the user's file.
        name: of the file, for messages.

    Raises:
        LayerprobeError: if it has several teachers or data sets, or several students in a pair, names choices of layers
            itself, or a pattern selects no layer.
    """
    values, plan = yaml.safe_load(grid.text), grid.validate or CandidateSettings()
    if values.get("choices"):
        raise LayerprobeError(f"{name}: validate makes the choices of layers itself; remove the key 'choices'")
    if grid.evaluation:
        raise LayerprobeError(f"{name}: validate compares students by their classifiers; remove the key 'evaluation'")
    _check_subject(grid, name)
    layers = teacher_layers(grid)
    values["choices"] = {"+".join(chosen): {"layers": list(chosen)} for chosen in _candidates(layers, plan, name)}
    spread = parse_grid(yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000), name)
    if free := [planned.cell.method for planned in spread.cells if not planned.cell.choice]:
        raise LayerprobeError(f"{name}: validate takes methods whose layers are chosen, like {METHOD}; not {free[0]}")
    return spread


def teacher_layers(grid: Grid) -> tuple[Layer, ...]:
    """The layers of a validation's one teacher."""
    first = grid.cells[0].settings
    return find_model_layers(first.teacher.name, image_size=first.data.image_size)


def layers_of(planned: PlannedCell) -> tuple[str, ...]:
    """Names of the teacher's layers that a cell's student is distilled from."""
    return planned.settings.layers.names if planned.settings.layers else ()


def _check_subject(grid: Grid, name: str) -> None:
    """Refuse what the scores of one teacher on one data set, and a student per pair, don't say anything about."""
    plans = [(planned.cell.pair, planned.settings) for planned in grid.cells]
    _check_one("teacher", [_said(plan.teacher) for _, plan in plans], name)
    _check_one("data set", [_said(plan.data) for _, plan in plans], name)
    for pair in dict.fromkeys(pair for pair, _ in plans):
        students = [
            f"{_said(plan.student)}{f' at {plan.student_layers}' if plan.student_layers else ''}"
            for label, plan in plans
            if label == pair
        ]
        _check_one(f"student in {pair}", students, name)


def _check_one(what: str, said: Sequence[str], name: str) -> None:
    several = list(dict.fromkeys(said))
    if len(several) > 1:
        raise LayerprobeError(f"{name}: validate takes one {what}, not {', '.join(several)}; make a file for each")


def _said(spec: ModelSettings | DataSettings) -> str:
    """A network or a data set in words, with all that sets it apart.

    Examples:
        >>> _said(ModelSettings(name="cifar:resnet20", weights="a.th"))
        'cifar:resnet20 (weights a.th)'
    """
    details = [f"{key} {value}" for key, value in spec.plain().items() if value and key not in ("name", "download")]
    return f"{spec.name} ({', '.join(details)})" if details else spec.name


def _candidates(layers: Sequence[Layer], plan: CandidateSettings, name: str) -> list[tuple[str, ...]]:
    alone = [(layer.name,) for layer in find_layers(layers, plan.layers.names, name)]
    return [*alone, *_drawn(body_layers(layers), plan, name)]


def _drawn(body: Sequence[Layer], plan: CandidateSettings, name: str) -> list[tuple[str, ...]]:
    """Sets of blocks, no two alike."""
    if plan.sets and len(body) < plan.size:
        raise LayerprobeError(f"{name}: the teacher has {len(body)} blocks, fewer than validate.size {plan.size}")
    generator = torch.Generator().manual_seed(plan.seed)
    found: dict[tuple[str, ...], None] = {}
    for _ in range(100 * plan.sets):
        if len(found) == plan.sets:
            break
        places = sorted(torch.randperm(len(body), generator=generator)[: plan.size].tolist())
        found[tuple(body[place].name for place in places)] = None
    return list(found)
