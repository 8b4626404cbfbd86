"""config.yaml repeats a run, and any key of it can be changed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from layerprobe.cli.main import load_command
from layerprobe.cli.options import Given
from layerprobe.cli.run_settings import run_settings
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.records import Run
from layerprobe.settings.configuration import (
    merge,
    read_run_config,
    read_values,
    recorded_settings,
    settings_of,
)
from layerprobe.settings.data import DataSettings
from layerprobe.settings.describe import describe
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.settings.run import DistillSettings, TrainSettings
from layerprobe.settings.source import SourceSettings
from tests.helpers.commands import invoke


def settings(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "config.yaml").read_text())


def written(values: object, path: Path) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


def test_values_and_back(tmp_path: Path) -> None:
    training = TrainingSettings(schedule="multi-step", milestones=(3, 5), epochs=9, lr=0.1, clip=2.0, seed=4)
    data = DataSettings(name="photos", data_root=Path("root"), image_size=32, mean=(0.5,), std=(0.25,))
    distill = DistillSettings(
        method="fitnets",
        setting="publication",
        teacher=ModelSettings(name="cifar:resnet56", weights="w.th"),
        student=ModelSettings(name="cifar:resnet20"),
        data=data,
        output=tmp_path,
        layers="a,b",
        student_layers=("c", "d"),
        training=training,
    )
    train = TrainSettings(
        model=ModelSettings(name="timm:resnet18", num_classes=3), data=data, output=tmp_path, training=training
    )
    for config in (distill, train):
        path = written(config.configuration(), tmp_path / "config.yaml")
        assert settings_of(type(config), read_values(path, config.command), tmp_path) == config
        assert recorded_settings(path) == config


def test_a_config_file_repeats_a_run(small: DistillSettings, tmp_path: Path) -> None:
    run = distill_student(small)
    invoke("distill", "--config", run.folder / "config.yaml", "--output", tmp_path / "again", "--quiet")
    for name in ("config.yaml", "metrics.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (run.folder / name).read_bytes()
    invoke(
        "distill", "--config", run.folder / "config.yaml", "--output", tmp_path / "other", "--seed", 1, "--epochs", 1,
        "--student", "cifar:resnet32", "--layers", "3", "--student-layers", "4", "--quiet",
    )  # fmt: skip
    ours, theirs = settings(run.folder), settings(tmp_path / "other")
    assert theirs["training"] == {**ours["training"], "seed": 1, "epochs": 1}
    assert theirs["student"]["name"] == "cifar:resnet32" and theirs["teacher"] == ours["teacher"]
    assert (theirs["layers"], theirs["student_layers"]) == ("layer1.2", "layer1.3") != ours["layers"]


def test_presets_lie_between_the_file_and_the_command_line(digits_teacher: Run, tmp_path: Path) -> None:
    common = ("--epochs", 1, "--train-samples", 100, "--test-samples", 50, "--quiet")
    first = ("train", "--model", "cifar:resnet20", "--data", "digits", "--weight-decay", 0.5, "--clip", 3)
    invoke(*first, *common, "--output", tmp_path / "a")
    invoke(
        "train", "--config", tmp_path / "a" / "config.yaml", "--preset", "paper-240", "--lr", 0.01, "--milestones",
        "1,2", "--epochs", 3, "--quiet", "--output", tmp_path / "b",
    )  # fmt: skip
    training = settings(tmp_path / "b")["training"]
    expected = {
        "optimizer": "sgd", "lr": 0.01, "weight_decay": 5e-4, "clip": 3, "milestones": [1, 2],
        "batch_size": 128, "augment": "none", "train_samples": 100, "epochs": 3,
    }  # fmt: skip
    assert {key: training[key] for key in expected} == expected


@pytest.mark.parametrize(("student", "rate"), [("cifar:resnet20", 0.05), ("cifar:vgg11", 0.01), ("none", None)])
def test_the_rate_of_a_preset_is_that_of_the_network_that_learns(
    tmp_path: Path, student: str, rate: float | None
) -> None:
    given = {"teacher": {"name": "cifar:resnet20"}, "data": {"name": "digits"}, "method": "kd"}
    given |= {} if rate is None else {"student": student}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(given))
    source = SourceSettings(config=tmp_path / "c.yaml", preset="paper-240")
    told = Given(DistillSettings, {"output": tmp_path / "run"})
    if rate is None:
        with pytest.raises(LayerprobeError, match="student is missing"):
            run_settings(told, source)
    else:
        assert run_settings(told, source).training.lr == rate


def test_going_on_needs_the_folder_alone(small: DistillSettings) -> None:
    class Stop(Exception):
        pass

    def stop(_: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        distill_student(small, on_epoch=stop)
    assert "as it was" in invoke("distill", "--resume", "--output", small.output, "--seed", 3, code=2).stderr
    result = invoke("distill", "--resume", "--output", small.output)
    assert "going on after epoch 1 of 2" in result.stderr and "epoch 1/2" not in result.stderr
    assert json.loads((small.output / "result.json").read_text())["resumed_after_epochs"] == [1]
    assert "nothing to do" in invoke("distill", "--resume", "--output", small.output).stderr


def test_another_files_weights_are_refused(small: DistillSettings, tmp_path: Path) -> None:
    run = distill_student(small)
    values = merge(settings(run.folder), {"training": {"seed": 2}})
    values["teacher"]["weights"] = str(run.weights)
    with pytest.raises(LayerprobeError, match="not those of the configuration: .*student.safetensors has SHA-256"):
        distill_student(settings_of(DistillSettings, values, tmp_path / "other"))
    values = merge(settings(run.folder), {"teacher": {"weights": str(run.weights)}})
    assert "weights_sha256" not in values["teacher"] and "weights_sha256" in values["student"]


def test_hashes_of_random_weights_are_compared_until_they_are_drawn_anew(
    small: DistillSettings, tmp_path: Path
) -> None:
    values = distill_student(small).config
    told = settings_of(DistillSettings, settings(small.output), tmp_path / "again")
    network = {"student": {**values["student"], "weights_sha256": "0" * 64}}
    with pytest.raises(LayerprobeError, match="random, drawn with seed 0, has SHA-256 .*; take the seed.*, or remove"):
        distill_student(told.replaced(student=ModelSettings(**network["student"])))
    for change in ({"training": {"seed": 2}}, {"data": {"name": "cifar10"}}, {"student": {"num_classes": 3}}):
        assert "weights_sha256" not in merge(values, change)["student"]
    assert "weights_sha256" in merge(values, {"training": {"seed": 0}, "overwrite": True})["student"]
    assert "weights_sha256" in merge(values, {"training": {"seed": 2}})["teacher"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainings": {}}, "there is no setting 'trainings'; closest: 'training'"),
        ({"training": {"epoch": 3}}, "there is no setting 'training.epoch'; closest: 'epochs'"),
        ({"training": {"epochs": "many"}}, "training.epochs is a whole number, not 'many'"),
        ({"training": {"seed": 2**70}}, "training.seed is below 9223372036854775808, not 1180591620717411303424"),
        ({"data": "digits", "alignment": {"loss": "msd"}}, "alignment.feature_loss: no feature loss 'msd'"),
        ({"training": {"learning_rate": 0}}, "training.lr is above 0, not 0"),
        (
            {"training": {"learning_rate": 1, "lr": 1}},
            "training.learning_rate is called training.lr now, and both are given",
        ),
        ({"teacher_layers": 5}, "layers: layers are a list of names and indices, .*; not 5"),
        ({"preprocessing": {"image_size": 32}}, "preprocessing.image_size must be a list, not 32"),
        ({"preprocessing": 3}, "preprocessing must be a mapping with keys below it"),
        ({"versions": ["0.1.0"]}, "versions must be a mapping with keys below it, not"),
        ({"processes": 0}, "processes must be at least 1, not 0"),
    ],
)
def test_a_malformed_value_is_named_with_its_file(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Files need not be whole: a command adds what is missing. Of a run nothing may be missing."""
    values = {"command": "distill", "teacher": {"name": "a"}, "student": {"name": "b"}, "data": {"name": "c"}}
    for read in (lambda path: read_values(path, "distill"), read_run_config):
        with pytest.raises(LayerprobeError, match=f"^{tmp_path}/config.yaml: {message}"):
            read(written({**values, **change}, tmp_path / "config.yaml"))
    path = written({key: value for key, value in values.items() if key != "data"}, tmp_path / "config.yaml")
    assert read_values(path, "distill")["teacher"] == {"name": "a"}
    with pytest.raises(LayerprobeError, match="config.yaml: data is missing; give it"):
        read_run_config(path)


