"""The figures of ranked networks, drawn into a folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from layerprobe.records import Ranking
from layerprobe.report.figures.catalogue import Figure
from layerprobe.report.figures.relative_depth import relative_depth_figure
from layerprobe.report.figures.style import WIDTHS, check_figure, paper_style, save_figure
from layerprobe.settings.rank import RankSettings

_log = logging.getLogger(__name__)

DEPTHS = "relative-depth"
"""The figure of several networks."""


def check_drawings(settings: RankSettings, shows: Sequence[str]) -> None:
    """Refuse to draw over other figures, before any work is done.

    Args:
        settings: which figures, and where.
        shows: of every network, which choice of which layers the figures show.

    Raises:
        LayerprobeError: if so, or the style sheet is none.
    """
    with paper_style(settings.style):
        if settings.output is None:
            return
        for path, shown in zip(settings.features, shows, strict=True):
            for figure in settings.drawn:
                check_figure(settings.output, f"{path.stem}.{figure.name}", settings.overwrite, shown)
        if len(shows) > 1:
            check_figure(settings.output, DEPTHS, settings.overwrite, "\n".join(shows))


def draw_rankings(settings: RankSettings, rankings: Sequence[Ranking], shows: Sequence[str]) -> list[Path]:
    """Draw the figures of every network, and one of several networks together.

    Args:
        settings: which figures, and where; without a folder there are none.
        rankings: of the networks, with what the figures show.
        shows: as ``check_drawings`` has it.

    Returns:
        The files.

    Raises:
        LayerprobeError: if one of them exists and may not be overwritten.
    """
    if settings.output is None:
        return []
    width = WIDTHS[settings.width]
    drawings = [
        (f"{path.stem}.{figure.name}", partial(figure.load(), ranking, width), shown)
        for path, ranking, shown in zip(settings.features, rankings, shows, strict=True)
        for figure in _drawable(settings, path, ranking)
    ]
    if len(rankings) > 1:
        drawings.append((DEPTHS, partial(relative_depth_figure, rankings, width), "\n".join(shows)))
    files: list[Path] = []
    for name, draw, shown in drawings:
        files += save_figure(draw, settings.output, name, settings.overwrite, settings.style, shown, settings.caption)
    return files


def _drawable(settings: RankSettings, path: Path, ranking: Ranking) -> Iterator[Figure]:
    """The figures of a network that its images allow; the others are named."""
    for figure in settings.drawn:
        if figure.can_show(ranking):
            yield figure
        else:
            _log.warning("%s.%s is not drawn: the images have no labels, and it shows classes", path.stem, figure.name)
