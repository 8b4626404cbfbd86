"""The commands, as a user runs them."""

import csv
import io
import json
import os
import re
import signal
import time
from pathlib import Path

import h5py
import pytest
from typer.testing import CliRunner

from layerprobe.cli.main import COMMANDS, app, load_command
from layerprobe.distill.methods.catalogue import METHODS
from layerprobe.report.tables.table import TABLE_FORMATS
from layerprobe.settings.describe import describe
from tests.helpers.commands import invoke

ROOT = Path(__file__).parents[2]


def refused(*arguments: object) -> str:
    """The one line of a command that exits with code 2."""
    error = invoke(*arguments, code=2).stderr
    assert error.startswith("error: ") and error.count("\n") == 1, error
    return error


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("extracted") / "r20.h5"
    invoke(
        "extract", "--model", "cifar:resnet20", "--weights", "random", "--data", "digits", "--samples", 60,
        "--output", path, "--quiet",
    )  # fmt: skip
    return path


def test_layers_in_every_format() -> None:
    rows = json.loads(invoke("layers", "--model", "cifar:resnet56", "--format", "json").stdout)["rows"]
    assert len(rows) == 29 and (rows[25]["name"], rows[25]["shape"]) == ("layer3.6", "64x8x8")
    for format in TABLE_FORMATS:
        assert "linear.input" in invoke("layers", "--model", "cifar:resnet20", "--format", format).stdout.replace(
            "\\", ""
        )


def test_extract_says_what_it_does_on_stderr_only(tmp_path: Path) -> None:
    result = invoke(
        "extract", "--model", "cifar:resnet20", "--weights", "random", "--data", "digits", "--samples", 20,
        "-o", tmp_path / "f.h5",
    )  # fmt: skip
    assert result.stdout == ""
    assert "preprocessing: 8x8 pixels" in result.stderr and "20 images (2 per class)" in result.stderr
    assert result.stderr.endswith(f"wrote {tmp_path / 'f.h5'}\nnext: layerprobe rank {tmp_path / 'f.h5'}\n")


def test_rank_writes_the_ranking_and_the_figures(extracted: Path, tmp_path: Path) -> None:
    result = invoke("rank", extracted, "--output", tmp_path, "--top", 3, "--overwrite")
    ranking = json.loads((extracted.parent / "r20.ranking.json").read_text())
    assert len(ranking["selected"]) == 3 and ranking["format_version"] == 3
    assert sum(line.startswith("*") for line in result.stdout.splitlines()) == 3
    assert {path.name for path in tmp_path.iterdir()} == {f"r20.quality.{end}" for end in ("pdf", "svg", "png", "csv")}


def test_rank_again_in_another_format_needs_no_overwrite(extracted: Path) -> None:
    invoke("rank", extracted, "--top", 3, "--overwrite", "--quiet")
    before = (extracted.parent / "r20.ranking.json").read_bytes()
    rows = list(csv.DictReader(io.StringIO(invoke("rank", extracted, "--top", 3, "--format", "csv").stdout)))
    assert sum(row["marked"] == "1" for row in rows) == 3
    assert "it holds the top 3 by quality; --overwrite replaces it" in invoke("rank", extracted, "--top", 2).stderr
    assert (extracted.parent / "r20.ranking.json").read_bytes() == before