def test_a_training_has_no_layers(tmp_path: Path) -> None:
    path = written({"model": "m", "data": "d", "teacher_layers": []}, tmp_path / "config.yaml")
    with pytest.raises(LayerprobeError, match="there is no setting 'layers'"):
        read_values(path, "train")


def test_layers_are_a_list_or_one_text(tmp_path: Path) -> None:
    names = {"teacher": "cifar:resnet20", "student": "cifar:resnet20", "data": "digits"}

    def layers(**values: object) -> tuple[str, str]:
        path = written({**names, **values}, tmp_path / "config.yaml")
        config = settings_of(DistillSettings, read_values(path, "distill"), tmp_path)
        return str(config.layers), str(config.student_layers)

    assert layers(teacher_layers=["a", 3, -1], student_layers="b, 4") == ("a,3,-1", "b,4")
    assert layers(layers=["a", 3, -1]) == layers(layers="a, 3, -1") == ("a,3,-1", "None")
    assert layers(teacher_layers="r.ranking.json", student_layers=[]) == ("r.ranking.json", "None")
    assert layers(teacher_layers=None) == layers() == ("None", "None")


def test_what_is_laid_over_values() -> None:
    values = {"teacher": {"name": "a", "weights_sha256": "x"}, "layers": "1", "student_layers": "2", "data": "digits"}
    assert merge(values, {"teacher": {"name": "a"}}) == {**values, "data": "digits"}
    assert merge(values, {"teacher": "b"})["teacher"] == {"name": "b"}
    assert merge(values, {"data": {"download": True}})["data"] == {"name": "digits", "download": True}
    table = {"alignment": {"mapping": "a=b"}}
    assert merge(values, table) == {"teacher": values["teacher"], "data": "digits", **table}
    assert merge(values, {**table, "layers": "3"})["layers"] == "3"
    assert merge(values, {"alignment": {"mapping": "full"}})["layers"] == "1"


