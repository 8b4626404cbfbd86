"""Reports of files and folders: which page is written, from what, and what is left alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.kept import read_evaluations
from layerprobe.experiments.reports import report_on
from layerprobe.ranking.file import load_ranking
from layerprobe.ranking.kept import read_ranked
from layerprobe.report.html.page import GENERATOR
from layerprobe.settings.report import ReportSettings
from tests.helpers.commands import invoke, run
from tests.helpers.pages import read_page


@pytest.fixture(scope="module")
def folder(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature file with its ranking and every result kept, and the runs of version 0.1.0."""
    here = tmp_path_factory.mktemp("reports")
    for name in ("features.h5", "student"):
        (shutil.copytree if (written / name).is_dir() else shutil.copy)(written / name, here / name)
    views = ("--figures", "spectra,plane", "--output", here / "figures")
    invoke("rank", here / "features.h5", "--top", 2, "--resamples", 0, "--statistics", "neighbours", *views)
    return here


def test_a_feature_file_is_shown_with_all_that_is_kept(folder: Path) -> None:
    ranking = load_ranking(folder / "features.ranking.json")
    found = read_ranked(folder / "features.h5")
    assert found.selected == ranking.selected and set(found.views) == {"spectrum", "plane"}
    for one, other in zip(found.geometries, ranking.geometries, strict=True):
        assert other.statistics.items() <= one.statistics.items() and one.intervals == other.intervals
    said = invoke("report", folder / "features.h5")
    assert "layers by quality" in said.stdout and f"wrote {folder}/features.report.html" in said.stderr
    text = (folder / "features.report.html").read_text(encoding="utf-8")
    seen = read_page(text)
    assert len(seen.all("figure")) == 4  # scores, spectra, dimensions and planes
    (command,) = [pre.text for pre in seen.all("pre")]
    assert command.startswith("layerprobe rank ") and "--figures cka,distances" in command and "--top 2" in command
    assert "--resamples 0" in command and "--sizes" in command


def test_a_ranking_of_other_features_is_passed_over(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(folder / "features.h5", folder / "other.h5")
    values = json.loads((folder / "features.ranking.json").read_text())
    values["provenance"]["created"] = "before"
    (folder / "other.ranking.json").write_text(json.dumps(values))
    found = read_ranked(folder / "other.h5")
    assert len(found.selected) == 4 and found.provenance["created"] != "before"
    assert "other.ranking.json is of other features" in caplog.text


def test_a_run_with_its_classes(folder: Path) -> None:
    counts = "class,taken_for,images,percent\na,a,3,75\na,b,1,25\nb,a,0,0\nb,b,4,100\n"
    (folder / "student" / "confusion.csv").write_text(counts)
    (evaluation,) = read_evaluations(folder / "student").values()
    assert evaluation.classes == ("a", "b") and torch.equal(evaluation.confusion, torch.tensor([[3, 1], [0, 4]]))
    written = report_on(ReportSettings(sources=(folder / "student",)))
    assert written.files == (folder / "student" / "report.html",)
    text = written.files[0].read_text(encoding="utf-8")
    assert "load_student(" in text and "75.00" in [cell.text for cell in read_page(text).all("td")]
    for broken in ("class,taken_for,images\na,b,1\n", "class,images\na,1\n", "class,taken_for,images\na,a,x\n"):
        (folder / "student" / "confusion-x.csv").write_text(broken)
        with pytest.raises(LayerprobeError, match=r"confusion-x\.csv.*`layerprobe evaluate RUN --overwrite`"):
            read_evaluations(folder / "student")
    (folder / "student" / "confusion-x.csv").unlink()


def test_networks_are_compared(folder: Path) -> None:
    values = json.loads((folder / "features.ranking.json").read_text())
    values["provenance"]["model"] = "other"
    (folder / "b.ranking.json").write_text(json.dumps(values))
    sources = (folder / "features.ranking.json", folder / "b.ranking.json")
    said = invoke("report", *sources, "--output", folder / "pages")
    page = folder / "pages" / "features.b.report.html"
    assert f"wrote {page}" in said.stderr and "other" in said.stdout
    before = page.read_bytes()
    invoke("report", *sources, "--output", folder / "pages")
    assert page.read_bytes() == before
    assert "name each network once, or rename one" in run("report", sources[1], sources[1], code=2)


def test_a_column_that_no_table_has_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.ranking.json"
    values = json.loads((folder / "features.ranking.json").read_text())
    values["provenance"]["model"] = "other"
    other.write_text(json.dumps(values))
    for sources in ((other,), (folder / "features.ranking.json", other), (folder / "student",)):
        said = run("report", *sources, "--columns", "nonsense", "--output", tmp_path / "out", code=2)
        assert "--columns: the table has no column 'nonsense'" in said
        assert not (tmp_path / "out").exists()


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    ranking = folder / "features.ranking.json"
    page = tmp_path / "features.report.html"
    page.write_text(f"<!doctype html><head>{GENERATOR}</head>")
    values = json.loads(ranking.read_text())
    values["provenance"]["weights_sha256"] = "0" * 64
    other = tmp_path / "features.ranking.json"
    other.write_text(json.dumps(values))
    before = page.read_bytes()
    assert "is the page of another network or run; --overwrite" in run("report", other, code=2)
    assert page.read_bytes() == before
    invoke("report", other, "--overwrite", "--quiet")
    page.write_text("<h1>mine</h1>")
    assert "not a page of layerprobe" in run("report", ranking, "--output", tmp_path, "--overwrite", code=2)
    page.unlink()
    page.symlink_to(tmp_path / "elsewhere")
    assert "it is a link" in run("report", ranking, "--output", tmp_path, code=2)
    assert not (tmp_path / "elsewhere").exists()
    assert "is a file; --output names a folder" in run("report", ranking, "--output", other, code=2)
    assert "no feature file at" in run("report", tmp_path / "nothing.h5", code=2)
    assert "holds no grid" in run("report", tmp_path, code=2)
    assert "there is no file or folder" in run("report", tmp_path / "nothing", code=2)
    assert "is a folder, and several sources are files" in run("report", ranking, folder / "student", code=2)
    assert "--study packs a grid" in run("report", ranking, "--study", tmp_path / "s", code=2)
    assert "--study packs one grid, not 2 files" in run("report", ranking, other, "--study", tmp_path / "s", code=2)
    assert "is no finished run" in run("report", _unfinished(folder, tmp_path), code=2)
    assert "no style sheet at" in run("report", ranking, "--style", tmp_path / "none.mplstyle", code=2)


def _unfinished(folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    shutil.copy(folder / "student" / "config.yaml", tmp_path / "run")
    return tmp_path / "run"
