"""Adding one of a kind is one function and one catalogue entry: a dummy of each runs from the command line to a table.

And the same from outside: ``FILE.py:name`` stands wherever a catalogue's name may.
"""

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from layerprobe.cli.main import COMMANDS, load_command
from layerprobe.geometry.catalogue import STATISTICS, Statistic
from layerprobe.ranking.catalogue import RULES, Rule
from layerprobe.ranking.problem import SelectionProblem
from layerprobe.records import Gram, Ranking
from layerprobe.report.figures.catalogue import FIGURES, Figure
from layerprobe.report.figures.style import Drawing, new_figure
from layerprobe.report.tables.table import data_table
from tests.helpers.commands import invoke, run

HERE = "tests.test_extensions"


@pytest.fixture(autouse=True)
def commands_built_anew() -> Iterator[None]:
    """A process builds a command's options once: other tests' commands don't know these entries, nor the reverse."""
    forget_options()
    yield
    forget_options()


def forget_options() -> None:
    for command in map(load_command, COMMANDS):
        for built in vars(command).keys() - {field.name for field in fields(command)}:
            del vars(command)[built]


def rows(*arguments: object) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run(*arguments, "--format", "csv"))))


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Features of six layers."""
    path = tmp_path / "resnet20.h5"
    run("extract", "--model", "cifar:resnet20", "--weights", "random", "--data", "digits", "--samples", 40,
        "--layers", "1:6", "--output", path, "--quiet")  # fmt: skip
    return path


# A statistic, and a score: a function of what it declares.


def mean_length(gram: Gram) -> float:
    return float(gram.squared_norms.sqrt().mean())


def gap_share(separation: float, gap: float) -> float:
    return separation / gap


LENGTH = Statistic(
    "length", "mean length", "mean length of features", f"{HERE}:mean_length", symbol="L", family="lengths"
)
SHARE = Statistic(
    "gap-share", "gap share", "separation for the gap", f"{HERE}:gap_share", takes=("separation", "class-gap"),
    symbol="S/g", direction="low", interval=True, shown=False,
)  # fmt: skip


def test_a_statistic_has_a_family_and_a_column(features: Path) -> None:
    with STATISTICS.registered(LENGTH):
        assert "lengths" in run("rank", "--help")
        table = run("rank", features, "--statistics", "lengths", "--resamples", 0)
        assert table.splitlines()[1].split()[-1] == "L"
        assert all(float(row["length"]) > 0 for row in rows("rank", features, "--statistics", "all", "--resamples", 0))
    refused = run("rank", features, "--statistics", "lengths", code=2)
    assert "no statistics 'lengths'" in refused


def test_a_score_has_a_column_an_interval_a_panel_and_rules(features: Path, photos: Path, tmp_path: Path) -> None:
    """It is better when low, and made of others: nothing but its entry says so."""
    with STATISTICS.registered(SHARE):
        command = ("rank", features, "--by", "gap-share", "--top", 2, "--resamples", 8, "--output", tmp_path / "f")
        found = rows(*command)
        values = [float(row["gap-share"]) for row in found]
        assert sorted(values)[:2] == sorted(float(row["gap-share"]) for row in found if row["marked"] == "1")
        assert all(float(row["gap-share_low"]) < float(row["gap-share"]) for row in found)
        assert "gap-share" in (tmp_path / "f" / "resnet20.quality.csv").read_text().splitlines()[0]
        assert "S/g" in run(*command[:-2])
        assert RULES["stagewise-gap-share"].score == "gap-share"
        assert len(_chosen("gap-share:2", photos, tmp_path)) == 2
    assert "gap-share" not in RULES


# A rule: a function of a selection problem.


def second_and_last(problem: SelectionProblem) -> tuple[str, ...]:
    return problem.blocks[1].name, problem.blocks[-1].name


def test_a_rule_chooses_the_layers_of_a_distillation(photos: Path, tmp_path: Path) -> None:
    with RULES.registered(Rule("second-and-last", "second and last", "two blocks", f"{HERE}:second_and_last")):
        assert _chosen("second-and-last:2", photos, tmp_path) == ["layer1.1", "layer3.2"]
    message = run(*_distillation("second-and-last:2", photos, tmp_path / "other"), code=2)
    assert "no rule 'second-and-last'" in message


# A figure: a function of a ranking and a width.


def length_figure(ranking: Ranking, width: float) -> Drawing:
    figure = new_figure(width, 2)
    figure.subplots().plot([one.statistics["twonn"] for one in ranking.geometries])
    data = [(one.layer.name, one.statistics["twonn"]) for one in ranking.geometries]
    return Drawing(figure, data_table("dimension", ("layer", "twonn"), data))


def test_a_figure_is_drawn_with_its_data_and_what_it_needs(features: Path, tmp_path: Path) -> None:
    entry = Figure("lengths", "lengths", "one line", f"{HERE}:length_figure", families=("neighbours",))
    with FIGURES.registered(entry):
        assert "lengths" in run("rank", "--help")
        run("rank", features, "--figures", "lengths", "--output", tmp_path / "f", "--resamples", 0)
    names = {path.name for path in (tmp_path / "f").iterdir()}
    assert names == {f"resnet20.lengths.{ending}" for ending in ("pdf", "svg", "png", "csv")}
    assert (tmp_path / "f" / "resnet20.lengths.csv").read_text().startswith("layer,twonn\nlayer1.0,")


# The same from a user's own file.

OWN = """
import sys