@pytest.mark.parametrize("value", ["x", 1.5, ["a"], None])
def test_groups_that_are_none_are_laid_over_each_other(value: object) -> None:
    """What they must be is told where the whole is checked."""
    for key in ("training", "alignment", "data", "teacher"):
        assert key in merge({key: {"seed": 1}}, {key: value}) and key in merge({key: value}, {key: {"seed": 1}})


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"

    def refused(*more: object, command: str = "distill") -> str:
        error = invoke(command, *more, "--output", tmp_path / "run", code=2).stderr
        assert error.startswith("error: ") and error.count("\n") == 1
        return error

    assert "no configuration at" in refused("--config", path)
    path.write_text("a: [")
    assert "is not YAML" in refused("--config", path)
    path.write_text("just words")
    assert "holds no keys" in refused("--config", path)
    path.write_text("command: train\n")
    assert "is of `layerprobe train`; run that" in refused("--config", path)
    assert "--teacher, --student and --data are missing; give them, or --config FILE" in refused()
    assert "--model is missing; give it, or --config FILE" in refused("--data", "digits", command="train")
    assert "run holds no run to continue; with --resume, --output must name the folder" in refused("--resume")
    path.write_text('{"format": "layerprobe-ranking"}')
    assert "is a ranking; --layers takes it" in refused("--config", path)
    assert "--epochs is a whole number, not 'many'" in refused("--epochs", "many")
    assert "--help` lists" in refused("--epochz", 3)
    assert "--milestones is a whole number, not 'a'" in refused("--milestones", "a")
    assert "--preset: no preset 'paper'; closest: 'paper-" in refused("--preset", "paper")


def test_what_a_file_turns_on_the_command_line_turns_off(small: DistillSettings, tmp_path: Path) -> None:
    for name in ("distill", "train"):
        for _, option in load_command(name).options:
            if describe(option).kind is bool and len(option.path) > 1:
                assert not option.extra.alone, option.flag
    training = small.training.replaced(channels_last=True, epochs=1, train_samples=100)
    values = merge(
        small.replaced(training=training).configuration(), {"alignment": {"cross_entropy": True, "kl": True}}
    )
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(values))
    invoke(
        "distill", "--config", tmp_path / "plan.yaml", "--no-channels-last", "--no-kl", "--feature-weight", 10,
        "--test-samples", "all",
        "--output", tmp_path / "run", "--quiet",
    )  # fmt: skip
    written = settings(tmp_path / "run")
    assert not written["training"]["channels_last"] and not written["alignment"]["kl"]
    assert written["alignment"]["feature_weight"] == 10
    assert written["training"]["test_samples"] is None and written["training"]["train_samples"] == 100
    error = invoke("distill", "--train-samples", "some", "--output", tmp_path / "none", code=2).stderr
    assert "--train-samples is a number of images from 1, or 'all'; not 'some'" in error


def test_defaults_of_the_command_line_are_those_of_the_configuration() -> None:
    """An option that isn't given says nothing, so that the settings' own default holds; help shows that default."""
    for name in ("distill", "train"):
        command = load_command(name)
        assert all(parameter.default is None for parameter in command.parser.params)
        shown = {option.path: describe(option).default for _, option in command.options}
        for key, value in (("epochs", "50"), ("lr", "0.0075; VGG 0.005; transformers 0.001"), ("accumulate", "1")):
            assert shown["training", key] == value
