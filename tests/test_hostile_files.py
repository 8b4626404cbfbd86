"""Whatever stands where a command reads or writes: one line and exit code 2, nothing lost, and no waiting."""

from __future__ import annotations

import ast
import math
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

import layerprobe
from layerprobe.cli.main import COMMANDS, app
from layerprobe.data.image_files import FORMATS, SUFFIXES, read_image
from layerprobe.distill.engine.checkpoints import Checkpoints
from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.results import read_grid
from layerprobe.models.weights import load_weights
from layerprobe.models.weights_file import read_weights
from tests.helpers.commands import invoke, run
from tests.helpers.places import (
    DISTILL,
    EXTRACT,
    ONLY_PRINTS,
    OUTPUTS,
    READS,
    SPECIAL,
    WEIGHTS,
    WRITES,
    read_only,
    small_disk,
    time_limit,
    told,
)

PACKAGE = Path(layerprobe.__file__).parent


@pytest.fixture
def here(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder in which version 0.1.0 wrote. Paths in the files begin there, so it is the working one."""
    shutil.copytree(written, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def refused(*words: object) -> str:
    """The one error of a command, which changes nothing below the working folder but what it makes anew."""
    with time_limit(60):
        result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    *before, last = result.stderr.splitlines()
    assert last.startswith("error: ") and not any(line.startswith(("error: ", "Traceback")) for line in before)
    return last


def contents(folder: Path) -> dict[str, object]:
    """Everything below a folder: files by their content, what is none by its kind."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else path.lstat().st_mode
        for path in folder.rglob("*")
    }


def test_the_tables_have_every_command() -> None:
    assert {name.split()[0] for name in WRITES} | {*ONLY_PRINTS} == {*COMMANDS}
    assert {name.split()[0] for name in READS} | {"demo"} == {*COMMANDS}
    assert {name.split()[0] for name in OUTPUTS} | {*ONLY_PRINTS} == {*COMMANDS}


@pytest.mark.parametrize("name", WRITES)
def test_a_place_that_nobody_can_write_to(name: str, here: Path) -> None:
    (here / "place").mkdir()
    with read_only(here / "place"):
        said = refused(*told(WRITES[name], "place"))
        assert "place" in said and ("Read-only file system" in said or "Permission denied" in said)
        assert not any(Path("place").iterdir())


SIZES = {"rank": 4, "rank --output": 24, "report": 40, "compare-layers": 24, "evaluate": 24, "compare": 28}
"""Kilobytes of a disk that is full in the middle of the work; of the other commands twelve."""


@pytest.mark.parametrize("name", WRITES)
def test_a_full_disk(name: str, here: Path) -> None:
    (here / "place").mkdir()
    with small_disk(here / "place", SIZES.get(name, 12)):
        refused(*told(WRITES[name], "place"))
        left = {path.name for path in Path("place").rglob("*")}
    assert not [one for one in left if one.endswith(".partial")]
    for stem in {one.rpartition(".")[0] for one in left if one.endswith((".pdf", ".png", ".svg"))}:
        assert {f"{stem}.{ending}" for ending in ("pdf", "png", "svg", "csv")} <= left, "half a figure"


def test_features_that_nobody_can_write_beside(here: Path) -> None:
    (here / "closed").mkdir()
    shutil.copy("features.h5", "closed")
    with ClosedFolder(here / "closed"):
        said = invoke("rank", "closed/features.h5", "--top", 2, "--resamples", 0, "--ranking", "r.json")
        assert Path("r.json").is_file() and "results are not kept" in said.stderr
        assert "closed" in refused("rank", "closed/features.h5", "--top", 2, "--resamples", 0)


