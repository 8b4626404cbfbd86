"""The figures of ranked networks, drawn into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from layerprobe.records import Ranking
from layerprobe.report.figures.relative_depth import relative_depth_figure
from layerprobe.report.figures.style import WIDTHS, check_figure, paper_style, save_figure
from layerprobe.settings.rank import RankSettings

DEPTHS = "relative-depth"
"""The figure of several networks."""


def check_drawings(settings: RankSettings) -> None:
    """Refuse to draw over figures that exist, before any work is done.

    Raises:
        LayerprobeError: if so, or the style sheet is none.
    """
    with paper_style(settings.style):
        names = [f"{path.stem}.{figure.name}" for path in settings.features for figure in settings.drawn]
        for name in [*names, *([DEPTHS] if settings.features[1:] else [])]:
            if settings.output is not None:
                check_figure(settings.output, name, settings.overwrite)


def draw_rankings(settings: RankSettings, rankings: Sequence[Ranking]) -> list[Path]:
    """Draw the figures of every network, and one of several networks together.

    Args:
        settings: which figures, and where; without a folder there are none.
        rankings: of the networks, with what the figures show.

    Returns:
        The files.

    Raises:
        LayerprobeError: if one of them exists and may not be overwritten.
    """
    if settings.output is None:
        return []
    width = WIDTHS[settings.width]
    drawings = {
        f"{path.stem}.{figure.name}": partial(figure.load(), ranking, width)
        for path, ranking in zip(settings.features, rankings, strict=True)
        for figure in settings.drawn
    }
    if len(rankings) > 1:
        drawings[DEPTHS] = partial(relative_depth_figure, rankings, width)
    files: list[Path] = []
    for name, draw in drawings.items():
        files += save_figure(draw, settings.output, name, settings.overwrite, settings.style)
    return files
