"""A grid's rankings are those of its teachers."""

from pathlib import Path

import pytest
import yaml

from layerprobe.data.datasets import open_split
from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.compare import open_grid
from layerprobe.experiments.grid.grid_file import Grid, parse_grid
from layerprobe.experiments.grid.rankings import _name
from layerprobe.experiments.grid.work import _plan
from layerprobe.networks import load_network
from layerprobe.ranking.file import save_ranking
from layerprobe.records import Layer, LayerGeometry, Ranking, Run, silent
from layerprobe.settings.compare import CompareSettings
from layerprobe.settings.data import DataSettings
from layerprobe.settings.model import ModelSettings


def grid(weights: Path, ranking: Path | None = None) -> Grid:
    teacher = {"name": "cifar:resnet20", "weights": str(weights)}
    values = {
        "common": {"data": {"name": "digits"}},
        "pairs": {"T to S": {"teacher": teacher, "student": {"name": "cifar:resnet20"}}},
        "methods": ["feature-only"],
        "choices": ["quality:1"],
    }
    return parse_grid(
        yaml.safe_dump(values | ({"common": {**values["common"], "ranking": str(ranking)}} if ranking else {})), "g"
    )


def test_a_named_ranking_is_of_the_weights_that_the_teacher_has(digits_teacher: Run, tmp_path: Path) -> None:
    spec, data = ModelSettings(name="cifar:resnet20", weights=str(digits_teacher.weights)), DataSettings(name="digits")
    digest = load_network(spec, data, open_split(data, "train")).weights_sha256
    layers = (LayerGeometry(Layer(0, "layer1.0", "block", (16, 8, 8), 0), {"quality": 1.0}),)
    told = grid(digits_teacher.weights, tmp_path / "r.json")
    (planned,) = told.cells
    for known, right in ((digest, True), ("0" * 64, False)):
        ranking = Ranking(layers, "quality", ("layer1.0",), {"model": "cifar:resnet20", "weights_sha256": known})
        save_ranking(ranking, tmp_path / "r.json")
        if right:
            assert str(_plan(planned, told, tmp_path, silent).layers) == "layer1.0"
        else:
            with pytest.raises(
                LayerprobeError, match="r.json is of cifar:resnet20 with other weights than the teacher"
            ):
                _plan(planned, told, tmp_path, silent)


def test_a_teacher_that_was_trained_anew_is_ranked_anew(tmp_path: Path) -> None:
    def name(weights: Path) -> str:
        return _name(grid(weights).cells[0].config(tmp_path), ())

    one, copy = tmp_path / "one.th", tmp_path / "copy.th"
    one.write_bytes(b"first")
    copy.write_bytes(b"first")
    before = name(one)
    assert before == name(copy)
    one.write_bytes(b"second")
    assert name(one) != before


def test_a_cell_that_needs_classes_is_refused_before_any_runs_where_there_are_none(
    photos: Path, tmp_path: Path
) -> None:
    flat = photos / "train" / "cat"

    def opened(**values: object) -> Grid:
        told = yaml.safe_load(grid(tmp_path / "none.th").text) | values
        (tmp_path / "g.yaml").write_text(yaml.safe_dump(told))
        return open_grid(CompareSettings(grid=tmp_path / "g.yaml", output=tmp_path / "out"))

    bare = {"data": {"name": str(flat)}}
    with pytest.raises(
        LayerprobeError, match=r"feature-only \(quality:1\): the rule quality:1 needs classes, and .*cat"
    ):
        opened(common=bare)
    with pytest.raises(LayerprobeError, match="rule quality:1 needs classes, and the images of digits have no labels"):
        opened(common={"data": {"name": "digits", "unlabelled": True}})
    with pytest.raises(LayerprobeError, match="lidar:1 looks at lidar, which compares two views of the images"):
        opened(choices=["lidar:1"])
    with pytest.raises(LayerprobeError, match="validation needs classes"):
        opened(common=bare, choices={}, validate={"layers": "all"})
    assert opened(common=bare, choices=["even:1", "even-effective-rank:1"])
    assert opened(common={**bare, "ranking": "r.json"}) and opened()  # a ranking that is given has its scores


def test_a_ranking_with_a_second_sample_is_another_one(tmp_path: Path) -> None:
    told = grid(tmp_path / "none.th").cells[0].config(tmp_path)
    names = {_name(told.replaced(spectrum_samples=count), ()) for count in (None, 50, 500)}
    assert len(names) == 3 and _name(told, ()) in names