def test_train_extract_rank_distill(tmp_path: Path) -> None:
    """The whole chain on a folder of images, in the words of the documentation."""
    from layerprobe.data.datasets import open_dataset

    data = tmp_path / "digits"
    for split in ("train", "test"):
        dataset = open_dataset("digits", split=split)
        for row in range(150):
            path = data / split / dataset.classes[dataset.labels[row]] / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            dataset.image(row).save(path)
    common = ("--data", data, "--epochs", 2, "--batch-size", 32, "--device", "cpu")
    invoke("train", "--model", "cifar:resnet32", "--output", tmp_path / "teacher", *common)
    weights = tmp_path / "teacher" / "model.safetensors"
    invoke("extract", "--model", "cifar:resnet32", "--weights", weights, "--data", data, "--output", tmp_path / "t.h5")
    invoke("rank", tmp_path / "t.h5", "--top", 2)
    result = invoke(
        "distill", "--teacher", "cifar:resnet32", "--teacher-weights", weights, "--student", "cifar:resnet20",
        "--layers", tmp_path / "t.ranking.json", "--output", tmp_path / "run", *common, "--format", "json",
    )  # fmt: skip
    rows = {row["what"]: row["accuracy"] for row in json.loads(result.stdout)["rows"]}
    assert set(rows) == {"teacher", "feature-only, last epoch", "feature-only, best epoch on test"}
    assert "epoch 2/2  features " in result.stderr
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "checkpoints", "config.yaml", "metrics.csv", "result.json", "student.safetensors", "curves.pdf", "curves.svg",
        "curves.png", "curves.csv",
    }  # fmt: skip


def test_bad_input_is_one_line_and_exit_code_2(extracted: Path, tmp_path: Path, photos: Path) -> None:
    new = ("--output", tmp_path / "new")
    extract = ("extract", "--data", "digits", "--weights", "random", *new)
    assert "closest: 'resnet56'" in refused("layers", "--model", "cifar:resnet57")
    assert "timm" in refused("layers", "--model", "timm:resnet5x")
    assert "no data set and no folder 'digit'" in refused(
        "extract", "--model", "cifar:resnet20", "--weights", "random", "--data", "digit", *new
    )
    assert "closest: 'layer3.2'" in refused(*extract, "--model", "cifar:resnet20", "--layers", "layer3.22")
    (tmp_path / "w.pt").write_bytes(b"no weights")
    weights = ("--model", "cifar:resnet20", "--data", "digits", *new, "--weights")
    assert "w.pt" in refused("extract", *weights, tmp_path / "w.pt")
    other = extracted.parent / "student.safetensors"
    from layerprobe.models.weights import save_weights
    from layerprobe.models.zoo import build_model

    save_weights(build_model("cifar:resnet32", seed=0), other, {})
    assert "layer1.3" in refused("extract", *weights, other)
    (tmp_path / "empty").mkdir()
    assert "no class folders" in refused(*extract[:1], "--model", "cifar:resnet20", "--data", tmp_path / "empty",
                                         "--weights", "random", *new)  # fmt: skip
    broken = photos / "train" / "cat" / "00.png"
    broken.write_bytes(broken.read_bytes()[:100])
    assert "00.png is not a readable image" in refused(
        "extract", "--model", "cifar:resnet20", "--data", photos, "--weights", "random", "--samples", "all",
        "--image-size", "32", *new,
    )  # fmt: skip
    assert "not an HDF5 file" in refused("rank", tmp_path / "w.pt")
    assert "--top is 99, but" in refused("rank", extracted, "--top", 99, "--ranking", tmp_path / "r.json")
    assert "r20.h5 exists" in refused("extract", "--model", "cifar:resnet20", "--data", "digits", "--weights", "random",
                                      "--output", extracted)  # fmt: skip
    for mean, message in (("a,b", "--mean is a number, not 'a'"), ("0,1", "--mean is one number or three")):
        assert message in refused(*extract, "--model", "cifar:resnet20", "--mean", mean, "--std", "1")
    assert "--samples is a whole number" in refused(*extract, "--model", "cifar:resnet20", "--samples", "some")
    assert "--format is one of" in refused("rank", extracted, "--format", "xml")
    assert not (tmp_path / "new").exists()


def test_an_output_that_cannot_be_written_is_one_line(extracted: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    inside = tmp_path / "file" / "deep"
    model = ("--model", "cifar:resnet20", "--data", "digits")
    for command in (
        ("extract", *model, "--weights", "random", "--samples", 20, "--output", inside / "f.h5"),
        ("train", *model, "--epochs", 1, "--train-samples", 20, "--test-samples", 10, "--output", inside),
        ("rank", extracted, "--overwrite", "--output", inside),
    ):
        result = invoke(*command, code=2)
        assert result.stderr.splitlines()[-1].startswith("error: "), result.stderr
        assert ": Not a directory; " in result.stderr


def test_a_missing_option_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["extract"]).exit_code == 2