def spread(gram):
    return gram.centred.diagonal().mean() / gram.squared_norms.mean()

def nothing(gram):
    return "nothing"

def unknown(gram):
    return float("nan")

def several(gram):
    return gram.squared_norms

def fails(gram):
    return 1 / 0

def ends(gram):
    sys.exit("enough")

def last_two(problem):
    best = max(problem.values, key=problem.values.get)
    assert best in {layer.name for layer in problem.teacher}
    return [layer.name for layer in problem.blocks[-2:]]

def backwards(problem):
    return [layer.name for layer in problem.blocks[:-3:-1]]

def too_few(problem):
    return [problem.blocks[0].name]

def ends_too(problem):
    sys.exit()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine.py"


def test_a_score_of_ones_own_chooses_layers_and_is_drawn(features: Path, own: Path, tmp_path: Path) -> None:
    out = tmp_path / "f"
    command = ("rank", features, "--by", "mine.py:spread", "--top", 2, "--resamples", 8, "--output", out)
    found = rows(*command)
    best = sorted(float(row["mine.py:spread"]) for row in found)[-2:]
    assert best == sorted(float(row["mine.py:spread"]) for row in found if row["marked"] == "1")
    assert "mine.py:spread" in (out / "resnet20.quality.csv").read_text().splitlines()[0]
    ranking = json.loads((tmp_path / "resnet20.ranking.json").read_text())
    assert ranking["score"] == "mine.py:spread" and ranking["selected"]
    ((name, digest),) = ranking["provenance"]["plugins"].items()
    assert name == "mine.py:spread" and len(digest) == 64
    table = run("rank", features, "--statistics", "mine.py:spread", "--ranking", tmp_path / "r.json", "--resamples", 0)
    assert "mine.py:spread" in table.splitlines()[1]


def test_a_changed_file_is_measured_anew(features: Path, own: Path, tmp_path: Path) -> None:
    command = ("rank", features, "--statistics", "mine.py:spread", "--resamples", 0)
    before = [float(row["mine.py:spread"]) for row in rows(*command)]
    assert before == [float(row["mine.py:spread"]) for row in rows(*command)]
    own.write_text(OWN.replace("return gram.centred", "return 2 * gram.centred"))
    ranking = features.with_suffix(".ranking.json")
    kept = ranking.read_bytes()
    assert "it holds mine.py:spread as its file was before; --overwrite replaces it" in invoke(*command).stderr
    assert ranking.read_bytes() == kept
    for more in ((), ("--overwrite",)):
        after = [float(row["mine.py:spread"]) for row in rows(*command, *more)]
        assert after == pytest.approx([2 * value for value in before])
    assert ranking.read_bytes() != kept


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "mine.py:nothing gave 'nothing'; a statistic is one finite number, or NaN"),
        ("several", "mine.py:several gave tensor("),
        ("fails", "mine.py:fails fails for a Gram matrix (ZeroDivisionError: division by zero); correct the file"),
        ("ends", "mine.py:ends ends the program (SystemExit: enough) for a Gram matrix; correct the file"),
        ("spreads", "mine.py has no function 'spreads'; closest: 'spread'"),
    ],
)
def test_a_statistic_of_ones_own_that_fails_is_one_line(function: str, message: str, features: Path, own: Path) -> None:
    for option in ("--by", "--statistics"):
        error = run("rank", features, option, f"mine.py:{function}", "--resamples", 0, code=2)
        assert message in error and len(error.splitlines()) == 1


