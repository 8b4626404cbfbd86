"""The page about several ranked networks: their layers side by side, and what differs in their samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from layerprobe.geometry.catalogue import UNMEASURED, Statistic, described, shown_in
from layerprobe.records import LayerGeometry, Ranking
from layerprobe.report.figures.relative_depth import relative_depth_figure
from layerprobe.report.figures.style import Drawing
from layerprobe.report.html.page import Figure, Page, Section
from layerprobe.report.html.pictures import FindPlaces, Place, draw_pictures, point_of
from layerprobe.report.pages.sample import sample_facts
from layerprobe.report.tables.ranking import different_samples, ranking_table
from layerprobe.report.tables.table import Column, Table

_CHOSEN = "*"
"""Behind the name of a layer that was chosen."""


def networks_page(rankings: Mapping[str, Ranking], mark: str = "", style: Path | None = None) -> Page:
    """The page about several networks.

    Args:
        rankings: by what tells the networks apart.
        mark: of the page.
        style: a matplotlib style sheet that is laid over the house style.
    """
    score, alike = compared_score(tuple(rankings.values()))
    tables = {name: ranking_table(ranking) for name, ranking in rankings.items()}
    drawn = [_as_drawn(name, ranking, score) for name, ranking in rankings.items()]
    depths = Figure(
        f"{score.label[:1].upper()}{score.label[1:]} of every network's layers, from the first (0) to the last (1). "
        "Point at a layer, or tap it, to see its numbers.",
        draw_pictures(partial(relative_depth_figure, drawn), _points(drawn, score, tuple(tables.values())), style),
    )
    return Page(
        title=f"{', '.join(rankings)}: their layers compared",
        lede=f"{len(rankings)} networks by {score.label}",
        counts={},
        sections=(
            Section("At a glance", (glance_table(rankings),), (depths,), text=alike),
            Section("Layers side by side", (_side_by_side(rankings, score),), notes=(f"{_CHOSEN} chosen",)),
            Section("What differs in their samples", (_samples(rankings),), text=_warning(rankings)),
            *(Section(f"Every layer of {name}", (table,), folded=True) for name, table in tables.items()),
        ),
        mark=mark,
    )


def compared_score(rankings: Sequence[Ranking]) -> tuple[Statistic, str]:
    """The score that networks are compared by, and what is to be said of that; empty: nothing."""
    scores = {ranking.score for ranking in rankings}
    own = described(rankings[0].score)
    if len(scores) == 1 and own.family != UNMEASURED:
        return own, ""
    quality = shown_in("quality")[-1]
    by = " and ".join(sorted(scores))
    return quality, f"The networks' layers were chosen by {by}; they are compared by {quality.label}."


def glance_table(rankings: Mapping[str, Ranking]) -> Table:
    """A row for every network: how many layers, which is best, and which were chosen."""
    score, _ = compared_score(tuple(rankings.values()))
    rows = []
    for name, ranking in rankings.items():
        known = [one for one in ranking.geometries if not math.isnan(_value(one, score))]
        best = max(known, key=lambda one: score.sign * _value(one, score), default=None)
        rows.append(
            {
                "network": name,
                "layers": len(ranking.geometries),
                "best": best.layer.name if best else None,
                **(_with_interval(best, score, score.name) if best else {}),
                "kept": ranking.information_kept,
                "selected": ", ".join(ranking.selected),
                "undecided": ", ".join(ranking.undecided) or None,
            }
        )
    columns = (
        Column("network", "network", "left", key=True),
        Column("layers", "layers"),
        Column("best", "best layer", "left"),
        Column(score.name, f"its {score.symbol}", digits=score.digits, interval=True),
        Column("kept", "information kept at the end", digits=3),
        Column("selected", "chosen", "left"),
        Column("undecided", "can't be told apart", "left"),
    )
    return Table("networks", columns, tuple(rows))


def _value(one: LayerGeometry, score: Statistic) -> float:
    return one.statistics.get(score.name, math.nan)


def _with_interval(one: LayerGeometry, score: Statistic, key: str) -> dict[str, float]:
    """A layer's score with its interval, for a column of this name."""
    interval = one.intervals.get(score.name)
    ends = {f"{key}_low": interval.low, f"{key}_high": interval.high} if interval else {}
    return {key: _value(one, score), **ends}


def _as_drawn(name: str, ranking: Ranking, score: Statistic) -> Ranking:
    """A ranking whose figure calls it by this name, and shows this score."""
    return replace(ranking, score=score.name, provenance={**ranking.provenance, "model": name})


def _points(rankings: Sequence[Ranking], score: Statistic, tables: Sequence[Table]) -> FindPlaces:
    """The points of the figure, each with its layer's row in the table of its network."""

    def find(drawing: Drawing) -> Iterator[Place]:
        axis = drawing.figure.axes[0]
        for ranking, table in zip(rankings, tables, strict=True):
            for row, one in enumerate(ranking.geometries):
                if not math.isnan(value := _value(one, score)):
                    label = f"{ranking.provenance['model']}: {one.layer.name}"
                    yield point_of(axis, one.statistics["depth"], value, table, row, label)

    return find


def _side_by_side(rankings: Mapping[str, Ranking], score: Statistic) -> Table:
    """Every network's layers from the first to the last, with the score."""
    columns = chain.from_iterable(
        (
            Column(f"layer {number}", name, "left"),
            Column(f"score {number}", score.symbol, digits=score.digits, interval=True),
        )
        for number, name in enumerate(rankings)
    )
    longest = max(len(ranking.geometries) for ranking in rankings.values())
    rows: list[dict[str, object]] = [{"place": place} for place in range(longest)]
    for number, ranking in enumerate(rankings.values()):
        for row, one in zip(rows, ranking.geometries, strict=False):
            mark = f" {_CHOSEN}" if one.layer.name in ranking.selected else ""
            row[f"layer {number}"] = f"{one.layer.name}{mark}"
            row.update(_with_interval(one, score, f"score {number}"))
    return Table("layers side by side", (Column("place", "#", "left"), *columns), tuple(rows))


def _samples(rankings: Mapping[str, Ranking]) -> Table:
    """A row for every fact about the networks and their images; where they differ, it is marked."""
    facts = [sample_facts(ranking.provenance, ranking.classes) for ranking in rankings.values()]
    names = list(dict.fromkeys(chain.from_iterable(facts)))
    rows = tuple({"fact": name, **{f"{number}": one.get(name) for number, one in enumerate(facts)}} for name in names)
    differ = frozenset(number for number, name in enumerate(names) if len({one.get(name) for one in facts}) > 1)
    columns = (Column("fact", "", "left"), *(Column(f"{n}", name, "left") for n, name in enumerate(rankings)))
    return Table("samples", columns, rows, differ, notes=("* differs",))


def _warning(rankings: Mapping[str, Ranking]) -> str:
    found = different_samples(tuple(rankings.values()))
    return f"{found[:1].upper()}{found[1:]}." if found else "The samples have the same number of images per class."
