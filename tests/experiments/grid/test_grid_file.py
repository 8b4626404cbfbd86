"""What a grid file says, cell by cell, and what it may not say."""

from pathlib import Path

import pytest
import yaml

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.grid_file import load_grid, parse_grid

COMMON = {
    "pairs": {
        "T to S": {"teacher": {"name": "cifar:resnet56", "weights": "t.th"}, "student": {"name": "cifar:resnet20"}}
    },
    "common": {"data": {"name": "digits"}, "training": {"epochs": 7}},
}


def grid(**values: object):
    return parse_grid(yaml.safe_dump({**COMMON, **values}, sort_keys=False), "g.yaml")


def test_cells_are_every_combination(grid_file: Path) -> None:
    cells = [planned.cell for planned in load_grid(grid_file).cells]
    assert [(cell.label, cell.seed) for cell in cells] == [
        (label, seed) for label in ("scratch", "feature-only (even:2)", "feature-only (last:2)") for seed in (0, 1)
    ]
    assert cells[2].path == "runs/a-to-b/feature-only/even-2/seed-0"
    assert cells[0].path == "runs/a-to-b/scratch/seed-0"


def test_patches_are_laid_over_each_other() -> None:
    """Common, pair, data set, pair on that data set, method, choice, seed: the later one wins."""
    cells = grid(
        datasets={
            "small": {"training": {"epochs": 2}, "pairs": {"T to S": {"teacher": {"weights": "small.th"}}}},
            "large": {"data": {"name": "CIFAR100"}},
        },
        methods={
            "huber": {"method": "feature-only", "alignment": {"feature_loss": "huber"}, "training": {"clip": 1.0}}
        },
        choices={"two": {"layers": ["layer3.7", "layer3.8"], "student_layers": ["6", "9"]}},
        seeds=[5],
    ).cells
    small, large = (planned.config(Path("f")) for planned in cells)
    assert (small.training.epochs, small.teacher.weights, small.data.name) == (2, "small.th", "digits")
    assert (large.training.epochs, large.teacher.weights, large.data.name) == (7, "t.th", "CIFAR100")
    assert small.alignment.feature_loss == "huber" and small.training.clip == 1.0 and small.training.seed == 5
    assert str(small.layers) == "layer3.7,layer3.8" and small.student_layers.names == ("6", "9") and small.resume
    assert small.output == Path("f/runs/t-to-s/small/huber/two/seed-5")


def test_choices_are_for_methods_that_need_one() -> None:
    cells = grid(
        methods={"kd": {}, "feature-only": {}, "fixed": {"method": "feature-only", "layers": "25"},
                 "fitnets": {"choices": ["last:4"]}},
        choices=["quality:4", "last:4"],
        seeds=1,
    ).cells  # fmt: skip
    assert [planned.cell.label for planned in cells] == [
        "kd", "feature-only (quality:4)", "feature-only (last:4)", "fixed", "fitnets (last:4)",
    ]  # fmt: skip
    assert [str(planned.settings.layers) for planned in cells] == ["None", "quality:4", "last:4", "25", "last:4"]


def test_a_preset_lies_under_what_the_file_says_of_training() -> None:
    """With the rates of the student; as the command line has it, where options override a preset."""
    vgg = {"student": {"name": "cifar:vgg11"}}
    cells = grid(
        seeds=1,
        pairs={**COMMON["pairs"], "T to V": {**COMMON["pairs"]["T to S"], **vgg}},
        common={"data": {"name": "digits"}, "preset": "paper-240", "training": {"momentum": 0.8}},
        methods={"kd": {}, "short": {"method": "kd", "preset": "paper-50"}},
    ).cells
    trainings = [planned.settings.training for planned in cells]
    assert [(one.optimizer, one.lr, one.epochs, one.momentum) for one in trainings] == [
        ("sgd", 0.05, 240, 0.8), ("adamw", None, 50, 0.8), ("sgd", 0.01, 240, 0.8), ("adamw", None, 50, 0.8),
    ]  # fmt: skip