class ClosedFolder:
    """A folder with files that is closed to writers for the length of a block, by a read-only mount of itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        if os.geteuid() != 0:
            self.folder.chmod(0o555)
            return
        for words in (("--bind", self.folder, self.folder), ("-o", "remount,ro,bind", self.folder)):
            if subprocess.call(["mount", *words], stderr=subprocess.DEVNULL):
                pytest.skip("root can write everywhere, and can't mount here")

    def __exit__(self, *_: object) -> None:
        if os.geteuid() != 0:
            self.folder.chmod(0o755)
        else:
            subprocess.run(["umount", "-l", self.folder], check=True)


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", READS)
def test_what_is_no_file_is_not_read(name: str, kind: str, here: Path) -> None:
    word = next(word for word in READS[name] if "{}" in word)
    SPECIAL[kind](here / word.format("thing"))
    before = contents(here)
    assert "thing" in refused(*told(READS[name], "thing"))
    assert contents(here) == before


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", OUTPUTS)
def test_what_is_no_file_is_not_written_or_replaced(name: str, kind: str, here: Path) -> None:
    word = next(word for word in OUTPUTS[name] if "{}" in word)
    target = here / word.format("thing")
    SPECIAL[kind](target)
    before = target.lstat()
    assert "thing" in refused(*told(OUTPUTS[name], "thing"))
    after = target.lstat()
    assert (before.st_mode, before.st_ino) == (after.st_mode, after.st_ino)
    assert Path("/dev/full").is_char_device() and Path("/dev/zero").is_char_device()


@pytest.mark.parametrize("file", ["config.yaml", "result.json", "metrics.csv", "student.safetensors"])
def test_pipes_in_a_run(file: str, here: Path) -> None:
    (here / "student" / file).unlink()
    os.mkfifo(here / "student" / file)
    if file in ("config.yaml", "student.safetensors"):
        refused("evaluate", "student", "--allow-code", "--device", "cpu")
    run_folder = here / "grid" / "runs" / "wide-to-narrow" / "kd" / "seed-0"
    if (run_folder / file).exists():
        (run_folder / file).unlink()
        os.mkfifo(run_folder / file)
        with time_limit(60):
            assert "done" in {one.state for one in read_grid(here / "grid").results}


def test_pipes_among_images_and_in_a_grid(here: Path, photos: Path) -> None:
    (photos / "train" / "cat" / "00.png").unlink()
    os.mkfifo(photos / "train" / "cat" / "00.png")
    said = refused("extract", "--model", "net.py:wide", *WEIGHTS, "--data", photos, "--num-classes", 10, "-o", "p.h5")
    assert "00.png is a pipe, not an image" in said
    (here / "grid" / "grid.yaml").unlink()
    os.mkfifo(here / "grid" / "grid.yaml")
    refused("report", "grid")
    refused("compare", "grid.yaml", "--output", "grid")


def test_links_in_a_folder_that_somebody_sent(here: Path, tmp_path: Path) -> None:
    """Neither what commands write beside their input, nor a report, nor a run that goes on leaves the folder."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "profile").write_text("mine,1\n")
    shutil.copy("features.h5", "f.h5")
    for name in ("f.ranking.json", "f.statistics.npz"):
        Path(name).symlink_to(mine / "new")
    assert "f.ranking.json: it is a link" in refused("rank", "f.h5", "--top", 2, "--resamples", 0)
    run("report", "grid")
    for name in ("table.csv", "grid-bars.svg", "cost.png"):
        Path("grid/report", name).unlink()
        Path("grid/report", name).symlink_to(mine / "profile")
        assert name in refused("report", "grid")
        Path("grid/report", name).unlink()
    shutil.rmtree("grid/report")
    Path("grid/report").symlink_to(mine)
    assert "grid/report is a link" in refused("report", "grid")
    Path("unfinished/metrics.csv").unlink()
    Path("unfinished/metrics.csv").symlink_to(mine / "profile")
    refused("distill", "--config", "unfinished/config.yaml", "--resume", "--output", "unfinished")
    assert contents(mine) == {"profile": b"mine,1\n"}