def test_a_statistic_of_ones_own_may_be_undefined(features: Path, own: Path) -> None:
    found = rows("rank", features, "--statistics", "mine.py:unknown", "--resamples", 0)
    assert all(math.isnan(float(row["mine.py:unknown"])) for row in found)


def test_a_rule_of_ones_own(own: Path, photos: Path, tmp_path: Path) -> None:
    assert _chosen("mine.py:last_two:2", photos, tmp_path) == ["layer3.1", "layer3.2"]
    for rule, message in (
        ("backwards:2", "mine.py:backwards gave layer3.2, layer3.1; a rule gives each layer once, in order of depth"),
        ("too_few:2", "mine.py:too_few gave ['layer1.0']; a rule gives the names of 2 of the teacher's layers"),
        (
            "ends_too:2",
            "mine.py:ends_too ends the program (SystemExit: None) for a teacher and a student",
        ),
        ("nowhere:2", "mine.py has no function 'nowhere'"),
        ("last_two:x", "mine.py:last_two:K chooses K layers, K a number from 1; not 'x'"),
    ):
        error = run(*_distillation(f"mine.py:{rule}", photos, tmp_path / "other"), code=2)
        assert message in error
    assert not (tmp_path / "other").exists()


def test_a_rule_and_a_score_of_ones_own_in_a_grid(own: Path, tmp_path: Path) -> None:
    """And a statistic of the catalogue's is a score that a validation tests."""
    grid = {
        "common": {
            "data": {"name": "digits"},
            "training": {"epochs": 1, "batch_size": 20, "train_samples": 40, "test_samples": 20, "device": "cpu"},
        },
        "pairs": {"A to B": {"teacher": "cifar:resnet20", "student": "cifar:resnet20"}},
        "methods": ["feature-only"],
    }
    grid["common"]["teacher"] = {"weights": "random"}
    compared = {**grid, "choices": ["mine.py:last_two:2"]}
    (tmp_path / "g.yaml").write_text(yaml.safe_dump(compared, sort_keys=False))
    table = json.loads(run("compare", tmp_path / "g.yaml", "--output", tmp_path / "grid", "--format", "json"))
    assert [row["choice"] for row in table["rows"] if row["method"] == "feature-only"] == ["mine.py:last_two:2"]
    validated = {**grid, "validate": {"layers": ["layer1.0"], "samples": 40}}
    (tmp_path / "v.yaml").write_text(yaml.safe_dump(validated, sort_keys=False))
    with STATISTICS.registered(SHARE):
        command = ("validate", tmp_path / "v.yaml", "--output", tmp_path / "validation", "--score", "mine.py:spread")
        rows = json.loads(run(*command, "--format", "json"))["rows"]
    assert {row["score"]: row["better"] for row in rows}.items() >= {("gap-share", "low"), ("spread", "high")}


def _distillation(rule: str, photos: Path, folder: Path) -> tuple[object, ...]:
    return (
        "distill", "--teacher", "cifar:resnet20", "--teacher-weights", "random", "--student", "cifar:resnet20",
        "--data", photos, "--image-size", 8, "--layers", rule, "--output", folder, "--epochs", 1, "--batch-size", 20,
        "--device", "cpu",
    )  # fmt: skip


def _chosen(rule: str, photos: Path, folder: Path) -> list[str]:
    """The teacher layers of a run, as its configuration says."""
    run(*_distillation(rule, photos, folder / "run"), "--format", "json")
    layers: str = yaml.safe_load((folder / "run" / "config.yaml").read_text())["layers"]
    return layers.split(",")
