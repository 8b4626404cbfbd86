"""The page about a ranked network: which layers to learn from, how to read the numbers, and how sure they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from layerprobe.geometry.catalogue import Statistic, described
from layerprobe.ranking.catalogue import RECOMMENDED_RULE
from layerprobe.records import Ranking
from layerprobe.records.cautions import cautions
from layerprobe.report.figures.catalogue import FIGURES
from layerprobe.report.figures.catalogue import Figure as FigureEntry
from layerprobe.report.html.page import Figure, Page, Section
from layerprobe.report.html.pictures import columns_of, draw_pictures
from layerprobe.report.pages.sample import sample_facts
from layerprobe.report.tables.ranking import describe_end, describe_sample, describe_undecided, ranking_table
from layerprobe.report.tables.table import Column, Table

FIRST = "quality"
"""The figure that a page begins with."""


def teacher_page(
    ranking: Ranking, remedy: str = "", command: str = "", mark: str = "", style: Path | None = None
) -> Page:
    """The page about a ranked network.

    Args:
        ranking: with what figures show, as far as it is known.
        remedy: what has the page show the figures that lack their results, in words.
        command: that the words speak of.
        mark: of the page.
        style: a matplotlib style sheet that is laid over the house style.
    """
    table = _layers_table(ranking)
    shown = [figure for figure in FIGURES.values() if figure.can_show(ranking)]
    first, *others = (_figure(entry, ranking, table, style) for entry in shown)
    return Page(
        title=f"{ranking.provenance.get('model', 'A network')}: which layers to learn from",
        lede=f"{len(ranking.geometries)} layers, measured on {describe_sample(ranking)}",
        counts={},
        sections=(
            Section("The layers that were chosen", figures=(first,), text=_choice(ranking)),
            Section("Every layer", (table,), notes=_sentences(describe_end(ranking))),
            Section("How to read it", facts=_readings(ranking)),
            Section("How sure it is", (_close(ranking),), notes=tuple(_sureness(ranking))),
            _further(ranking, tuple(others), remedy, command),
            Section("The sample", facts=sample_facts(ranking.provenance, ranking.classes)),
        ),
        provenance=_others(ranking.provenance),
        mark=mark,
    )


def _layers_table(ranking: Ranking) -> Table:
    """Every layer, with what it was chosen by before all else."""
    table = ranking_table(ranking)
    first = ("index", "name", ranking.score, "top_share")
    last = ("kind", "shape", "dimension")
    order = sorted(
        table.columns,
        key=lambda one: first.index(one.name) if one.name in first else len(first) + (one.name in last),
    )
    return replace(table, columns=tuple(order), notes=())


def _figure(entry: FigureEntry, ranking: Ranking, table: Table, style: Path | None) -> Figure:
    rows = {one.layer.index: number for number, one in enumerate(ranking.geometries)}
    places = columns_of(table, rows, "name") if entry.over_depth else None
    caption = f"{entry.help[:1].upper()}{entry.help[1:]}."
    hint = " Point at a layer, or tap it, to see its numbers." if places else ""
    return Figure(f"{caption}{hint}", draw_pictures(partial(entry.load(), ranking), places, style))


def _choice(ranking: Ranking) -> str:
    """Which layers were chosen, and which to take for a student, in a few sentences."""
    score = described(ranking.score)
    best = {"low": "lowest", "high": "highest", "": "highest"}[score.direction]
    few = len(ranking.selected) == 1
    text = (
        f"The {'layer' if few else f'{len(ranking.selected)} layers'} of {best} {score.label} "
        f"{'is' if few else 'are'} {_listed(ranking.selected)}."
    )
    if ranking.undecided:
        count = len(ranking.undecided)
        text += f" {count} other{'s' if count > 1 else ''} can't be told apart from the last of them: see below."
    if ranking.evenly_spread and score.name == FIRST:
        text += (
            f" To train a student we recommend {len(ranking.selected)} blocks instead that are spread evenly up to the "
            f"last one with half of the highest information: `--layers {RECOMMENDED_RULE}:{len(ranking.selected)}` of "
            "`layerprobe distill` takes them."
        )
    return text


def _listed(names: tuple[str, ...]) -> str:
    """Names as a sentence has them.

    Examples:
        >>> _listed(("a", "b", "c")), _listed(("a",))
        ('a, b and c', 'a')
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _readings(ranking: Ranking) -> Mapping[str, str]:
    """What the numbers of the table say, by symbol and label."""
    shown = [described(column.name) for column in ranking_table(ranking).columns if _is_measured(ranking, column.name)]
    return {f"{one.symbol}, {one.label}" if one.symbol != one.label else one.label: _reading(one) for one in shown}


