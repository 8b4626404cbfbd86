"""Whether a score tells which layers distil well: the score against what the students reached."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.lines import Line2D

from layerprobe.records import Candidate, Correlation, Validation
from layerprobe.report.figures.labels import as_written, fitted
from layerprobe.report.figures.looks import MAP
from layerprobe.report.figures.panels import add_legend, panels
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing, is_narrow
from layerprobe.report.grid.spread import spread
from layerprobe.report.tables.columns import set_minus
from layerprobe.report.tables.table import Column, data_table
from layerprobe.report.tables.validation import score_names, words

_SMALL = 6.0
"""Points: the correlations above a panel."""
RHO = "\N{GREEK SMALL LETTER RHO}"
SHAPES = {"o": "●", "^": "▲", "s": "■", "D": "◆", "v": "▼"}
"""Markers of the groups of candidates, and the same as letters."""


def validation_figure(validation: Validation, width: float = PAGE_WIDTH) -> Drawing:
    """A panel per pair and score, a point per candidate: its score, and the mean top-1 of its students.

    Colours tell how deep the layers lie, markers how many there are; grey bars are the sample standard deviation over
    seeds. Above stands Spearman's correlation of every group with its interval: 1 where the better value of the score,
    of some the lower one, goes with the better student. Candidates without a finished student are left out.
    """
    pairs = list(dict.fromkeys(one.pair for one in validation.candidates))
    shown = [(pair, score) for pair in pairs for score in score_names(validation)]
    groups = dict.fromkeys(one.group for one in validation.candidates)
    shapes = {group: list(SHAPES)[number % len(SHAPES)] for number, group in enumerate(groups)}
    lines = max(1, len(groups))
    page = panels(len(shown), width, 1.6 + 0.12 * lines, across=4, narrow_across=2)
    for axis, (pair, score) in zip(page.axes, shown, strict=True):
        candidates = [one for one in validation.candidates if one.pair == pair]
        _points(axis, candidates, score, shapes)
        told = [one for one in validation.correlations if (one.pair, one.score) == (pair, score)]
        pair_lines = fitted(pair, page.width, _SMALL) if len(pairs) > 1 else ""
        _titles(axis, pair_lines, told, shapes)
        better = " (low is better)" if score in validation.low_is_better else ""
        axis.set_xlabel(fitted(words(score) + better, page.width, "axes.labelsize", lines=2))
    for axis in page.left:
        axis.set_ylabel("students' top-1 (%)")
    entries: dict[str, Artist] = {
        group: Line2D([], [], color="0.35", marker=marker, markersize=4, linestyle="none")
        for group, marker in shapes.items()
    }
    add_legend(page.figure, entries)
    bar = page.figure.colorbar(
        ScalarMappable(cmap=MAP), ax=page.axes, location="bottom", aspect=40, fraction=0.05, pad=0.02,
        shrink=0.9 if is_narrow(width) else 0.5,
    )  # fmt: skip
    bar.set_label("relative depth: 0 is the first layer, 1 the last")
    columns = ("pair", "group", "layers", "depth", "score", "value", "top1", "top1_std", "top1_n")
    caption = (
        f"{', '.join(pairs)}: what students reached against each score of the layers that they learnt from; above each "
        "panel Spearman's rank correlation with its interval. Bars: one sample standard deviation over seeds."
    )
    return Drawing(page.figure, data_table(validation.title, columns, _data(validation)), caption)


def _points(axis: Axes, candidates: Sequence[Candidate], score: str, shapes: Mapping[str, str]) -> None:
    colours = matplotlib.colormaps[MAP]
    for candidate in candidates:
        value = candidate.scores.get(score, math.nan)
        top1 = spread(candidate.accuracies.values())
        if math.isnan(value) or not top1.count:
            continue
        if top1.count > 1:
            axis.errorbar(value, top1.mean, yerr=top1.deviation, color="0.6", elinewidth=0.6, zorder=1)
        axis.plot(
            value, top1.mean, color=colours(candidate.depth), marker=shapes[candidate.group], markersize=3.8,
            markeredgecolor="0.2", markeredgewidth=0.3, linestyle="none", label=", ".join(candidate.layers),
        )  # fmt: skip


def _titles(axis: Axes, pair: str, correlations: Sequence[Correlation], shapes: Mapping[str, str]) -> None:
    """The pair, and below it in small letters how well the score orders each group."""
    signs = [SHAPES.get(shapes.get(one.group, ""), as_written(one.group)) for one in correlations]
    told = [f"{sign} {RHO} {_interval(one)}" for sign, one in zip(signs, correlations, strict=True)]
    axis.set_title("\n".join(filter(None, [pair, *told])), loc="left", fontsize=_SMALL)


_SPEARMAN = Column("spearman", "Spearman", digits=2, interval=True)


def _interval(one: Correlation) -> str:
    ends = one.spearman_interval
    text = _SPEARMAN.paper_text({"spearman": one.spearman, "spearman_low": ends.low, "spearman_high": ends.high})
    return text if math.isnan(one.spearman) else set_minus(text, "\N{MINUS SIGN}")


def _data(validation: Validation) -> Iterator[tuple[object, ...]]:
    for one in validation.candidates:
        top1 = spread(one.accuracies.values())
        for score, value in one.scores.items():
            yield (
                one.pair, one.group, ", ".join(one.layers), one.depth, score, value, *top1.cells("").values(),
            )  # fmt: skip