KINDS = {
    "extract": ("f.h5", (*EXTRACT, *WEIGHTS, "--overwrite", "--output", "f.h5")),
    "extract --stats-only": ("f.h5", (*EXTRACT, *WEIGHTS, "--stats-only", "--overwrite", "--output", "f.h5")),
    "extract over a program": ("p.py", (*EXTRACT, *WEIGHTS, "--overwrite", "--output", "p.py")),
    "rank": ("r.json", ("rank", "features.h5", "--overwrite", "--ranking", "r.json")),
    "rank over figures": ("o/features.quality.pdf", ("rank", "features.h5", "--overwrite", "--output", "o")),
    "compare-layers": (
        "o/features.features.cka.csv", ("compare-layers", "features.h5", "--overwrite", "--output", "o"),
    ),
    "evaluate": (
        "o/confusion-50.png",
        ("evaluate", "student", "--allow-code", "--samples", "50", "--overwrite", "--output", "o"),
    ),
    "distill": ("o/config.yaml", (*DISTILL, "--layers", "3,4", "--overwrite", "--output", "o")),
    "distill over metrics": ("o/metrics.csv", (*DISTILL, "--layers", "3,4", "--overwrite", "--output", "o")),
    "compare": ("o/grid.yaml", ("compare", "grid.yaml", "--output", "o")),
    "report": ("o/index.html", ("report", "grid", "--output", "o")),
    "study": ("o/runs.csv", ("report", "grid", "--study", "o")),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("content", [b"print('mine')\n", b'{"mine": [1, 2]}\n', b"\x00\x01\x02" * 50])
def test_nothing_of_another_kind_is_replaced(name: str, content: bytes, here: Path) -> None:
    target, words = KINDS[name]
    Path(target).parent.mkdir(exist_ok=True)
    Path(target).write_bytes(content)
    assert Path(target).name in refused(*words) or Path(target).parent.name in refused(*words)
    assert Path(target).read_bytes() == content


def test_features_are_no_ranking_and_others_hdf5_files_are_not_ours(here: Path) -> None:
    features = Path("features.h5").read_bytes()
    said = refused("rank", "features.h5", "--ranking", "features.h5", "--overwrite")
    assert "--ranking names a file that ends in .json, not 'features.h5'" in said
    shutil.copy("features.h5", "features.json")
    assert "features.json is not a ranking" in refused(
        "rank", "features.h5", "--ranking", "features.json", "--overwrite"
    )
    assert Path("features.h5").read_bytes() == features == Path("features.json").read_bytes()
    with h5py.File("other.h5", "w") as file:
        file["precious"] = 1
    other = Path("other.h5").read_bytes()
    assert "other.h5 is not a file of features" in refused(*EXTRACT, *WEIGHTS, "--overwrite", "--output", "other.h5")
    assert Path("other.h5").read_bytes() == other
    for damaged in (b"", features[:3000]):
        Path("cut.h5").write_bytes(damaged)
        run(*EXTRACT, *WEIGHTS, "--overwrite", "--output", "cut.h5")
    run("rank", "cut.h5", "--top", 2, "--resamples", 0, "--ranking", "r.json")
    run("rank", "cut.h5", "--top", 1, "--resamples", 0, "--ranking", "r.json", "--overwrite")


@pytest.mark.parametrize("thing", ["x" * 300, "\udcff", "a/" + "y" * 300])
@pytest.mark.parametrize("name", [*READS, *(f"{name} (output)" for name in OUTPUTS)])
def test_names_that_no_file_can_have(name: str, thing: str, here: Path) -> None:
    words = OUTPUTS[name.removesuffix(" (output)")] if name.endswith("(output)") else READS[name]
    before = contents(here)
    refused(*told(words, thing))
    after = contents(here)
    kept = [
        path for path in before if not path.startswith("features.")
    ]  # the ranking and the cache come before figures
    assert {path: after.get(path) for path in kept} == {path: before[path] for path in kept}
    made = [path for path in after if path not in before and not path.startswith("report")]
    assert not any((here / path).is_file() for path in made)


def test_names_with_a_zero_or_half_a_character_in_files(here: Path) -> None:
    for bad in ("\\0", "\\ud800"):
        text = Path("grid.yaml").read_text().replace("name: digits", f'name: "dig{bad}its"')
        Path("bad.yaml").write_text(text)
        assert "bad.yaml" in refused("compare", "bad.yaml", "--output", "new")
    assert not Path("new").exists()


ENDS = {"exit": "raise SystemExit(0)", "other": "raise BaseException('mine')", "generator": "raise GeneratorExit"}
MODEL = """
import sys
from torch import nn
import torch
from net import wide

class Ends(nn.Module):
    def __init__(self, after):
        super().__init__()
        self.inner, self.left = wide(), after
    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            END
        return self.inner(x)

def now(): END
def at_once(): return Ends(0)
def later(): return Ends(4)
def score(gram): END
"""


@pytest.mark.parametrize("end", ENDS)
def test_code_that_ends_the_program_is_an_error(end: str, here: Path) -> None:
    Path("mine.py").write_text(MODEL.replace("END", ENDS[end]))
    brief = ("--data", "digits", "--device", "cpu", "--samples", 30, "--batch-size", 5)
    for network in ("now", "at_once", "later"):
        refused("extract", "--model", f"mine.py:{network}", *brief, "--output", "f.h5")
    refused("layers", "--model", "mine.py:at_once")
    refused("rank", "features.h5", "--by", "mine.py:score", "--ranking", "r.json")
    refused("rank", "features.h5", "--statistics", "mine.py:score", "--ranking", "r.json")
    training = ("--device", "cpu", "--train-samples", 60, "--test-samples", 50, "--batch-size", 10, "--epochs", 1)
    refused("train", "--model", "mine.py:later", "--data", "digits", *training, "--output", "run")
    Path("whole.py").write_text(ENDS[end])
    refused("layers", "--model", "whole.py:net")
    Path("bad.yaml").write_text(Path("grid.yaml").read_text().replace("net.py:narrow", "mine.py:later"))
    result = invoke("compare", "bad.yaml", "--output", "new", code=1)
    assert result.stderr.count("failed: wide to narrow") == 4
    assert {one.state for one in read_grid(Path("new")).results} == {"failed"}


def test_only_images_are_opened(tmp_path: Path) -> None:
    """An EPS file starts Ghostscript, whatever its name."""
    for number, suffix in enumerate(sorted(SUFFIXES)):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
        with pytest.raises(LayerprobeError, match="not a readable image \\(no known format\\)"):
            read_image(path)
    for format in ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF"):
        assert format in FORMATS
        Image.new("RGB", (4, 4), (9, 200, 30)).save(tmp_path / "a.png", format=format)
        assert read_image(tmp_path / "a.png").size == (4, 4)


def calls(name: str) -> Iterator[tuple[Path, ast.Call]]:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
                yield path, node


def test_every_reader_is_told_what_it_may_read() -> None:
    """No pickle is read but with ``weights_only``, and no image but by its format."""
    for name, option, value in (
        ("Image.open", "formats", "FORMATS"),
        ("torch.load", "weights_only", "True"),
        ("np.load", "allow_pickle", "False"),
    ):
        found = list(calls(name))
        assert found
        for path, node in found:
            assert {one.arg: ast.unparse(one.value) for one in node.keywords}.get(option) == value, path
    for name in ("pickle.load", "pickle.loads", "pickle.Unpickler", "yaml.load", "yaml.unsafe_load", "eval", "exec"):
        assert not [path for path, node in calls(name) if name != "yaml.load" or "_Loader" not in ast.unparse(node)]


def test_code_that_a_folder_names_is_not_run_without_leave(here: Path) -> None:
    Path("net.py").write_text(Path("net.py").read_text() + "\nopen('was-run', 'a').close()\n")
    for words in (("evaluate", "student", "--device", "cpu", "--samples", 50), ("report", "validation")):
        said = refused(*words)
        assert "names the network net.py:" in said and "give --allow-code" in said
        assert not Path("was-run").exists()
        run(*words, "--allow-code")
        Path("was-run").unlink()
    run("report", "grid")
    refused("report", "validation", "--output", "elsewhere")
    assert not Path("was-run").exists()
    said = invoke(*DISTILL, "--layers", "3,4", "--output", "run").stderr
    assert "--allow-code" in next(line for line in said.splitlines() if line.startswith("next: layerprobe evaluate"))
    assert "load_student('run', allow_code=True)" in said


def test_methods_that_are_no_plug_ins(here: Path) -> None:
    """A recorded name is not looked up where it may be a file's, and a method may not."""
    for file, words in (("student/config.yaml", ("evaluate", "student")), ("grid/grid.yaml", ("report", "grid"))):
        text = Path(file).read_text()
        Path(file).write_text(re.sub("method: .*", "method: net.py:wide", text))
        assert "no method 'net.py:wide'" in refused(*words)
        Path(file).write_text(text)


TENSORS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "a sparse tensor": lambda own: own.to_sparse(),
    "a tensor without values": lambda own: own.to("meta"),
    "a tensor of complex numbers": lambda own: own.to(torch.complex64),
    "int8 in the file": lambda own: (own * 100).to(torch.int8),
    "bool in the file": lambda own: own > 0,
    "a quantized tensor": lambda own: torch.quantize_per_tensor(own, 0.1, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", TENSORS)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_that_are_no_dense_real_numbers(what: str, suffix: str, tmp_path: Path) -> None:
    value = TENSORS[what](torch.rand(3, 4))
    path = tmp_path / f"w{suffix}"
    model = torch.nn.Linear(4, 3)
    state = {"weight": value, "bias": torch.zeros(3)}
    if suffix == ".pt":
        torch.save(state, path)
    elif value.dtype in (torch.int8, torch.bool) or value.is_complex():
        save_file(state, path)
    else:
        pytest.skip("safetensors holds no such tensors")
    before = model.weight.clone()
    with pytest.raises(LayerprobeError, match=what) as error:
        load_weights(model, read_weights(path), str(path))
    assert "\n" not in str(error.value) and torch.equal(model.weight, before)


def test_weights_of_more_values_than_the_file_has(tmp_path: Path) -> None:
    """What a file of some kilobytes says would take terabytes, as a tensor or as the network that is made for it."""
    torch.save({"fc.weight": torch.zeros(1).expand(10**8, 64)}, tmp_path / "w.pt")
    with pytest.raises(LayerprobeError, match="'fc.weight' is a tensor of more values than the file has"):
        read_weights(tmp_path / "w.pt")


def pack(path: Path) -> None:
    """Compress the members of an archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_archives_that_unpack_to_more_than_they_are(here: Path) -> None:
    torch.save({"weight": torch.zeros(10_000)}, "w.pt")
    pack(Path("w.pt"))
    with pytest.raises(LayerprobeError, match="w.pt would unpack to .* bytes, more than it has"):
        read_weights(Path("w.pt"))
    state = shutil.copy("w.pt", "unfinished/checkpoints/latest/state.pt")
    with pytest.raises(LayerprobeError, match="state.pt would unpack to .*start anew with --overwrite"):
        Checkpoints(Path(state).parents[1], {}).load("latest")
    np.savez_compressed("features.statistics.npz", key=np.zeros(10_000))
    said = invoke("rank", "features.h5", "--top", 2, "--resamples", 0, "--ranking", "r.json").stderr
    assert "features.statistics.npz is damaged" in said and "would unpack to" in said


def test_half_precision_weights_are_taken(tmp_path: Path) -> None:
    model = torch.nn.Linear(4, 3)
    save_file(
        {"weight": torch.full((3, 4), 0.5, dtype=torch.float16), "bias": torch.zeros(3)}, tmp_path / "w.safetensors"
    )
    load_weights(model, read_weights(tmp_path / "w.safetensors"), "w")
    assert math.isclose(float(model.weight.detach().sum()), 6.0)


def test_results_that_can_not_be_written(here: Path) -> None:
    for words, code in ((["inspect", "features.h5"], 2), (["--help"], 2)):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "layerprobe", *words],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=120,
            )
        assert done.returncode == code and done.stderr.startswith("error: can't write"), done.stderr
        assert done.stderr.count("\n") == 1


def test_input_from_a_terminal_or_a_pipe_is_not_waited_for(here: Path) -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "layerprobe", "compare", "/dev/stdin", "--output", "new"], stdin=subprocess.PIPE,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2 and "/dev/stdin is a pipe, not a grid file" in done.stderr
    assert time.monotonic() - begun < 100
