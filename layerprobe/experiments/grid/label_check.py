"""Whether rules of a grid, or its validation, look at what its images don't have: seen before any cell is run."""

from __future__ import annotations

import functools
import logging

from layerprobe.data.datasets import has_no_labels
from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.grid_file import Grid, PlannedCell
from layerprobe.experiments.resolve_rules import check_one_view, scored_rule
from layerprobe.geometry.catalogue import SCORES, needs_classes
from layerprobe.settings.data import DataSettings

_log = logging.getLogger(__name__)


def check_labels(grid: Grid, name: str) -> None:
    """Refuse a grid with a rule that looks at classes, or at two views of the images, where there are none.

    Images that this machine can't open are not looked at: the cell fails where it runs. So does a cell whose method
    needs labels, since the others of its grid don't need them.

    Args:
        grid: the grid.
        name: of its file, for messages.

    Raises:
        LayerprobeError: if so.
    """
    known = functools.cache(_lacks_labels)
    for planned in grid.cells:
        if not planned.ranking:
            check_one_view(planned.settings)
        if (what := _what_needs_classes(planned, bool(grid.validate))) and known(planned.settings.data):
            raise LayerprobeError(
                f"{name}: {planned.cell.label}: {what} needs classes, and the images of {planned.settings.data.name} "
                "have no labels; choose layers by a rule such as even:4 or even-effective-rank:4"
            )


def _what_needs_classes(planned: PlannedCell, validates: bool) -> str:
    """What of a cell needs classes; empty: nothing."""
    plan = planned.settings
    if validates:
        return "validation"
    score = "" if planned.ranking else scored_rule(plan)
    return f"the rule {plan.layers}" if score and needs_classes(SCORES.find(score)) else ""


def _lacks_labels(data: DataSettings) -> bool:
    try:
        return has_no_labels(data)
    except LayerprobeError as error:
        _log.debug("%s can't be looked at: %s", data.name, error)
        return False
