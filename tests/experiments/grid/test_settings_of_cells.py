"""Settings of methods in a grid: from its file to the run, and runs that version 0.1.0 made."""

from pathlib import Path

import pytest
import yaml

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.compare import compare
from layerprobe.experiments.grid.grid_file import parse_grid
from layerprobe.experiments.grid.results import read_grid
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
    for path in (folder / "config.yaml", folder.parent / f"{folder.name}.yaml"):
        values = yaml.safe_load(path.read_text())
        del values["setting"]
        path.write_text(yaml.safe_dump(values))
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
