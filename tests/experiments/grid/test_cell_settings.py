"""A run counts for a cell as long as the grid file says what the run was told."""

from pathlib import Path

import pytest
import yaml

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.cell_settings import (
    as_it_was_begun,
    differing_settings,
    find_differences,
    settings_file,
    write_cell_settings,
)
from layerprobe.experiments.grid.grid_file import PlannedCell, load_grid, parse_grid
from layerprobe.experiments.grid.study import read_study

STUDY = Path(__file__).parents[3] / "results" / "resnet56"


def cell(choice: object = "quality:4", ranking: str = "r.json", **training: object) -> PlannedCell:
    values = {
        "common": {"data": {"name": "digits"}, "training": training},
        "pairs": {
            "T to S": {
                "teacher": {"name": "cifar:resnet56", "weights": "t.th"},
                "student": {"name": "cifar:resnet20"},
                "ranking": ranking,
            }
        },
        "methods": ["feature-only"],
        "choices": {"mine": {"layers": choice}},
    }
    return parse_grid(yaml.safe_dump(values), "g.yaml").cells[0]


def begin(planned: PlannedCell, folder: Path) -> None:
    """What a run writes first."""
    write_cell_settings(planned, folder)
    (folder / planned.cell.path).mkdir(parents=True, exist_ok=True)
    (folder / planned.cell.path / "config.yaml").write_text("command: distill")


def test_every_planned_value_counts(tmp_path: Path) -> None:
    """Also how layers are chosen, which ranking chooses them, and values that were taken out of the file."""
    begin(cell(lr=0.01), tmp_path)
    for now, found in (
        (cell(lr=0.01), ""),
        (cell(lr="1e-2"), ""),
        (cell(lr=0.01, workers=3, device="cuda", epochs=50), ""),  # may differ; usual
        (cell(), "training.lr 0.01, not None"),
        (cell("stagewise:4", lr=0.01), "layers 'quality:4', not 'stagewise:4'"),
        (cell(ranking="s.json", lr=0.01), "ranking 'r.json', not 's.json'"),
        (cell("last:4", "s.json", epochs=3, lr=0.01),
         "layers 'quality:4', not 'last:4' (and 2 more)"),
    ):  # fmt: skip
        assert find_differences(now, tmp_path) == found


def test_a_ranking_that_no_rule_looks_at_does_not_count(tmp_path: Path) -> None:
    begin(cell("even:4"), tmp_path)
    assert find_differences(cell("even:4", "s.json"), tmp_path) == ""


def test_a_run_that_has_begun_is_let_alone_and_one_that_has_not_is_told_anew(tmp_path: Path) -> None:
    write_cell_settings(cell(epochs=3), tmp_path)
    begin(cell(epochs=4), tmp_path)
    write_cell_settings(cell(epochs=4), tmp_path)
    path = cell().cell.path
    with pytest.raises(
        LayerprobeError,
        match=f"the unfinished run there has training.epochs 4, not 5; name another --output .* remove {path}",
    ):
        write_cell_settings(cell(epochs=5), tmp_path)
    assert yaml.safe_load(settings_file(tmp_path, path).read_text())["training"]["epochs"] == 4


def test_runs_whose_settings_were_not_kept_are_compared_by_their_configuration() -> None:
    grid, finished = load_grid(STUDY / "grid.yaml"), read_study(STUDY).finished
    kept_by_configuration = [
        planned for planned in grid.cells if (kept := finished.get(planned.cell.path)) and kept.settings is None
    ]
    assert len(kept_by_configuration) >= 33  # of version 0.1.0, which kept no settings

    def found(planned: PlannedCell) -> str:
        config = dict(finished[planned.cell.path].run.config)
        return differing_settings(as_it_was_begun(planned, config), None, config, STUDY)

    assert {found(planned) for planned in kept_by_configuration} == {""}
    for edit, differs in (
        ({"channels_last": True}, {"training.channels_last True, not False"}),
        ({"train_samples": 10000}, {"training.train_samples 10000, not None"}),
    ):
        ((key, value),) = edit.items()
        edited = parse_grid(grid.text.replace(f"    {key}: {str(value).lower()}\n", ""), "g.yaml")
        edited_cells = [planned for planned in edited.cells if planned.cell.path in finished]
        assert {found(planned) for planned in edited_cells} == differs
    rate = parse_grid(grid.text.replace("epochs: 15", "epochs: 15\n    lr: 0.02"), "g.yaml").cells[0]
    assert found(rate) == "training.lr 0.0075, not 0.02"
