"""config.yaml repeats a run, and any key of it can be changed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from layerprobe.cli.main import app
from layerprobe.distill.config import DistillConfig, TrainConfig, Training
from layerprobe.distill.config_file import distill_config, merge, read_values, to_values, train_config
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.networks import DataSpec, ModelSpec
from layerprobe.records import Run


def invoke(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def settings(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "config.yaml").read_text())


def test_values_and_back(tmp_path: Path) -> None:
    training = Training(schedule="multi-step", milestones=(3, 5), epochs=9, learning_rate=0.1, clip=2.0, seed=4)
    data = DataSpec("photos", Path("root"), False, 32, (0.5,), (0.25,))
    distill = DistillConfig(
        "kd", ModelSpec("cifar:resnet56", "w.th"), ModelSpec("cifar:resnet20"), data, tmp_path, "a,b", ("c", "d"),
        Path("f.h5"), training,
    )  # fmt: skip
    train = TrainConfig(ModelSpec("timm:resnet18", num_classes=3), data, tmp_path, training)
    for config, read in ((distill, distill_config), (train, train_config)):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(to_values(config)))
        values = read_values(path, "distill" if config is distill else "train")
        assert read(values, tmp_path, False, False) == config


def test_a_config_file_repeats_a_run(small: DistillConfig, tmp_path: Path) -> None:
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
    assert (
        (theirs["teacher_layers"], theirs["student_layers"]) == (["layer1.2"], ["layer1.3"]) != ours["teacher_layers"]
    )


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
        "optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 5e-4, "clip": 3, "milestones": [1, 2],
        "batch_size": 64,
        "augment": "crop-flip", "train_samples": 100, "epochs": 3,
    }  # fmt: skip
    assert {key: training[key] for key in expected} == expected


def test_going_on_needs_the_folder_alone(small: DistillConfig) -> None:
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


def test_another_files_weights_are_refused(small: DistillConfig, tmp_path: Path) -> None:
    run = distill_student(small)
    values = merge(settings(run.folder), {"training": {"seed": 2}})
    values["teacher"]["weights"] = str(run.weights)
    with pytest.raises(LayerprobeError, match="not those of the configuration: .*student.safetensors has SHA-256"):
        distill_student(distill_config(values, tmp_path / "other", False, False))
    values = merge(settings(run.folder), {"teacher": {"weights": str(run.weights)}})
    assert "weights_sha256" not in values["teacher"] and "weights_sha256" in values["student"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainings": {}}, "no key 'trainings' in a configuration; closest: 'training'"),
        ({"training": {"epoch": 3}}, "no key 'training.epoch' in a configuration; closest: 'epochs'"),
        ({"layers": "a"}, "no key 'layers' in a configuration; closest: '.*layers'"),
        ({"training": {"epochs": "many"}}, "training.epochs is a whole number, not 'many'"),
        ({"training": {"weight_decay": "1e-"}}, "training.weight_decay is a number, not '1e-'"),
        ({"training": {"compile": 1}}, "training.compile is true or false, not 1"),
        ({"training": {"epochs": True}}, "training.epochs is a whole number, not True"),
        ({"training": {"seed": None}}, "training.seed is a whole number, not None"),
        ({"training": {"milestones": 3}}, "training.milestones is a list, not 3"),
        ({"training": {"milestones": ["a"]}}, "training.milestones is a whole number, not 'a'"),
        ({"data": {"name": "digits", "image_size": "big"}}, "data.image_size is a whole number, not 'big'"),
        ({"data": {"name": "digits", "mean": 0.5}}, "data.mean is a list, not 0.5"),
        ({"student": {"name": "cifar:resnet20", "num_classes": "ten"}}, "num_classes is a whole number, not 'ten'"),
        ({"alignment": {"by_class": "no"}}, "alignment.by_class is true or false, not 'no'"),
        ({"alignment": {"loss": None}}, "alignment.loss is a word, not None"),
        ({"alignment": {"mapping": [["a", "x"]]}}, "alignment.mapping is a word, not .*'x'"),
        ({"method": 3}, "the configuration's method is a word, not 3"),
        ({"teacher_layers": 5}, "teacher_layers is a list of layers by name or index, not 5"),
        ({"student_layers": [["a"]]}, "student_layers is a list of layers by name or index, not .*'a'"),
        ({"teacher_features": 3}, "teacher_features is a path, not 3"),
        ({"data": "digits"}, "'data' has keys below it, e.g. 'name'; not 'digits'"),
        ({"student": {"weights": "random"}}, "names no student; give student.name, or --student"),
    ],
)
def test_what_is_no_configuration_is_refused(change: dict[str, Any], message: str) -> None:
    values = {"teacher": {"name": "cifar:resnet20"}, "student": {"name": "cifar:resnet20"}, "data": {"name": "digits"}}
    with pytest.raises(LayerprobeError, match=message):
        distill_config({**values, **change}, Path("run"), False, False)


def test_a_training_has_no_layers() -> None:
    with pytest.raises(LayerprobeError, match="no key 'teacher_layers' in a configuration"):
        train_config({"model": {"name": "m"}, "data": {"name": "d"}, "teacher_layers": []}, Path("run"), False, False)


def test_layers_are_a_list_or_one_text() -> None:
    names = {"teacher": {"name": "cifar:resnet20"}, "student": {"name": "cifar:resnet20"}, "data": {"name": "digits"}}

    def layers(**values: object) -> tuple[object, object]:
        config = distill_config({**names, **values}, Path("run"), False, False)
        return config.layers, config.student_layers

    assert layers(teacher_layers=["a", 3, -1], student_layers="b, 4") == ("a,3,-1", ("b", "4"))
    assert layers(teacher_layers="r.ranking.json", student_layers=[]) == ("r.ranking.json", None)
    assert layers(teacher_layers=None) == layers() == (None, None)


def test_yaml_reads_some_numbers_as_words(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("model: {name: m}\ndata: {name: digits}\ntraining: {weight_decay: 1e-4, clip: 2}\n")
    training = train_config(read_values(path, "train"), tmp_path, False, False).training
    assert (training.weight_decay, training.clip) == (1e-4, 2)


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
    assert "--teacher and --student and --data missing; give them, or --config FILE" in refused()
    assert "--model missing; give it, or --config FILE" in refused("--data", "digits", command="train")
    assert "run holds no run to go on with; --output names its folder" in refused("--resume")
    path.write_text('{"format": "layerprobe-ranking"}')
    assert "is a ranking; --layers takes it" in refused("--config", path)
    assert "Invalid value for '--epochs'" in refused("--epochs", "many") and "--help` lists" in refused("--epochz", 3)
    assert "--milestones is epochs separated by commas" in refused("--milestones", "a")
    assert "no preset 'paper'" in refused("--preset", "paper")


def test_what_a_file_turns_on_the_command_line_turns_off(small: DistillConfig, tmp_path: Path) -> None:
    import typer

    from layerprobe.cli import distill as distill_command
    from layerprobe.cli.training_options import _PLACES

    group = typer.main.get_command(app)
    for name in ("distill", "train"):
        for option in group.commands[name].params:  # type: ignore[attr-defined]
            if option.name in {**_PLACES, **distill_command._PLACES} and getattr(option, "is_flag", False):
                assert option.secondary_opts, option.name
    training = replace(small.training, channels_last=True, epochs=1, train_samples=100)
    values = merge(to_values(replace(small, training=training)), {"alignment": {"cross_entropy": True, "kl": True}})
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
    assert "--train-samples is a number of images, or 'all'; not 'some'" in error


def test_defaults_of_the_command_line_are_those_of_the_configuration() -> None:
    import click
    import typer

    from layerprobe.cli.training_options import _PLACES

    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    for name in ("distill", "train"):
        defaults = {option.name: option.default for option in group.commands[name].params}
        for option, place in _PLACES.items():
            part, _, key = place.partition(".")
            if part == "training" and option in defaults:
                assert defaults[option] == getattr(Training(), key), option
