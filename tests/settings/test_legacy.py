"""Files that version 0.1.0 wrote: their keys are read by one table, and mean what they meant."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.grid_file import load_grid, parse_grid
from layerprobe.settings.configuration import (
    current_values,
    read_run_config,
    read_values,
    recorded_settings,
    settings_of,
)
from layerprobe.settings.legacy import RENAMED, with_new_keys
from layerprobe.settings.run import DistillSettings, TrainSettings

ROOT = Path(__file__).parents[2]

# As version 0.1.0 wrote it, but for the length of the hashes.
DISTILL = """\
command: distill
method: simkd
teacher: {name: 'cifar:resnet56', weights: resnet56.th, num_classes: null, weights_sha256: fdf1}
student: {name: 'cifar:mobilenetv2', weights: random, num_classes: null, weights_sha256: c469}
data: {name: cifar10/, root: data, download: false, image_size: null, mean: null, std: null}
teacher_layers:
- layer3
student_layers:
- features.projector
teacher_features: null
training: {epochs: 6, learning_rate: 0.0075, weight_decay: 0.01, seed: 2, optimizer: adamw, momentum: 0.9,
  schedule: onecycle, milestones: null, decay: 0.1, backbone_lr_factor: 1.0, clip: null, accumulate: 1, compile: false,
  check: true, cache_teacher: true, channels_last: true, batch_size: 32, augment: none, train_samples: 2000,
  test_samples: 1000, holdout: 0.0, device: cpu, precision: 'no', workers: 0, tensorboard: false}
alignment: {name: projector, by_class: false, projector: one-layer, loss: mse, mapping: one-to-one,
  cross_entropy: false, kl: false}
ending: {classifier: classifier.1, last_map: features, channels: 1280, width: 64, classes: 10, bias: true,
  signed: false}
preprocessing:
  image_size: [32, 32]
  mean: [0.485, 0.456, 0.406]
  std: [0.229, 0.224, 0.225]
  resize: null
  interpolation: bilinear
  source: 'size: the images; mean and std: published weights of the CIFAR ResNets'
recipe: AdamW, weight decay 0.01, OneCycle with 30% warm-up
processes: 1
versions: {layerprobe: 0.1.0, torch: 2.14.1+cu130}
"""
TRAIN = """\
command: train
model: {name: 'cifar:resnet18', weights: random, num_classes: null, weights_sha256: ea8d}
data: {name: digits, root: null, download: false, image_size: null, mean: [0.5], std: [0.5]}
training: {epochs: 9, learning_rate: 0.05, optimizer: sgd, schedule: multi-step, milestones: [5, 6, 7],
  cache_teacher: false}
recipe: SGD (momentum 0.9), weight decay 0.01, x0.1 after epochs 5, 6, 7
processes: 2
batch_statistics: of each process's own part
versions: {layerprobe: 0.1.0, torch: 2.14.1}
"""
GRID = """\
common: {data: {name: digits, root: data}, training: {learning_rate: 1e-2}}
pairs: {A to B: {teacher: {name: 'cifar:resnet20', weights: random}, student: {name: 'cifar:resnet20'},
  ranking: r.json}}
datasets: {d: {pairs: {A to B: {training: {learning_rate: 0.5}}}}}
methods: {feature-only, huber: {method: feature-only, alignment: {loss: huber}, choices: [named]}, fixed: {method:
  feature-only, teacher_layers: '3,4'}}