def test_a_ranking_is_no_key_of_a_run() -> None:
    (planned,) = grid(methods=["feature-only"], choices={"q": {"layers": "quality:4", "ranking": "r.json"}}).cells
    assert planned.ranking == Path("r.json") and str(planned.settings.layers) == "quality:4"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"methods": ["kd"], "colour": 1}, "g.yaml: there is no setting 'colour'; closest: 'common'"),
        ({"methods": []}, "g.yaml: methods is empty; a grid has pairs and methods at least"),
        ({"methods": ["kdd"]}, "g.yaml: kdd: method: no method 'kdd'; closest: 'kd'"),
        ({"methods": {"kd": {"training": {"epoch": 3}}}}, "kd: there is no setting 'training.epoch'; closest"),
        ({"methods": {"kd": 3}}, "g.yaml: methods.kd is a mapping with keys below it, not 3"),
        ({"methods": ["kd"], "seeds": 0}, "seeds is a number of seeds or a list of whole numbers, not 0"),
        ({"methods": ["kd"], "seeds": ["a"]}, "seeds is a number"),
        ({"methods": ["kd"], "reference": "scratch"}, "the reference 'scratch' is no method of it; known: 'kd'"),
        ({"methods": {"k d": {"method": "kd"}, "k-d": {"method": "kd"}}}, "two cells would be runs/t-to-s/k-d/seed-0"),
        ({"methods": {"kd": {"choices": ["even"]}}, "choices": ["even:4"]}, "names a choice 'even'; closest: 'even:4'"),
        ({"methods": {"kd": {"data": {"name": ""}}}}, "kd: data.name is not empty, not ''"),
        ({"methods": ["kd"], "datasets": {"d": {"pairs": {"T to Z": {}}}}},
         "g.yaml: datasets.d.pairs names a pair 'T to Z' that is none; closest: 'T to S'"),
        ({"methods": ["kd"], "datasets": {"d": {"pairs": ["T to S"]}}}, "datasets.d.pairs has keys below it, not"),
        ({"methods": ["kd"], "validate": True}, "g.yaml: validate is a mapping with keys below it, not True"),
        ({"methods": ["feature-only"], "choices": ["qualty:4"]},
         "layers: no rule 'qualty' that chooses layers; closest: 'quality'"),
        ({"methods": ["feature-only"], "choices": ["quality:0"]}, "quality:K chooses K layers, K a number"),
        ({"methods": {"fitnets": {"student_layers": "evn:4"}}},
         "student_layers: no rule 'evn' that chooses layers; closest: 'even'"),
        ({"methods": {"kd": {"choices": "even:4"}}, "choices": ["even:4"]}, "kd.choices is a list of choices, not 'e"),
        ({"methods": {"kd": {"preset": "paper-24"}}}, "g.yaml: kd: no preset 'paper-24'; closest: 'paper-240'"),
        ({"methods": {"kd": {"preset": [1]}}}, r"g.yaml: kd: no preset '\[1\]'; "),
        ({"methods": {"kd": {"ranking": 3}}}, "the ranking of T to S is a path, not 3"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(LayerprobeError, match=message.replace("(", r"\(")):
        grid(**values)


def test_layers_that_look_like_rules_and_ways_to_name_none() -> None:
    """Strides and slices select layers, and a table of pairs names them."""
    for layers in ("every:4", "0:8:2", "layer3.7, layer3.8", [25, 26]):
        assert grid(methods={"f": {"method": "feature-only", "layers": layers}}).cells
    (table,) = grid(methods={"f": {"method": "feature-only", "alignment": {"mapping": "layer1.2=layer3.5"}}}).cells
    assert not table.settings.lacks_layers
    for methods, lacks in (["feature-only"], True), ({"f": {"method": "feature-only", "layers": "25"}}, False):
        assert [planned.settings.lacks_layers for planned in grid(methods=methods).cells] == [lacks]


def test_files_that_are_no_grid(tmp_path: Path) -> None:
    for text, message in (("[1, 2]", "holds no keys"), ("a: [", "is not YAML"), ("", "holds no keys")):
        (tmp_path / "g.yaml").write_text(text)
        with pytest.raises(LayerprobeError, match=message):
            load_grid(tmp_path / "g.yaml")
    with pytest.raises(LayerprobeError, match="no grid file at"):
        load_grid(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LayerprobeError, match="is not text in UTF-8"):
        load_grid(tmp_path / "b.yaml")
