"""Settings of methods in a grid: from its file to the run, and runs that version 0.1.0 made."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.compare import compare
from layerprobe.experiments.grid.grid_file import parse_grid
from layerprobe.experiments.grid.results import read_grid
from layerprobe.experiments.publish import publish_study
from layerprobe.records import Run
from layerprobe.settings.compare import CompareSettings

GRID = """
common: {{data: {{name: digits}}, setting: paper,
  training: {{epochs: 1, batch_size: 32, train_samples: 64, test_samples: 50, device: cpu}}}}
pairs: {{A to B: {{teacher: {{name: "cifar:resnet20", weights: {weights}}}, student: {{name: "cifar:resnet20"}}}}}}
methods: {{kd: {{}}, sp: {{}}, sp as published: {{method: sp, setting: publication}}, simkd: {{setting: publication}}}}
"""


def test_the_cells_of_a_grid_have_their_settings() -> None:
    cells = {planned.cell.method: planned for planned in parse_grid(GRID.format(weights="random"), "g.yaml").cells}
    assert {method: planned.cell.setting for method, planned in cells.items()} == {
        "kd": "", "sp": "paper", "sp as published": "publication", "simkd": "publication",
    }  # fmt: skip
    assert {planned.settings.setting for planned in cells.values()} == {"paper", "publication"}
    assert [planned.cell.labels_reach_backbone for planned in cells.values()] == [True, True, True, False]
    with pytest.raises(LayerprobeError, match="g.yaml: rkd: rkd has no setting paper, but publication"):
        parse_grid(GRID.format(weights="random").replace("{kd: {}", "{rkd: {}"), "g.yaml")


def test_a_finished_run_of_version_0_1_0_is_shown_as_what_it_was(digits_teacher: Run, tmp_path: Path) -> None:
    """Its files do not say a setting; another one is refused where the grid file names it."""
    text = GRID.format(weights=digits_teacher.weights)
    fine_tuned = text.replace("simkd: {setting: publication}", "simkd: {setting: fine-tuned}")
    file = tmp_path / "g.yaml"
    file.write_text(fine_tuned)
    compare(CompareSettings(grid=file, output=tmp_path / "grid"), lambda *_: None)
    found = {result.cell.method: result for result in read_grid(tmp_path / "grid").results}
    assert {name: one.run and one.run.setting for name, one in found.items()} == {
        "kd": "", "sp": "paper", "sp as published": "publication", "simkd": "fine-tuned",
    }  # fmt: skip
    folder = tmp_path / "grid" / found["simkd"].cell.path
    values = yaml.safe_load((folder / "config.yaml").read_text())
    del values["setting"], values["constants"]
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    (folder.parent / f"{folder.name}.yaml").unlink()
    result = (folder / "result.json").read_text()
    (folder / "result.json").write_text(result.replace('"setting": "fine-tuned",', ""))
    for setting, state in (("", "done"), ("fine-tuned", "done"), ("paper", "failed")):
        (tmp_path / "grid" / "grid.yaml").write_text(
            fine_tuned.replace("setting: paper,", "").replace(
                "{setting: fine-tuned}", f"{{setting: {setting}}}" if setting else "{}"
            )
        )
        one = next(one for one in read_grid(tmp_path / "grid").results if one.cell.method == "simkd")
        assert one.state == state
        if one.run:
            assert one.run.setting == "fine-tuned" and not one.run.labels_reach_backbone
        else:
            assert "setting 'fine-tuned', not 'paper'" in one.reason


def made_before(folder: Path) -> None:
    """Make a finished run and its cell's settings what a version wrote to which fitnets was the same in both."""
    for path in (folder / "config.yaml", folder.parent / f"{folder.name}.yaml"):
        values = yaml.safe_load(path.read_text())
        assert values.pop("constants") == {"temperature": 4.0} and values["setting"] == "paper"
        path.write_text(yaml.safe_dump({**values, "setting": "publication"}))
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, "setting": ""}))


def test_runs_of_another_setting_count_as_what_they_were_and_get_no_company(
    digits_teacher: Run, tmp_path: Path
) -> None:
    text = GRID.format(weights=digits_teacher.weights).split("methods:")[0].replace("setting: paper,", "")
    file, output = tmp_path / "g.yaml", tmp_path / "grid"

    def compared(method: str, seeds: str) -> dict[int, Run]:
        file.write_text(f"{text}methods: {{fitnets: {method}}}\nseeds: {seeds}\n")
        compare(CompareSettings(grid=file, output=output), lambda *_: None)
        found = read_grid(output).results
        assert all(one.run for one in found), [one.reason for one in found]
        return {one.cell.seed: one.run for one in found if one.run}

    compared("{setting: paper}", "[0, 1]")
    first, second = sorted(output.glob("runs/*/fitnets/seed-?"))
    made_before(first)
    made_before(second)
    whole = (second / "metrics.csv").read_bytes()
    assert {run.setting for run in compared("{}", "[0, 1]").values()} == {"paper"}
    study = publish_study(output, tmp_path / "study")[-1].parent
    assert {one.run.setting for one in read_grid(study).results if one.run} == {"paper"}
    refused = (
        r"has runs of fitnets in the setting paper, which an earlier version made, .* would be in publication; name"
    )
    for place in (output, study):
        file.write_text(f"{text}methods: {{fitnets: {{}}}}\nseeds: [0, 1, 2]\n")
        with pytest.raises(LayerprobeError, match=refused) as error:
            compare(CompareSettings(grid=file, output=place), lambda *_: None)
        assert "`fitnets: {setting: paper}`" in str(error.value) and "\n" not in str(error.value)
    (output / "grid.yaml").write_text(f"{text}methods: {{fitnets: {{setting: publication}}}}\nseeds: [0, 1]\n")
    assert {one.state for one in read_grid(output).results} == {"failed"}
    assert "setting 'paper', not 'publication'" in read_grid(output).results[0].reason
    (second / "result.json").unlink()  # it was stopped behind its last epoch
    assert compared("{}", "[0, 1]")[1].resumed_after == (1,) and (second / "metrics.csv").read_bytes() == whole
    assert yaml.safe_load((second / "config.yaml").read_text())["setting"] == "publication"
    shutil.rmtree(second)
    found = compared("{setting: paper}", "[0, 1]")
    assert found[1].setting == "paper"
    assert (second / "metrics.csv").read_bytes() == whole
