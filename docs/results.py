"""Writes the tables of docs/results.md from the studies in results/: ``python docs/results.py``.

A table stands between ``<!-- table: STUDY KIND -->`` and ``<!-- end of table -->``. A kind is a key of ``TABLES``; the
tables over the pairs of several studies, keys of ``TABLES_OVER_PAIRS``, have ``over-all-pairs`` for a study.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from layerprobe.experiments.grid.results import read_grid
from layerprobe.experiments.validation.results import read_validation
from layerprobe.ranking.catalogue import RULES
from layerprobe.ranking.file import load_ranking
from layerprobe.ranking.problem import SelectionProblem, apply_rule
from layerprobe.records import GridResults, Layer, Ranking, Validation
from layerprobe.report.grid.notes import state_note
from layerprobe.report.grid.paired import paired_difference
from layerprobe.report.grid.pairs import pairs_table
from layerprobe.report.grid.tables import grid_table
from layerprobe.report.tables.table import Column, Table, render
from layerprobe.report.tables.validation import candidates_table, correlations_table
from layerprobe.settings.layer_choice import LayerChoice

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
STUDIES = ROOT / "results"
OVER_PAIRS = "over-all-pairs"

STUDIES_OF_RULES = ("cpu-rules", "cpu-new-teachers", "cpu-unseen-teachers")
UNSEEN = "cpu-unseen-teachers"
"""The study whose teachers no rule was made from."""
LARGEST_LEAD = "MobileNetV2"
"""The teacher with which the recommended rule is furthest ahead: the page says what is left without it."""
REFERENCE = "quality:4"
COMPARED_RULES = ("even:4", "even-quality:4", "even-information:4")
SEEDS = (0, 1, 2)

_BLOCK = re.compile(r"<!-- table: (\S+) (\S+) -->\n.*?<!-- end of table -->", re.DOTALL)


@cache
def read_study(name: str) -> GridResults:
    """The runs of a study."""
    return read_grid(STUDIES / name)


@cache
def validation_of(name: str) -> Validation:
    """The validation of a study that is one."""
    found = read_validation(STUDIES / name)
    assert found is not None, f"{name} is no validation"
    return found


@cache
def rankings() -> Mapping[str, Ranking]:
    """The rankings of all studies, by the hash of the weights of the network."""
    found = map(load_ranking, sorted(STUDIES.glob("*/rankings/*.json")))
    return {ranking.provenance["weights_sha256"]: ranking for ranking in found}


def chosen_layers(ranking: Ranking, choice: str) -> tuple[str, ...]:
    """The layers that a rule chooses which looks at nothing but the ranking and how many layers there shall be."""
    rule = LayerChoice.parse(choice).rule
    assert rule is not None, f"{choice} is no rule"
    student = [Layer(index, "", "block", (), 0) for index in range(rule.count)]
    return apply_rule(RULES[rule.name], SelectionProblem(ranking, student, student, torch.Generator()))


@dataclass(frozen=True)
class Pair:
    """How far rules are ahead of the paper's in one pair of networks.

    Attributes:
        label: of the pair.
        ranking: of the teacher's layers.
        ahead: top-1 less that of the reference, in the mean of the seeds, by rule.
        unseen: whether no rule was made from the teacher.
    """

    label: str
    ranking: Ranking
    ahead: Mapping[str, float]
    unseen: bool

    @property
    def teacher(self) -> str:
        """Label of the teacher."""
        return self.label.split(" to ")[0]

    @property
    def kept_half(self) -> bool:
        """Whether the teacher's last block has half of the highest information of all blocks, or more."""
        return self.ranking.information_kept >= 0.5


@cache
def all_pairs() -> tuple[Pair, ...]:
    """Every pair of the studies of rules. The runs of a rule are those with the layers that it chooses."""
    reached: dict[str, dict[tuple[str, ...], dict[int, float]]] = {}
    teachers: dict[str, Ranking] = {}
    for name in STUDIES_OF_RULES:
        for result in read_study(name).results:
            assert result.run is not None, f"{result.cell.path} is not finished"
            config, pair = result.run.config, result.cell.pair
            teachers[pair] = rankings()[config["teacher"]["weights_sha256"]]
            by_seed = reached.setdefault(pair, {}).setdefault(tuple(config["layers"].split(",")), {})
            by_seed[result.cell.seed] = result.run.last_accuracy
    unseen = {result.cell.pair for result in read_study(UNSEEN).results}

    def mean_top1(pair: str, rule: str) -> float:
        by_seed = reached[pair][chosen_layers(teachers[pair], rule)]
        return mean(by_seed[seed] for seed in SEEDS)

    return tuple(
        Pair(
            pair,
            ranking,
            {rule: mean_top1(pair, rule) - mean_top1(pair, REFERENCE) for rule in COMPARED_RULES},
            pair in unseen,
        )
        for pair, ranking in teachers.items()
    )


