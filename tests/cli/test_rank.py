"""Networks ranked and drawn, as the command does it."""

import csv
import io
import json
import shlex
from pathlib import Path

import h5py
import pytest
from typer.testing import CliRunner

from layerprobe.cli.main import app
from layerprobe.errors import LayerprobeError
from layerprobe.geometry.catalogue import FAMILIES, SCORES, TWO_VIEWS
from layerprobe.ranking.file import load_ranking
from layerprobe.report.figures.catalogue import FIGURES
from layerprobe.settings.rank import RankSettings
from tests.helpers.commands import invoke, run


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = []
    for model, samples, layers in (("cifar:resnet20", 60, "1:6"), ("cifar:resnet32", 40, "1:4")):
        path = tmp_path / f"{model.partition(':')[2]}.h5"
        run("extract", "--model", model, "--weights", "random", "--data", "digits", "--samples", samples,
            "--layers", layers, "--output", path, "--quiet")  # fmt: skip
        paths.append(path)
    return paths[0], paths[1]


def test_every_figure_and_statistic_in_one_command(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "figures"
    command = ("rank", files[0], "--statistics", "all", "--figures", "all", "--sizes", "2,3,6", "--resamples", 8)
    table = run(*command, "--output", out, "--top", 2, "--width", "column")
    for title in (
        "TwoNN",
        "MLE",
        "PCA-90",
        "PCA-95",
        "eff. rank",
        "PR",
        "NC1",
        "10-NN",
        "probe",
        "LogME",
        "RankMe",
        "Q_clu",
    ):
        assert title in table
    ends = ("pdf", "svg", "png", "csv")
    assert {path.name for path in out.iterdir()} == {f"resnet20.{name}.{end}" for name in FIGURES for end in ends}
    ranking = load_ranking(tmp_path / "resnet20.ranking.json")
    assert ranking.provenance["statistics"] == sorted(set(FAMILIES) - {TWO_VIEWS})
    assert len(ranking.evenly_spread) == 2


def test_a_second_time_with_more_statistics_keeps_the_first_ones(files: tuple[Path, Path], tmp_path: Path) -> None:
    run("rank", files[0], "--top", 2, "--resamples", 8, "--statistics", "collapse")
    first = (tmp_path / "resnet20.ranking.json").read_bytes()
    assert "NC1" not in run("rank", files[0], "--top", 2, "--resamples", 8)
    assert (tmp_path / "resnet20.ranking.json").read_bytes() == first
    table = run("rank", files[0], "--top", 2, "--resamples", 8, "--statistics", "neighbours")
    assert "TwoNN" in table and "NC1" not in table
    statistics = load_ranking(tmp_path / "resnet20.ranking.json").geometries[0].statistics
    assert {"nc1", "twonn"} <= statistics.keys()


def test_another_table_is_printed_and_the_ranking_stays(files: tuple[Path, Path], tmp_path: Path) -> None:
    ranking = tmp_path / "resnet20.ranking.json"
    run("rank", files[0], "--top", 2, "--resamples", 8, "--statistics", "collapse")
    first = ranking.read_bytes()
    for change, differs, same_layers in (
        (("--top", 3), "the top 2 by quality", False),
        (("--by", "depth"), "the top 2 by quality", False),
        (("--level", 0.8), "intervals with level 0.9", True),
        (("--seed", 5), "intervals with seed 0", True),
        (("--resamples", 0), "intervals with resamples 8, level 0.9, seed 0", True),
    ):
        options = {"--top": 2, "--resamples": 8, "--format": "latex"} | dict([change])
        result = invoke("rank", files[0], *(part for pair in options.items() for part in pair))
        assert "\\begin{tabular}" in result.stdout and "NC1" not in result.stdout
        remedy = "--overwrite replaces it, and --ranking FILE writes another file"
        assert f"{ranking} was not changed, since it holds {differs}; {remedy}" in result.stderr
        assert ("next: layerprobe distill" in result.stderr) == same_layers
        assert ranking.read_bytes() == first
    assert "was not changed" not in invoke("rank", files[0], "--top", 3, "--resamples", 0, "--overwrite").stderr
    assert len(load_ranking(ranking).selected) == 3


def test_columns_are_measured_where_they_are_asked_for(files: tuple[Path, Path], tmp_path: Path) -> None:
    command = ("rank", files[0], "--top", 2, "--resamples", 8, "--format", "csv", "--columns")
    (tmp_path / "mine.py").write_text("def half(gram):\n    return 0.5\n")
    own = f"{tmp_path / 'mine.py'}:half"
    heading = run(*command, f"Q,nc1,quality-normalised,{own}").splitlines()[0]
    ends = (f"{score}{end}" for score in ("quality", "quality-normalised") for end in ("", "_low", "_high"))
    assert set(heading.split(",")) == {"name", "nc1", own, "marked", *ends}
    assert {"nc1", own} <= load_ranking(tmp_path / "resnet20.ranking.json").geometries[0].statistics.keys()
    shares = run("rank", files[0], "--top", 2, "--resamples", 0, "--format", "csv", "--columns", "top_share")
    assert shares.splitlines()[:2] == ["name,top_share,marked", "layer1.0,,1"]
    message = run(*command, "qualty", code=2)
    assert "--columns: the table has no column 'qualty'; closest: 'quality'" in message
    wide = invoke(*command[:-3], "--statistics", "all", "--format", "latex", "--columns", "all")
    assert "the LaTeX table is about" in wide.stderr and wide.stdout.count("\\begin{tabular}") == 1


def test_the_next_command_has_every_option_that_matters(tmp_path: Path) -> None:
    features, data = tmp_path / "f.h5", ("--mean", "0.5", "--std", "0.25", "--data-root", str(tmp_path / "my data"))
    extract = ("extract", "--model", "cifar:resnet20", "--weights", "random", "--num-classes", 10, "--data", "digits")
    said = invoke(*extract, *data, "--samples", 40, "--layers", "1:4", "--device", "cpu", "--output", features).stderr
    assert said.splitlines()[-1] == f"next: layerprobe rank --device cpu {features}"
    command = ("rank", features, "--top", 2, "--resamples", 0, "--device", "cpu")
    *_, following, about = invoke(*command).stderr.splitlines()
    words = shlex.split(following)
    assert words[:3] == ["next:", "layerprobe", "distill"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert given == {
        "--output": "...", "--teacher": "cifar:resnet20", "--teacher-weights": "random", "--teacher-num-classes": "10",
        "--student": "...", "--data": "digits", **dict(zip(data[::2], data[1::2], strict=True)),
        "--layers": "even-information:2", "--device": "cpu",
    }  # fmt: skip
    ranking = tmp_path / "f.ranking.json"
    assert about.endswith(f"is the rule that we recommend; --layers {ranking} takes the layers marked above")
    chosen = invoke(*command, "--by", "depth", "--overwrite").stderr.splitlines()[-1]
    assert f"--layers {ranking}" in chosen and "recommend" not in chosen


def test_features_with_options_that_distill_lacks_are_ranked(files: tuple[Path, Path], tmp_path: Path) -> None:
    """As a later version may write them: the results are there, without a next command."""
    with h5py.File(files[0], "a") as file:
        file.attrs["data_options"] = json.dumps({"colours": 1, "<b>": 2})
    result = invoke("rank", files[0], "--top", 2, "--resamples", 0)
    assert result.stdout and (tmp_path / "resnet20.ranking.json").exists() and "next:" not in result.stderr
    assert "warning: no next command, since" in result.stderr and "'data.colours'" in result.stderr


def test_what_is_asked_for_again_is_drawn_again(files: tuple[Path, Path], tmp_path: Path) -> None:
    """In another form, or after an interruption; another choice of layers is another figure."""
    out = tmp_path / "figures"
    command = ("rank", *files, "--top", 2, "--resamples", 0, "--output", out)
    run(*command)
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "resnet32.quality.csv").unlink()
    (out / "relative-depth.png").unlink()
    run(*command)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    run(*command, "--width", "column", "--resamples", 8)
    assert {path.name for path in out.iterdir()} == set(whole)
    assert (out / "resnet20.quality.png").read_bytes() != whole["resnet20.quality.png"]
    for change in (("--top", 3), ("--by", "depth")):
        assert "resnet20.quality.pdf exists; --overwrite replaces it" in run(*command, *change, code=2)
    for path in out.iterdir():
        if path.suffix != ".csv":
            path.unlink()
    assert "resnet20.quality.csv exists" in run(*command, code=2)  # who wrote it can't be told


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_a_file_of_ones_own_is_not_drawn_over(ending: str, files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "figures"
    command = ("rank", files[0], "--top", 2, "--resamples", 0, "--output", out)
    run(*command)
    (out / f"resnet20.quality.{ending}").write_text("mine")
    assert "exists; --overwrite replaces it" in run(*command, code=2)
    assert (out / f"resnet20.quality.{ending}").read_text() == "mine"


@pytest.mark.parametrize("by", [name for name, one in SCORES.items() if one.family != TWO_VIEWS])
def test_distill_takes_the_ranking_of_every_score(by: str, files: tuple[Path, Path], tmp_path: Path) -> None:
    run("rank", files[0], "--top", 2, "--resamples", 8, "--by", by, "--ranking", tmp_path / "r.json")
    ranking = load_ranking(tmp_path / "r.json")
    assert ranking.score == by and len(ranking.selected) == 2
    if by == "depth":
        assert ranking.selected == tuple(geometry.layer.name for geometry in ranking.geometries[-2:])
        assert ranking.geometries[0].top_share is None


def test_several_networks(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "figures"
    command = ("rank", *files, "--top", 2, "--resamples", 8, "--output", out)
    result = CliRunner().invoke(app, [str(part) for part in command], catch_exceptions=False)
    assert "warning: the samples have 4 and 6 images per class: I and Q grow with that number" in result.stderr
    assert "cifar:resnet20: layers by quality" in result.stdout and "cifar:resnet32: layers" in result.stdout
    assert {path.name for path in out.glob("*.csv")} == {
        "resnet20.quality.csv", "resnet32.quality.csv", "relative-depth.csv",
    }  # fmt: skip
    assert (tmp_path / "resnet32.ranking.json").exists()
    rows = list(csv.DictReader(io.StringIO(run(*command[:-2], "--format", "csv"))))
    assert [row["table"].partition(" ")[0] for row in rows] == ["cifar:resnet20:"] * 5 + ["cifar:resnet32:"] * 3
    assert len(json.loads(run(*command[:-2], "--format", "json"))) == 2


def test_layers_of_two_files_are_compared(files: tuple[Path, Path], tmp_path: Path) -> None:
    assert "hold other images" in run("compare-layers", *files, code=2)
    out = tmp_path / "figures"
    rows = list(csv.DictReader(io.StringIO(run("compare-layers", files[0], "--output", out, "--format", "csv"))))
    assert len(rows) == 5 and float(rows[2]["cka_3"]) == pytest.approx(1)
    assert (out / "resnet20.resnet20.cka.pdf").exists()
    run("compare-layers", files[0], "--output", out, "--debiased")  # the same in another form
    (out / "resnet20.resnet20.cka.svg").write_text("mine")
    assert "exists; --overwrite replaces it" in run("compare-layers", files[0], "--output", out, code=2)


def test_what_cannot_be_kept_is_not(files: tuple[Path, Path], tmp_path: Path) -> None:
    run("rank", files[0], "--top", 2, "--resamples", 0, "--no-cache")
    assert not list(tmp_path.glob("*.npz"))


def test_bad_requests(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "figures"
    for arguments, message in (
        (("--output", out, "--figures", "portrait"), "--figures: no figure 'portrait'; closest: 'spectra'"),
        (("--output", out, "--figures", "sizes"), "--figures sizes needs --sizes, such as 10,25,50"),
        (("--sizes", "2,x"), "--sizes is a whole number, not 'x'"),
        (("--sizes", "2,99", "--output", out), "--sizes: 99 images per class, but a class has 6"),
        (
            ("--sizes", "2,3"),
            "--sizes are shown in a figure, which needs a folder; give --output DIR",
        ),
        (("--figures", "cka"), "--figures need a folder to be written to; give --output DIR"),
        (("--statistics", "all,foo"), "no statistics 'foo'; known: 'neighbours', 'dimensions'"),
        (("--by", "mle"), "--by: no score 'mle'; closest: 'logme'"),
        (("--by", "beauty"), "no score 'beauty'; known: 'separation', 'information'"),
        (("--width", "poster"), "--width is one of 'column', 'page'; not 'poster'"),
        (("--style", tmp_path / "no.mplstyle"), "no style sheet at"),
    ):
        assert message in run("rank", files[0], *arguments, code=2)
    assert not out.exists()
    with pytest.raises(LayerprobeError, match="ranking names one file, but there are several networks"):
        RankSettings(features=files, ranking=tmp_path / "r.json")
    with pytest.raises(LayerprobeError, match="two files are called 'resnet20'"):
        RankSettings(features=(files[0], tmp_path / "other" / "resnet20.h5"))


def test_figures_that_exist_are_refused_before_any_work(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "resnet20.quality.svg").write_text("mine")
    message = run("rank", files[0], "--top", 2, "--resamples", 0, "--output", tmp_path, code=2)
    assert "resnet20.quality.svg exists" in message
    assert not list(tmp_path.glob("*.ranking.json")) and not list(tmp_path.glob("*.npz"))