@pytest.mark.parametrize("moment", ["layerprobe.networks.find_model_layers", "typer.core.TyperGroup.make_context"])
def test_an_interruption_says_so_and_exits_with_130(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(moment, interrupt)
    said = invoke("layers", "--model", "cifar:resnet20", code=130).stderr
    assert said == "interrupted; the same command goes on\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_error_that_a_signal_brings_about_is_the_interruption(
    number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def swallow(*_: object) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            raise RuntimeError("unexpected pos 64 vs 0")

    monkeypatch.setattr("layerprobe.distill.session.open_split", swallow)
    before = signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler
    signal.signal(number, before)  # what is started in the background of a shell may ignore Ctrl-C
    said = invoke("train", "--model", "cifar:resnet20", "--data", "digits", "--output", tmp_path / "run", code=code)
    assert said.stderr == "interrupted; the same command with --resume goes on\n"
    assert signal.getsignal(number) == before


def test_the_command_line_names_every_method() -> None:
    method = next(option for _, option in load_command("distill").options if option.flag == "--method")
    assert tuple(describe(method).choices) == tuple(METHODS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples_and_stands_in_the_docs(command: str) -> None:
    help = invoke(command, "--help").stdout
    assert "Examples:" in help and f"layerprobe {command}" in help
    assert f"## layerprobe {command}" in (ROOT / "docs" / "commands.md").read_text()
    assert f"layerprobe {command}" in (ROOT / "README.md").read_text()


def test_files_that_examples_name_are_there() -> None:
    text = " ".join(load_command(name).examples for name in COMMANDS)
    names = re.findall(r"examples/[\w./-]+", text)
    assert names and [name for name in names if not (ROOT / name).is_file()] == []


def test_layers_shows_what_a_pattern_selects_and_the_bytes_it_takes() -> None:
    options = ("--model", "cifar:resnet56", "--layers", "layer3.*,0-1", "--pool", "avg:4", "--dtype", "float16")
    table = json.loads(invoke("layers", *options, "--samples", 1000, "--format", "json").stdout)
    assert [row["index"] for row in table["rows"]] == [0, 1, *range(19, 28)]
    assert {row["stored"] for row in table["rows"]} == {"16x4x4", "64x4x4"}
    assert table["details"] == {"images": 1000, "dtype": "float16", "bytes": 1000 * 2 * (2 * 256 + 9 * 1024)}


def test_inspect_says_what_is_in_a_file(extracted: Path, tmp_path: Path) -> None:
    result = invoke("inspect", extracted, "--verify")
    assert "11 layers of 60 images in float32, complete" in result.stdout
    assert "model: cifar:resnet20, weights: random (SHA-256 " in result.stdout
    assert "checksums: every row is what was written" in result.stdout
    details = json.loads(invoke("inspect", extracted, "--format", "json").stdout)["details"]
    assert (details["complete"], details["rows_done"], details["damaged"]) == (True, 60, None)
    damaged = tmp_path / "damaged.h5"
    data = bytearray(extracted.read_bytes())
    data[-10] ^= 1  # inside the last layer
    damaged.write_bytes(data)
    result = invoke("inspect", damaged, "--verify", code=2)
    assert "damaged rows" in result.stdout
    assert "error: " in result.stderr and "rows of linear.input are not what was written" in result.stderr
    assert "extract it again with --overwrite" in result.stderr


def test_gram_matrices_without_features(tmp_path: Path) -> None:
    path = tmp_path / "g.h5"
    options = ("--model", "cifar:resnet20", "--weights", "random", "--data", "digits", "--samples", "60")
    result = invoke("extract", *options, "--layers", "layer3.*", "--stats-only", "--output", path)
    assert "Gram matrices of 3 layers of 60 images in 1 pass" in result.stderr
    assert "Gram matrices of 3 layers of 60 images" in invoke("inspect", path).stdout
    assert "which have no checksums; leave --verify out" in invoke("inspect", path, "--verify", code=2).stderr
    assert "chosen by quality" in invoke("rank", path, "--top", "2").stdout
    assert (tmp_path / "g.ranking.json").exists()


def test_the_papers_samples(tmp_path: Path) -> None:
    """A preset asks for the second sample, an option for another size of it; tables say both sizes."""
    options = ("--model", "cifar:resnet20", "--weights", "random", "--data", "digits", "--layers", "-1")
    paper, small = tmp_path / "paper.h5", tmp_path / "small.h5"
    said = invoke("extract", *options, "--preset", "paper", "--samples", 60, "--output", paper).stderr
    assert "spectra of the classes: from 1198 images of their own, up to 500 of every class" in said
    invoke("extract", *options, "--preset", "paper", "--samples", 60, "--spectrum-samples", 8, "--output", small)
    assert "spectra of 80 images (8 per class): up to 8 of every class" in invoke("inspect", small, "--verify").stdout
    details = json.loads(invoke("inspect", paper, "--format", "json").stdout)["details"]
    assert details["spectrum_sample"]["requested"] == 500 and details["sample"]["per_class"] == 6
    result = invoke(
        "rank", paper, small, "--top", 1, "--resamples", 4, "--sizes", "3,6", "--output", tmp_path / "figures"
    )
    assert "60 images (6 per class) of 1198 in digits, split train; spectra of 1198 images (" in result.stdout
    assert "60 images (6 per class) of 1198 in digits, split train; spectra of 80 images (8 per class)" in result.stdout
    assert "warning: the samples have 6, " in result.stderr and "6, 8 for spectra, images per class" in result.stderr
    assert "--sizes: smaller samples have the spectra of their own images" in result.stderr
    ranking = json.loads((tmp_path / "small.ranking.json").read_text())
    assert ranking["provenance"]["spectrum_sample"]["per_class"] == 8
    assert "exists, and is another extraction" in invoke("extract", *options, "--output", small, code=2).stderr


def test_an_unfinished_file_is_inspected_and_not_ranked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerprobe.features.hdf5.reader import FeatureFile
    from layerprobe.features.hdf5.writer import FeatureFileWriter

    command = (
        "extract", "--model", "cifar:resnet20", "--weights", "random", "--data", "digits", "--samples", 60,
        "--batch-size", 20, "--output", tmp_path / "f.h5",
    )  # fmt: skip
    write = FeatureFileWriter.write

    def write_once(self: FeatureFileWriter, start: int, features: list[object]) -> None:
        if start:
            raise KeyboardInterrupt
        write(self, start, features)

    with monkeypatch.context() as patched:
        patched.setattr(FeatureFileWriter, "write", write_once)
        error = invoke(*command, code=130).stderr
    assert f"stopped: 20 of 60 rows are in {tmp_path / 'f.h5'}; the same command goes on from there" in error
    assert "unfinished: 20 of 60 rows" in invoke("inspect", tmp_path / "f.h5", "--verify").stdout
    assert "f.h5 is unfinished: 20 of 60 rows" in refused("rank", tmp_path / "f.h5")
    with FeatureFile(tmp_path / "f.h5", unfinished=True) as file:
        row = int(file.written.nonzero()[0])
    with h5py.File(tmp_path / "f.h5", "r+") as file:
        file["layers/000003"][row] = 0
    error = invoke("inspect", tmp_path / "f.h5", "--verify", code=2).stderr
    assert "the `layerprobe extract` command that began it computes them again" in error and "--overwrite" not in error
    assert "going on: 19 of 60 rows" in invoke(*command).stderr
    assert "is complete: nothing to do" in invoke(*command).stderr