def _is_measured(ranking: Ranking, name: str) -> bool:
    return name != "dimension" and all(name in one.statistics for one in ranking.geometries)


def _reading(one: Statistic) -> str:
    text = one.reading or f"{one.help[:1].upper()}{one.help[1:]}."
    return f"{text} {one.direction.capitalize()} values are better." if one.direction else text


def _sureness(ranking: Ranking) -> Iterator[str]:
    """What is known of how sure the choice is, line by line."""
    source = ranking.provenance
    if any(one.intervals for one in ranking.geometries):
        yield (
            f"Brackets hold {100 * source['level']:g} % intervals, from {source['resamples']} resamples of the images: "
            "where the score of another sample of this size is to be expected."
        )
    else:
        yield "There are no intervals: they were not asked for, or a class has too few images."
    if any(one.top_share is not None for one in ranking.geometries):
        top = len(ranking.selected)
        yield f"In top {top} is the share of resamples in which a layer is among the {top} chosen."
    yield from _sentences((*describe_undecided(ranking), *cautions(ranking)))


def _sentences(lines: Sequence[str]) -> tuple[str, ...]:
    """Lines from below a table as sentences."""
    return tuple(f"{line[:1].upper()}{line[1:]}." for line in lines)


def _close(ranking: Ranking) -> Table:
    """The chosen layers, those that can't be told apart from them, and all that some resample chose; the best first."""
    score, top = described(ranking.score), len(ranking.selected)
    states = dict.fromkeys(ranking.undecided, "can't be told apart") | dict.fromkeys(ranking.selected, "chosen")
    near = [one for one in ranking.geometries if one.layer.name in states or one.top_share]
    order = sorted(near, key=lambda one: score.sign * one.statistics[score.name], reverse=True)
    rows = []
    for one in order:
        interval = one.intervals.get(score.name)
        rows.append(
            {
                "layer": one.layer.name,
                score.name: one.statistics[score.name],
                **({f"{score.name}_low": interval.low, f"{score.name}_high": interval.high} if interval else {}),
                "top_share": None if one.top_share is None else 100 * one.top_share,
                "state": states.get(one.layer.name, "near"),
            }
        )
    columns = (
        Column("layer", "layer", "left"),
        Column(score.name, score.symbol, digits=score.digits, interval=True),
        Column("top_share", f"in top {top} (%)", digits=0),
        Column("state", "state", "left"),
    )
    marked = frozenset(number for number, one in enumerate(order) if one.layer.name in ranking.selected)
    return Table("the chosen layers and those that come close", columns, tuple(rows), marked)


def _further(ranking: Ranking, figures: tuple[Figure, ...], remedy: str, command: str) -> Section:
    names = [figure.label for figure in FIGURES.values() if not figure.can_show(ranking)]
    if not names:
        return Section("Further figures", figures=figures)
    text = f"Left out, since their results are not kept: {', '.join(names)}. {remedy}"
    return Section("Further figures", figures=figures, text=text, code=command)


def _others(source: Mapping[str, object]) -> Mapping[str, object]:
    """What a ranking says of its making and no other part of the page does."""
    found = {key: source[key] for key in ("resamples", "level", "seed", "statistics", "plugins") if source.get(key)}
    return {key: ", ".join(fact) if isinstance(fact, (list, tuple)) else fact for key, fact in found.items()}
