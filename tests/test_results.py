"""The published studies hold what was run, and the page of results shows what they hold."""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from layerprobe.experiments.grid.grid_file import Grid, load_grid
from layerprobe.experiments.publish import publish_study
from layerprobe.experiments.validation.candidates import spread_out
from layerprobe.geometry.catalogue import SCORES
from layerprobe.records import Ranking

ROOT = Path(__file__).parents[1]


def load_page() -> ModuleType:
    """The script that writes the page's tables."""
    spec = importlib.util.spec_from_file_location("results_page", ROOT / "docs" / "results.py")
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


page = load_page()
STUDIES = sorted(path.parent.name for path in page.STUDIES.glob("*/grid.yaml"))
VALIDATIONS = [name for name in STUDIES if "\nvalidate:" in (page.STUDIES / name / "grid.yaml").read_text()]
GRIDS = [name for name in STUDIES if name not in VALIDATIONS]
RANKED = [name for name in GRIDS if (page.STUDIES / name / "rankings").is_dir()]
LOOK_AT_THE_RANKING = ("even", "last", "even-quality", "even-information", *SCORES)


def example_of(name: str) -> Grid:
    """The grid file among the examples that a study was made with."""
    path = ROOT / "examples" / "paper" / f"{name}.yaml"
    grid = load_grid(path)
    return spread_out(grid, path.name) if grid.validate else grid


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_that_of_the_example_as_far_as_it_was_run(name: str) -> None:
    assert all(result.state in ("done", "waiting") for result in page.read_study(name).results)
    here, example = load_grid(page.STUDIES / name / "grid.yaml"), example_of(name)
    assert (here.title, here.reference) == (example.title, example.reference)
    assert [one.cell for one in here.cells] == [one.cell for one in example.cells]
    for ours, theirs in zip(here.cells, example.cells, strict=True):
        assert (ours.config(Path()), ours.ranking) == (theirs.config(Path()), theirs.ranking)


def test_studies_hold_a_grid_file_a_table_and_rankings_alone() -> None:
    for name in STUDIES:
        folder = page.STUDIES / name
        assert {path.name for path in folder.iterdir()} - {"report"} <= {"grid.yaml", "runs.csv", "rankings"}


def test_publishing_a_study_again_keeps_its_records_as_they_were_written(tmp_path: Path) -> None:
    """Also the keys of the version that wrote them."""
    for name in ("cpu-validate", "cpu-logits"):
        before = page.STUDIES / name / "runs.csv"
        *_, after = publish_study(page.STUDIES / name, tmp_path / name)
        assert after.read_bytes() == before.read_bytes() and b"config.training.learning_rate" in after.read_bytes()


def test_the_page_is_what_its_command_writes() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.page_with_tables(text) == text, "the tables are not those of the studies: run python docs/results.py"


def test_every_study_has_its_tables_in_a_section_that_names_its_grid_file() -> None:
    sections = page.PAGE.read_text(encoding="utf-8").split("\n## ")
    for name in STUDIES:
        kinds = ("candidates", "correlations") if name in VALIDATIONS else ("methods",)
        (section,) = (one for one in sections if f"<!-- table: {name} {kinds[0]} -->" in one)
        assert all(f"<!-- table: {name} {kind} -->" in section for kind in kinds)
        assert f"examples/paper/{name}.yaml" in section.split("<!-- table")[0]
        several = name in GRIDS and len({result.cell.pair for result in page.read_study(name).results}) > 1
        assert (f"<!-- table: {name} pairs -->" in section) == several


@pytest.mark.parametrize("name", GRIDS)
def test_the_tables_hold_the_means_of_the_runs(name: str) -> None:
    reached: dict[tuple[str, str, str], list[float]] = {}
    for result in page.read_study(name).results:
        if result.run:
            cell = result.cell
            reached.setdefault((cell.pair, cell.method, cell.choice), []).append(result.run.last_accuracy)
    lines = page.block(name, "methods").splitlines()
    for (pair, method, choice), values in reached.items():
        rows = [(line, [cell.strip() for cell in line.split("|")]) for line in lines]
        shown = [line for line, cells in rows if method in cells and (not choice or choice in cells)]
        assert any(f"{sum(values) / len(values):.2f}" in line and f"({len(values)})" in line for line in shown), pair


@pytest.mark.parametrize("name", VALIDATIONS)
def test_the_tables_hold_what_scores_predicted(name: str) -> None:
    validation = page.validation_of(name)
    assert validation.correlations and validation.candidates

    def rows(kind: str) -> dict[str, list[str]]:
        split = ([cell.strip() for cell in line.split("|")] for line in page.block(name, kind).splitlines())
        return {row[1]: row for row in split if row[1:]}

    correlations, candidates = rows("correlations"), rows("candidates")
    for one in validation.correlations:
        assert correlations[one.score][3].strip("*").startswith(f"{one.spearman:.2f} ["), one.score
    for candidate in validation.candidates:
        (layer,) = candidate.layers
        known = [f"{candidate.scores[score]:.3f}" for score in ("quality", "probe", "cka-to-student")]
        assert candidates[layer][2:5] == known, layer
        assert candidates[layer][-2].strip("*").startswith(f"{candidate.accuracy:.2f}"), layer


