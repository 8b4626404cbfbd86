"""compare, report and validate, as a user runs them."""

import json
from pathlib import Path

import pytest
import yaml

from layerprobe.records import Run
from tests.cli.test_commands import invoke, refused


@pytest.fixture
def grid(digits_teacher: Run, tmp_path: Path) -> Path:
    values = {
        "title": "Digits",
        "reference": "scratch",
        "common": {
            "data": {"name": "digits"},
            "training": {"epochs": 2, "batch_size": 30, "train_samples": 60, "test_samples": 50, "device": "cpu"},
        },
        "pairs": {
            "A to B": {
                "teacher": {"name": "cifar:resnet20", "weights": str(digits_teacher.weights)},
                "student": {"name": "cifar:resnet20"},
            }
        },
        "methods": ["scratch", "feature-only"],
        "choices": ["even:2"],
        "seeds": 2,
    }
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def test_a_grid_from_dry_run_to_report(grid: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    planned = invoke("compare", grid, "--output", folder, "--dry-run", "--format", "json")
    assert planned.stderr == ""  # trial runs say nothing of themselves: their layers are no cell's
    plan = json.loads(planned.stdout)
    assert [row["state"] for row in plan["rows"]] == ["waiting"] * 4 and plan["details"]["seconds"] > 0
    assert not folder.exists()

    done = invoke("compare", grid, "--output", folder, "--format", "json")
    methods = {row["method"]: row for row in json.loads(done.stdout)["rows"]}
    assert {"scratch", "feature-only"} <= {name.partition(" (")[0] for name in methods}
    assert done.stderr.count("epoch 2/2") == 4 and done.stderr.endswith(f"next: layerprobe report {folder}\n")

    again = invoke("compare", grid, "--output", folder, "--quiet", "--format", "json")
    assert again.stdout == done.stdout and again.stderr == ""

    assert "no column 'nonsense'" in refused("report", folder, "--columns", "nonsense")
    assert not (folder / "report").exists()
    said = invoke("report", folder, "--format", "json")
    assert json.loads(said.stdout) == json.loads(done.stdout)
    names = {path.name for path in (folder / "report").iterdir()}
    assert {"index.html", "table.md", "table.tex", "table.csv", "details.csv"} <= names
    study = tmp_path / "results" / "digits"
    packed = invoke("report", folder, "--study", study)
    assert f"wrote {study}/: grid.yaml, runs.csv" in packed.stderr
    assert invoke("report", study, "--format", "json").stdout == done.stdout
    assert "holds no study: it has no runs.csv; name another --study" in refused("report", folder, "--study", tmp_path)
    page = (folder / "report" / "index.html").read_text()
    assert "Digits" in page and "feature-only" in page and "http://" not in page.replace("http://www.w3.org", "")


def test_a_cell_that_fails_ends_in_exit_code_1(grid: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(grid.read_text())
    values["pairs"]["A to B"]["teacher"]["weights"] = "nowhere.safetensors"
    values["methods"] = ["scratch", "kd"]
    grid.write_text(yaml.safe_dump(values))
    result = invoke("compare", grid, "--output", tmp_path / "out", "--jobs", 2, code=1)
    failed = [line for line in result.stderr.splitlines() if line.startswith("failed: A to B, kd, seed 0: ")]
    assert failed and "nowhere.safetensors does not exist" in failed[0]


def test_a_validation_from_file_to_report(grid: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(grid.read_text())
    del values["choices"], values["reference"]
    values |= {"methods": ["feature-only"], "validate": {"layers": "0,4,-1", "samples": 60}, "seeds": 1}
    grid.write_text(yaml.safe_dump(values, sort_keys=False))
    (tmp_path / "mine.py").write_text("def length(gram):\n    return gram.squared_norms.sqrt().mean()\n")
    folder = tmp_path / "out"
    planned = invoke("validate", grid, "--output", folder, "--dry-run", "--format", "json")
    assert planned.stderr == ""
    plan = json.loads(planned.stdout)
    assert [row["method"] for row in plan["rows"]] == [
        f"feature-only ({name})" for name in ("relu", "layer2.0", "linear.input")
    ]
    assert plan["details"]["seconds"] > 0 and not folder.exists()
    result = invoke(
        "validate", grid, "--output", folder, "--score", f"{tmp_path / 'mine.py'}:length", "--format", "json"
    )
    rows = json.loads(result.stdout)["rows"]
    assert {"quality", "cka-to-student", "depth", "length"} <= {row["score"] for row in rows}
    assert result.stderr.endswith(f"next: layerprobe report {folder}\n")
    invoke("report", folder, "--quiet")
    assert any(path.name.startswith("validation") for path in (folder / "report").iterdir())


def test_bad_input_is_one_line(grid: Path, tmp_path: Path) -> None:
    out = ("--output", tmp_path / "out")
    assert "no grid file at nothing.yaml" in refused("compare", "nothing.yaml", *out)
    assert "there is no file or folder" in refused("report", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no grid: it has no grid.yaml; and no run" in refused("report", tmp_path / "empty")
    assert "asks for no validation" in refused("validate", grid, *out)
    assert "--launcher is one of 'local', 'slurm'; not 'pbs'" in refused("compare", grid, *out, "--launcher", "pbs")
    assert "--launcher-option is KEY=VALUE" in refused("compare", grid, *out, "--launcher-option", "x")
    assert "no file mine.py" in refused("validate", grid, *out, "--score", "mine.py:f")
    assert not (tmp_path / "out").exists()