def by_teacher(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """The pairs of every teacher."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.teacher, []).append(pair)
    return found


def teachers_table() -> Table:
    """How far rules are ahead with every teacher, and how much information its last block has kept."""
    rows = [
        {
            "teacher": teacher,
            "kept": pairs[0].ranking.information_kept,
            "pairs": len(pairs),
            **{rule: mean(pair.ahead[rule] for pair in pairs) for rule in COMPARED_RULES},
        }
        for teacher, pairs in by_teacher(all_pairs()).items()
    ]
    columns = (
        Column("teacher", "teacher", "left"),
        Column("kept", "kept", digits=2),
        Column("pairs", "pairs"),
        *(Column(rule, rule, digits=1, signed=True) for rule in COMPARED_RULES),
    )
    return Table("Teachers", columns, tuple(rows))


def groups_of_teachers() -> dict[str, list[Mapping[str, float]]]:
    """What is averaged and tested: how far rules are ahead with each of several teachers, in the mean of its pairs.

    The pairs of a teacher share its features, so they are no independent samples of teachers. All pairs stand in the
    last group, for comparison.
    """
    pairs = all_pairs()
    chosen: dict[str, list[Pair]] = {
        "all teachers": list(pairs),
        "those that no rule was made from": [pair for pair in pairs if pair.unseen],
        f"all but {LARGEST_LEAD}": [pair for pair in pairs if pair.teacher != LARGEST_LEAD],
        "those whose last block has half of the highest information or more": [
            pair for pair in pairs if pair.kept_half
        ],
        "those where it has less than half": [pair for pair in pairs if not pair.kept_half],
    }
    groups: dict[str, list[Mapping[str, float]]] = {
        group: [
            {rule: mean(pair.ahead[rule] for pair in own) for rule in COMPARED_RULES}
            for own in by_teacher(members).values()
        ]
        for group, members in chosen.items()
    }
    return groups | {"pairs as if each had a teacher of its own": [pair.ahead for pair in pairs]}


def groups_table() -> Table:
    """How far rules are ahead over groups of teachers, with 95 % intervals of t-tests over the teachers."""
    rows = []
    for group, members in groups_of_teachers().items():
        row: dict[str, Any] = {"group": group, "number": len(members)}
        for rule in COMPARED_RULES:
            ahead = dict(enumerate(member[rule] for member in members))
            row |= paired_difference(ahead, dict.fromkeys(ahead, 0.0)).cells(rule)
        rows.append(row)
    columns = (
        Column("group", "teachers", "left"),
        Column("number", "number"),
        *(Column(rule, rule, digits=1, signed=True, interval=True) for rule in COMPARED_RULES),
    )
    return Table("Groups of teachers", columns, tuple(rows))


def _over_pairs(name: str) -> Table:
    table = pairs_table(read_study(name))
    assert table is not None, f"{name} has one pair, or no reference"
    return table


def _candidates(name: str) -> Table:
    """Of every candidate three of its scores, and what its students reached."""
    table = candidates_table(validation_of(name))
    shown = ("layers", "score quality", "score probe", "score cka-to-student", "top1")
    return replace(table, columns=tuple(column for column in table.columns if column.name in shown))


def _correlations(name: str) -> Table:
    """Of every score how well it orders the candidates, the best first."""
    table = correlations_table(validation_of(name))
    hidden = ("pair", "group", "candidates")
    columns = tuple(column for column in table.columns if column.name not in hidden)
    return replace(table, columns=columns, rows=tuple(sorted(table.rows, key=lambda row: -row["spearman"])))


TABLES: Mapping[str, Callable[[str], Table]] = {
    "methods": lambda name: grid_table(read_study(name)),
    "pairs": _over_pairs,
    "candidates": _candidates,
    "correlations": _correlations,
}
"""The tables of one study, by kind."""
STATED = ("methods", "candidates")
"""Kinds below which the page says how many cells are done."""
TABLES_OVER_PAIRS: Mapping[str, Callable[[], Table]] = {"teachers": teachers_table, "groups": groups_table}


def block(study: str, kind: str) -> str:
    """What stands between the markers of a table."""
    table = TABLES_OVER_PAIRS[kind]() if study == OVER_PAIRS else TABLES[kind](study)
    rows = [line for line in render(table, "markdown").splitlines() if line.startswith("|")]
    state = [f"{state_note(read_study(study))}.", ""] if study != OVER_PAIRS and kind in STATED else []
    return "\n".join(["", *rows, "", *state])


def page_with_tables(text: str) -> str:
    """The page with every table made anew."""

    def made(found: re.Match[str]) -> str:
        study, kind = found.groups()
        return f"<!-- table: {study} {kind} -->\n{block(study, kind)}\n<!-- end of table -->"

    return _BLOCK.sub(made, text)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