@pytest.mark.parametrize("name", RANKED)
def test_runs_have_the_layers_that_the_rules_choose(name: str) -> None:
    """By the rankings beside them."""
    checked = 0
    for result in page.read_study(name).results:
        if result.run and result.cell.choice.split(":")[0] in LOOK_AT_THE_RANKING:
            config = result.run.config
            layers = page.chosen_layers(page.rankings()[config["teacher"]["weights_sha256"]], result.cell.choice)
            assert tuple(config["layers"].split(",")) == layers, result.cell.path
            checked += 1
    assert checked >= 30


def test_even_information_is_even_where_the_last_block_has_kept_half() -> None:
    assert len(page.rankings()) == 8
    for ranking in page.rankings().values():
        same = page.chosen_layers(ranking, "even-information:4") == page.chosen_layers(ranking, "even:4")
        assert same == (ranking.information_kept >= 0.5)


Ahead = dict[str, tuple[Ranking, list[float]]]


@pytest.fixture(scope="module")
def pairs() -> Ahead:
    """The teacher's ranking of every pair, and how far the rules are ahead of the paper's, in the mean of the seeds.

    The runs of a rule are those with the layers that it chooses, whichever rule they were made for.
    """
    reached: dict[str, dict[tuple[str, ...], dict[int, float]]] = {}
    rankings: dict[str, Ranking] = {}
    for name in ("cpu-rules", "cpu-new-teachers", "cpu-unseen-teachers"):
        for result in page.read_study(name).results:
            config, pair = result.run.config, result.cell.pair
            rankings[pair] = page.rankings()[config["teacher"]["weights_sha256"]]
            layers = reached.setdefault(pair, {}).setdefault(tuple(config["layers"].split(",")), {})
            accuracy = result.run.last_accuracy
            assert layers.setdefault(result.cell.seed, accuracy) == accuracy, result.cell.path
    means = {
        (pair, choice): np.mean([reached[pair][page.chosen_layers(ranking, choice)][seed] for seed in range(3)])
        for pair, ranking in rankings.items()
        for choice in ("quality:4", *page.COMPARED_RULES)
    }
    return {
        pair: (ranking, [float(means[pair, choice] - means[pair, "quality:4"]) for choice in page.COMPARED_RULES])
        for pair, ranking in rankings.items()
    }


def test_teachers_have_the_means_of_their_pairs(pairs: Ahead) -> None:
    """And how much of the highest information their last block has."""
    rows = {row["teacher"]: row for row in page.teachers_table().rows}
    assert list(rows) == list(dict.fromkeys(pair.split(" to ")[0] for pair in pairs))
    for teacher, row in rows.items():
        own = [found for pair, found in pairs.items() if pair.startswith(f"{teacher} to")]
        assert (row["kept"], row["pairs"]) == (own[0][0].information_kept, len(own))
        means = np.mean([ahead for _, ahead in own], axis=0)
        assert [row[rule] for rule in page.COMPARED_RULES] == pytest.approx(means.tolist(), abs=1e-12)


def test_groups_of_teachers_have_the_intervals_of_t_tests(pairs: Ahead) -> None:
    """Of the mean difference to the paper's rule with every teacher, over its pairs; scipy is the oracle."""
    of_teacher: dict[str, list[str]] = {}
    for pair in pairs:
        of_teacher.setdefault(pair.split(" to ")[0], []).append(pair)
    every = {name: np.mean([pairs[pair][1] for pair in own], axis=0) for name, own in of_teacher.items()}
    unseen = {result.cell.pair.split(" to ")[0] for result in page.read_study("cpu-unseen-teachers").results}
    kept = {name: pairs[own[0]][0].information_kept >= 0.5 for name, own in of_teacher.items()}
    largest = max(every, key=lambda name: every[name][page.COMPARED_RULES.index("even-information:4")])
    groups = {
        "all teachers": list(every.values()),
        "that no rule was made from": [every[name] for name in every if name in unseen],
        f"all but {largest}": [every[name] for name in every if name != largest],
        "half of the highest information or more": [every[name] for name in every if kept[name]],
        "less than half": [every[name] for name in every if not kept[name]],
        "pairs as if each had a teacher of its own": [ahead for _, ahead in pairs.values()],
    }
    rows = page.groups_table().rows
    assert len(rows) == len(groups)
    for title, members in groups.items():
        (row,) = (one for one in rows if title in one["group"])
        means, test = np.mean(members, axis=0), ttest_1samp(members, 0).confidence_interval()
        assert row["number"] == len(members)
        for column, rule in enumerate(page.COMPARED_RULES):
            found = (row[rule], row[f"{rule}_low"], row[f"{rule}_high"])
            assert found == pytest.approx((means[column], test.low[column], test.high[column]), abs=1e-9), title
            assert not any(map(math.isnan, found))
