"""The results that the documentation shows are those of the records beside it."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import ttest_1samp

from layerprobe.experiments.grids.results import read_grid
from layerprobe.experiments.validation.results import read_validation
from layerprobe.ranking.choose import SCORES
from layerprobe.ranking.rules import Task, read_wish
from layerprobe.report.grid_tables import grid_table
from layerprobe.report.pairs_table import pairs_table
from layerprobe.report.tables import render
from layerprobe.report.validation_tables import words
from layerprobe.types import GridResults, Layer, Ranking

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
SECTIONS = PAGE.split("\n## ")
FOLDERS = sorted(path.parent for path in (ROOT / "docs" / "results").glob("*/grid.yaml"))
VALIDATIONS = [folder for folder in FOLDERS if (folder / "scores.json").exists()]
GRIDS = [folder for folder in FOLDERS if folder not in VALIDATIONS]
RANKED = [folder for folder in GRIDS if "-2000.ranking.json" in (folder / "grid.yaml").read_text()]
RANKINGS = {
    ranking.provenance["weights_sha256"]: ranking
    for ranking in map(Ranking.load, sorted((ROOT / "docs" / "results" / "rankings").iterdir()))
}
LOOK_AT_THE_RANKING = ("even", "last", "even-quality", "even-information", *SCORES)


@cache
def read(folder: Path) -> GridResults:
    """The records of a grid, read once for all tests."""
    return read_grid(folder)


def section(folder: Path) -> str:
    """What the page says of a grid: it names the grid's file."""
    (only,) = (one for one in SECTIONS[1:] if f"examples/paper/{folder.name}.yaml" in one.split("**")[0])
    return only


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_records_are_those_of_the_example_as_far_as_it_was_run(folder: Path) -> None:
    results = read(folder).results
    assert all(result.state in ("done", "waiting") for result in results)
    done = sum(bool(result.run) for result in results)
    assert f"**{done} of {len(results)} cells are done.**" in section(folder)
    here, example = (
        yaml.safe_load(path.read_text())
        for path in (folder / "grid.yaml", ROOT / "examples" / "paper" / f"{folder.name}.yaml")
    )
    if folder in VALIDATIONS:
        del here["choices"]  # the layers by name
    assert here == example


@pytest.mark.parametrize("folder", GRIDS, ids=lambda folder: folder.name)
def test_the_page_shows_the_reports_tables(folder: Path) -> None:
    results = read(folder)
    tables = [grid_table(results), *filter(None, [pairs_table(results)])]
    for table in tables:
        rows = [line for line in render(table, "markdown").splitlines() if line.startswith("|")]
        assert "\n".join(["", *rows, ""]) in section(folder)


@pytest.mark.parametrize("folder", GRIDS, ids=lambda folder: folder.name)
def test_the_page_says_the_means_of_the_records(folder: Path) -> None:
    reached: dict[tuple[str, str, str], list[float]] = {}
    for result in read(folder).results:
        if result.run:
            cell = result.cell
            reached.setdefault((cell.pair, cell.method, cell.choice), []).append(result.run.last_accuracy)
    lines = section(folder).splitlines()
    for (pair, method, choice), values in reached.items():
        shown = [line for line in lines if f"| {method} | {choice}" in line]
        assert any(f"{sum(values) / len(values):.2f}" in line and f"({len(values)})" in line for line in shown), pair


def test_the_page_says_what_thirteen_pairs_say() -> None:
    """Mean difference to the paper's rule in every pair, and what t-tests make of them; scipy is the oracle."""
    reached: dict[tuple[str, str], list[float]] = {}
    for name in ("cpu-rules", "cpu-new-teachers"):
        for result in read(ROOT / "docs" / "results" / name).results:
            assert result.run
            reached.setdefault((result.cell.pair, result.cell.choice), []).append(result.run.last_accuracy)
    pairs = list(dict.fromkeys(pair for pair, _ in reached))
    teachers = list(dict.fromkeys(pair.split(" to ")[0] for pair in pairs))
    collapsed = [pair for pair in pairs if pair.startswith("VGG")]
    groups = {
        "all thirteen": [[pair] for pair in pairs],
        "the six": [[pair] for pair in pairs[-6:]],
        "the eight": [[pair] for pair in pairs if pair not in collapsed],
        "the five whose": [[pair] for pair in collapsed],
        "the five teachers": [[pair for pair in pairs if pair.startswith(f"{one} to")] for one in teachers],
    }
    for start, members in groups.items():
        cells = []
        for choice in ("even:4", "even-quality:4"):
            ahead = [
                np.mean([np.mean(reached[one, choice]) - np.mean(reached[one, "quality:4"]) for one in group])
                for group in members
            ]
            low, high = ttest_1samp(ahead, 0).confidence_interval()
            cells.append(f"{np.mean(ahead):+.1f} [{low:+.1f}, {high:+.1f}]")
        (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| {start}"))
        assert line.endswith(f" | {cells[0]} | {cells[1]} |")


@pytest.mark.parametrize("folder", RANKED, ids=lambda folder: folder.name)
def test_records_have_the_layers_that_the_rules_choose(folder: Path) -> None:
    """Of the rankings beside them; rules that look at nothing but the ranking, and how many layers there shall be."""
    checked = 0
    for result in read(folder).results:
        wish = read_wish(result.cell.choice)
        if result.run and wish and wish.name in LOOK_AT_THE_RANKING:
            ranking = RANKINGS[result.run.config["teacher"]["weights_sha256"]]
            student = [Layer(index, "", "block", (), 0) for index in range(wish.count)]
            task = Task(ranking, student, student, torch.Generator())
            assert tuple(result.run.config["teacher_layers"]) == wish.rule.choose(task), result.cell.path
            checked += 1
    assert checked >= 30


@pytest.mark.parametrize("folder", VALIDATIONS, ids=lambda folder: folder.name)
def test_the_page_says_what_scores_foretold(folder: Path) -> None:
    validation = read_validation(folder)
    assert validation and validation.correlations
    split = ([cell.strip() for cell in line.split("|")] for line in section(folder).splitlines())
    rows = {row[1]: row for row in split if row[1:]}
    for one in validation.correlations:
        assert rows[words(one.score)][2].startswith(f"{one.spearman:.2f} ["), one.score
    for candidate in validation.candidates:
        (layer,) = candidate.layers
        known = [f"{candidate.scores[score]:.3f}" for score in ("quality", "probe", "cka-to-student")]
        assert rows[f"`{layer}`"][2:5] == known, layer
        assert rows[f"`{layer}`"][-2].startswith(f"{candidate.accuracy:.2f}"), layer
