"""Which sets of teacher layers to distil from: every layer alone, and sets drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import yaml

from layerprobe.errors import LayerprobeError, closest
from layerprobe.experiments.grids.grid_file import Grid, parse_grid
from layerprobe.models.selection import body_layers, find_layers
from layerprobe.resolve import find_model_layers
from layerprobe.types import Layer

METHOD = "feature-only"


@dataclass(frozen=True)
class Plan:
    """What a grid file's ``validate`` says.

    Attributes:
        layers: patterns of the layers that are distilled from alone, as ``--layers`` takes them.
        sets: how many sets of layers are drawn at random.
        size: layers in a set.
        seed: of the draw.
        samples: images that scores are measured on; None: 5,000, or as many as there are.
    """

    layers: str = "all"
    sets: int = 0
    size: int = 4
    seed: int = 0
    samples: int | None = None


def read_plan(values: Mapping[str, Any], name: str) -> Plan:
    """Read ``validate`` of a grid file.

    Raises:
        LayerprobeError: if it has an unknown key, or a value of another kind.
    """
    known = {"layers": str, "sets": int, "size": int, "seed": int, "samples": int}
    for key, value in values.items():
        if key not in known:
            raise LayerprobeError(f"{name}: no key 'validate.{key}'; {closest(str(key), known)}")
        if key != "layers" and (type(value) is not int or value < (1 if key in ("size", "samples") else 0)):
            raise LayerprobeError(f"{name}: validate.{key} is a whole number, not {value!r}")
    layers = values.get("layers", "all")
    text = ",".join(map(str, layers)) if isinstance(layers, list) else str(layers)
    return Plan(**{**values, "layers": text})


def spread_out(grid: Grid, name: str) -> Grid:
    """The grid of a validation: one choice of layers for every candidate, in place of the file's.

    Args:
        grid: of the user's file.
        name: of the file, for messages.

    Raises:
        LayerprobeError: if its pairs have several teachers, it names choices of layers itself, or a pattern selects no
            layer.
    """
    values = yaml.safe_load(grid.text)
    plan = read_plan(grid.validate, name)
    if values.get("choices"):
        raise LayerprobeError(f"{name}: validate makes the choices of layers itself; remove the key 'choices'")
    layers = teacher_layers(grid, name)
    values["choices"] = {
        "+".join(chosen): {"teacher_layers": list(chosen)} for chosen in _candidates(layers, plan, name)
    }
    values["validate"] = {**grid.validate}
    spread = parse_grid(yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000), name)
    if free := [planned.cell.method for planned in spread.cells if not planned.cell.choice]:
        raise LayerprobeError(f"{name}: validate takes methods whose layers are chosen, like {METHOD}; not {free[0]}")
    return spread


def teacher_layers(grid: Grid, name: str) -> tuple[Layer, ...]:
    """The layers of a grid's one teacher.

    Raises:
        LayerprobeError: if it has several.
    """
    teachers = sorted({str(planned.values["teacher"]["name"]) for planned in grid.cells})
    if len(teachers) > 1:
        raise LayerprobeError(f"{name}: validate takes one teacher, not {', '.join(teachers)}; make a file for each")
    data = grid.cells[0].values["data"]
    return find_model_layers(teachers[0], image_size=data.get("image_size")).layers


def _candidates(layers: Sequence[Layer], plan: Plan, name: str) -> list[tuple[str, ...]]:
    patterns = [part.strip() for part in plan.layers.split(",") if part.strip()]
    alone = [(layer.name,) for layer in find_layers(layers, patterns, name)]
    return [*alone, *_drawn(body_layers(layers), plan, name)]


def _drawn(body: Sequence[Layer], plan: Plan, name: str) -> list[tuple[str, ...]]:
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