choices: {named: {teacher_layers: [layer1.0, -1], student_layers: '2,3'}, 'quality:2': {teacher_layers: 'quality:2'}}
"""


def saved(text: str, folder: Path) -> Path:
    (folder / "config.yaml").write_text(text)
    return folder / "config.yaml"


def test_a_distillation(tmp_path: Path) -> None:
    path = saved(DISTILL, tmp_path)
    settings = recorded_settings(path)
    assert isinstance(settings, DistillSettings) and settings.output == tmp_path
    assert (str(settings.layers), str(settings.student_layers)) == ("layer3", "features.projector")
    assert settings.training.lr == 0.0075 and settings.training.seed == 2 and settings.training.train_samples == 2000
    assert settings.data.data_root == Path("data") and settings.teacher.weights_sha256 == "fdf1"
    assert settings.alignment.feature_loss == "mse" and settings.alignment.feature_weight == 1.0
    config, told = read_run_config(path), yaml.safe_load(DISTILL)
    for key in ("ending", "preprocessing", "recipe", "processes", "versions"):
        assert config[key] == told[key]
    assert not {"teacher_layers", "output", "resume"} & set(config) and config["layers"] == "layer3"
    assert read_run_config(saved(yaml.safe_dump(config), tmp_path)) == config
    again = settings_of(DistillSettings, read_values(path, "distill"), tmp_path)
    assert again == settings


def test_a_training(tmp_path: Path) -> None:
    settings = recorded_settings(saved(TRAIN, tmp_path))
    assert isinstance(settings, TrainSettings)
    assert (settings.training.lr, settings.training.milestones, settings.data.mean) == (0.05, (5, 6, 7), (0.5,))
    assert read_run_config(tmp_path / "config.yaml")["processes"] == 2


def test_a_run_without_layers(tmp_path: Path) -> None:
    text = DISTILL.replace("- layer3\n", "[]\n").replace("teacher_layers:\n", "teacher_layers: ")
    assert recorded_settings(saved(text, tmp_path)).layers is None  # type: ignore[union-attr]


def test_a_grid() -> None:
    text = GRID.replace("{feature-only, huber", "{feature-only: {}, huber")
    cells = {planned.cell.label: planned for planned in parse_grid(text, "g.yaml").cells}
    named, rule = cells["feature-only (named)"].settings, cells["feature-only (quality:2)"].settings
    assert (str(named.layers), str(named.student_layers), str(rule.layers)) == ("layer1.0,-1", "2,3", "quality:2")
    assert named.training.lr == 0.5 and named.data.data_root == Path("data")
    assert cells["huber (named)"].settings.alignment.feature_loss == "huber"
    assert str(cells["fixed"].settings.layers) == "3,4" and cells["fixed"].ranking == Path("r.json")
    assert parse_grid(yaml.safe_dump(_modern(yaml.safe_load(text)), sort_keys=False), "g.yaml").cells == tuple(
        cells.values()
    )


def _modern(values: Any) -> Any:
    """The same grid in today's words, by a walk that knows nothing of grids."""
    if isinstance(values, list):
        return [_modern(value) for value in values]
    if not isinstance(values, dict):
        return values
    words = {old.rpartition(".")[2]: new.rpartition(".")[2] for old, new in RENAMED.items()}
    return {words.get(key, key): _modern(value) for key, value in values.items()}


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "paper").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_have_no_old_keys(path: Path) -> None:
    assert load_grid(path).cells
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    for axis in ("common", "pairs", "datasets", "methods", "choices"):
        patches = values.get(axis)
        for patch in [patches] if axis == "common" else patches.values() if isinstance(patches, dict) else []:
            assert with_new_keys(patch) == patch


@pytest.mark.parametrize("values", [{1: 2}, {"training": {None: 3}}, {True: {}}])
def test_keys_are_text(values: dict[Any, Any]) -> None:
    with pytest.raises(
        LayerprobeError, match=r"^the key (1|None|True)( below training)? is not text; put it in quotation"
    ):
        with_new_keys(values)


def test_runs_of_version_0_1_0_have_the_setting_that_they_had(tmp_path: Path) -> None:
    """simkd fine-tuned the classifier, which is neither the publication's form nor the paper's.

    FitNets and kd-std were the paper's.
    """
    assert recorded_settings(saved(DISTILL, tmp_path)).setting == "fine-tuned"  # type: ignore[union-attr]
    assert read_values(tmp_path / "config.yaml", "distill")["setting"] == "fine-tuned"
    former = dict.fromkeys(("sp", "semckd", "kd", "feature-only"), "publication")
    for method, setting in {**former, **dict.fromkeys(("fitnets", "fitnets-full", "kd-std"), "paper")}.items():
        other = saved(DISTILL.replace("method: simkd", f"method: {method}"), tmp_path)
        assert recorded_settings(other).setting == setting  # type: ignore[union-attr]
        assert read_values(other, "distill").get("setting", "publication") == setting
    new = saved(DISTILL.replace("method: simkd", "method: simkd\nsetting: publication"), tmp_path)
    assert recorded_settings(new).setting == "publication"  # type: ignore[union-attr]
    written = saved("method: simkd\nteacher: cifar:resnet20\nstudent: cifar:resnet20\ndata: digits\n", tmp_path)
    assert settings_of(DistillSettings, read_values(written, "distill"), tmp_path).chosen_setting == "publication"


@pytest.mark.parametrize("method", ["fitnets", "fitnets-full", "fitnets-ce", "kd-std", "sp"])
def test_what_was_called_the_publications_before_that_was_built_is_the_papers(method: str, tmp_path: Path) -> None:
    """A run that names the constants of its method is of this version; a file that no run wrote means what it says."""
    paper = method != "sp"
    text = DISTILL.replace("method: simkd", f"method: {method}\nsetting: publication")
    setting = recorded_settings(saved(text, tmp_path)).setting  # type: ignore[union-attr]
    assert setting == ("paper" if paper else "publication")
    given = {"method": method, "setting": "publication"}
    assert current_values(given, "distill", tmp_path, begun=True)["setting"] == setting
    for new in (f"{text}constants: {{temperature: 3}}\n", text.replace("versions:", "plugins:")):
        values = read_values(saved(new, tmp_path), "distill")
        assert values["setting"] == "publication"
        if method in ("fitnets-full", "fitnets-ce"):
            with pytest.raises(LayerprobeError, match=f"{method} has no setting publication, but paper; leave setting"):
                settings_of(DistillSettings, values, tmp_path)
