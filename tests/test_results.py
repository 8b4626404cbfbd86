"""The results that the documentation shows are those of the records beside it."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import ttest_1samp

from layerprobe.experiments.grid.results import read_grid
from layerprobe.experiments.validation.results import read_validation
from layerprobe.ranking.choose import SCORES
from layerprobe.ranking.rules import Task, read_wish
from layerprobe.records import GridResults, Layer, Ranking
from layerprobe.report.grid.pairs import pairs_table
from layerprobe.report.grid.tables import grid_table
from layerprobe.report.tables.table import render
from layerprobe.report.tables.validation import words

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
Ahead = dict[str, tuple[Ranking, list[float]]]
AGAINST_QUALITY = ("even:4", "even-quality:4", "even-information:4")
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


@pytest.fixture(scope="module")
def all_pairs() -> str:
    """What the page says of them."""
    (only,) = (one for one in SECTIONS if one.startswith("Over all pairs"))
    return only


def chosen(ranking: Ranking, choice: str) -> tuple[str, ...]:
    """The layers that a rule chooses which looks at nothing but the ranking, and how many layers there shall be."""
    wish = read_wish(choice)
    assert wish
    student = [Layer(index, "", "block", (), 0) for index in range(wish.count)]
    return wish.rule.choose(Task(ranking, student, student, torch.Generator()))


@pytest.mark.parametrize("folder", RANKED, ids=lambda folder: folder.name)
def test_records_have_the_layers_that_the_rules_choose(folder: Path) -> None:
    """By the rankings beside them."""
    checked = 0
    for result in read(folder).results:
        if result.run and result.cell.choice.split(":")[0] in LOOK_AT_THE_RANKING:
            config = result.run.config
            layers = chosen(RANKINGS[config["teacher"]["weights_sha256"]], result.cell.choice)
            assert tuple(config["teacher_layers"]) == layers, result.cell.path
            checked += 1
    assert checked >= 30


@pytest.fixture(scope="module")
def pairs() -> Ahead:
    """The teacher's ranking of every pair, and how far the rules are ahead of the paper's, in the mean of the seeds.

    The runs of a rule are those with the layers that it chooses, whichever rule they were made for.
    """
    reached: dict[str, dict[tuple[str, ...], dict[int, float]]] = {}
    rankings: dict[str, Ranking] = {}
    for name in ("cpu-rules", "cpu-new-teachers", "cpu-unseen-teachers"):
        for result in read(ROOT / "docs" / "results" / name).results:
            assert result.run
            config, pair = result.run.config, result.cell.pair
            rankings[pair] = RANKINGS[config["teacher"]["weights_sha256"]]
            layers = reached.setdefault(pair, {}).setdefault(tuple(config["teacher_layers"]), {})
            accuracy = result.run.last_accuracy
            assert layers.setdefault(result.cell.seed, accuracy) == accuracy, result.cell.path
    means = {
        (pair, choice): np.mean([reached[pair][chosen(ranking, choice)][seed] for seed in range(3)])
        for pair, ranking in rankings.items()
        for choice in ("quality:4", *AGAINST_QUALITY)
    }
    return {
        pair: (ranking, [float(means[pair, choice] - means[pair, "quality:4"]) for choice in AGAINST_QUALITY])
        for pair, ranking in rankings.items()
    }


def test_even_information_is_even_where_the_last_block_has_kept_half() -> None:
    for ranking in RANKINGS.values():
        same = chosen(ranking, "even-information:4") == chosen(ranking, "even:4")
        assert same == (ranking.information_kept >= 0.5)


def test_the_page_says_which_rule_is_ahead_with_which_teacher(pairs: Ahead, all_pairs: str) -> None:
    """And how much of the highest information its last block has."""
    teachers = list(dict.fromkeys(pair.split(" to ")[0] for pair in pairs))
    for teacher in teachers:
        own = [found for pair, found in pairs.items() if pair.startswith(f"{teacher} to")]
        kept = own[0][0].information_kept
        cells = " | ".join(f"{mean:+.1f}" for mean in np.mean([ahead for _, ahead in own], axis=0))
        assert f"| {teacher} | {kept:.2f} | {len(own)} | {cells} |" in all_pairs


def test_the_page_says_what_all_pairs_say(pairs: Ahead, all_pairs: str) -> None:
    """Mean difference to the paper's rule in every pair, and what t-tests make of them; scipy is the oracle."""
    teachers = list(dict.fromkeys(pair.split(" to ")[0] for pair in pairs))
    every = {pair: ahead for pair, (_, ahead) in pairs.items()}
    unseen = {result.cell.pair for result in read(ROOT / "docs" / "results" / "cpu-unseen-teachers").results}
    kept = {pair: ranking.information_kept >= 0.5 for pair, (ranking, _) in pairs.items()}
    groups = {
        f"all {len(pairs)} pairs": list(every.values()),
        "teachers that no rule was made from": [ahead for pair, ahead in every.items() if pair in unseen],
        "half of the highest information or more": [every[pair] for pair in pairs if kept[pair]],
        "less than half": [every[pair] for pair in pairs if not kept[pair]],
        "teachers, each the mean of its pairs": [
            np.mean([every[pair] for pair in pairs if pair.startswith(f"{teacher} to")], axis=0) for teacher in teachers
        ],
    }
    for title, members in groups.items():
        means, test = np.mean(members, axis=0), ttest_1samp(members, 0).confidence_interval()
        cells = [f"{m:+.1f} [{low:+.1f}, {high:+.1f}]" for m, low, high in zip(means, test.low, test.high, strict=True)]
        (line,) = (line for line in all_pairs.splitlines() if line.startswith("|") and title in line)
        assert line.endswith(f"| {len(members)} | {' | '.join(cells)} |")


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
