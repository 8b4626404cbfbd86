"""Settings: ranges hold however a value is said, errors are one line, every option has help and a flag of its own."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from layerprobe.catalogue import Entry
from layerprobe.settings.base import Settings, SettingsError, errors_of_part, part_of
from layerprobe.settings.data import DataSettings
from layerprobe.settings.flags import flag_of, options_of
from layerprobe.settings.layer_choice import LayerChoice
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.settings.run import DistillSettings, TrainSettings

NAMES = {"teacher": "cifar:resnet56", "student": "cifar:resnet20", "data": "digits", "output": "run"}
COMMANDS = (TrainSettings, DistillSettings)


def refused(values: dict[str, Any], settings: type[Settings] = DistillSettings) -> str:
    """The message on values, which is the same from Python and from YAML, as a command spells it."""
    with pytest.raises(SettingsError) as raised:
        settings(**values)
    with pytest.raises(SettingsError) as parsed:
        settings.parse(yaml.safe_load(yaml.safe_dump(values)))
    assert str(raised.value) == str(parsed.value) and "\n" not in str(raised.value)
    return raised.value.spelled(lambda path: flag_of(settings, path))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"epochs": -1}, "--epochs is at least 1, not -1"),
        ({"epochs": 0}, "--epochs is at least 1, not 0"),
        ({"epochs": True}, "--epochs is a whole number, not True"),
        ({"epochs": "many"}, "--epochs is a whole number, not 'many'"),
        ({"epochs": 1.5}, "--epochs is a whole number, not 1.5"),
        ({"lr": 0}, "--lr is above 0, not 0"),
        ({"lr": float("nan")}, "--lr is a finite number, not nan"),
        ({"lr": float("inf")}, "--lr is a finite number, not inf"),
        ({"lr": "-1e-3"}, "--lr is above 0, not '-1e-3'"),
        ({"batch_size": 1}, "--batch-size is at least 2, not 1"),
        ({"seed": -1}, "--seed is at least 0, not -1"),
        ({"seed": 2**70}, f"--seed is below {2**63}, not {2**70}"),
        ({"seed": None}, "--seed is a whole number, not None"),
        ({"holdout": 5}, "--holdout is below 1, not 5"),
        ({"holdout": -0.1}, "--holdout is at least 0, not -0.1"),
        ({"workers": -1}, "--workers is at least 0, not -1"),
        ({"weight_decay": -1}, "--weight-decay is at least 0, not -1"),
        ({"weight_decay": "1e-"}, "--weight-decay is a number, not '1e-'"),
        ({"momentum": -0.1}, "--momentum is at least 0, not -0.1"),
        ({"decay": -0.1}, "--decay is at least 0, not -0.1"),
        ({"backbone_lr_factor": -1}, "--backbone-lr-factor is at least 0, not -1"),
        ({"clip": 0}, "--clip is above 0, not 0"),
        ({"accumulate": 0}, "--accumulate is at least 1, not 0"),
        ({"train_samples": 0}, "--train-samples is a number of images from 1, or 'all'; not 0"),
        ({"test_samples": "some"}, "--test-samples is a number of images from 1, or 'all'; not 'some'"),
        ({"precision": "fp15"}, "--precision is one of 'no', 'bf16', 'fp16'; not 'fp15'"),
        ({"device": "tpu"}, "--device is one of auto, cpu, cuda, cuda:N, mps; not 'tpu'"),
        ({"device": "cpu:1"}, "--device is one of auto, cpu, cuda, cuda:N, mps; not 'cpu:1'"),
        ({"optimizer": "adam"}, "--optimizer: no optimizer 'adam'; closest: 'adamw'"),
        ({"schedule": "cosin"}, "--schedule: no schedule 'cosin'; closest: 'cosine'"),
        ({"augment": "crop"}, "--augment: no augmentation 'crop'; closest: 'crop-flip'"),
        ({"compile": 1}, "--compile is true or false, not 1"),
        ({"milestones": 3}, "--milestones is a list, not 3"),
        ({"milestones": [2, "a"]}, "--milestones is a whole number, not 'a'"),
        ({"milestones": [0]}, "--milestones is at least 1, not 0"),
        ({"milestones": [3]}, "--milestones belong to --schedule multi-step, not to onecycle; leave them out"),
        (
            {"milestones": [5, 3], "schedule": "multi-step", "epochs": 8},
            "--milestones are ascending epochs below --epochs 8, not '5,3'; e.g. 5,6,7",
        ),
        (
            {"milestones": [8], "schedule": "multi-step", "epochs": 8},
            "--milestones are ascending epochs below --epochs 8, not '8'; e.g. 5,6,7",
        ),
        (
            {"cache_teacher": True, "augment": "trivial"},
            "--augment trivial changes the images in every epoch, and --cache-teacher sees them once; leave one of "
            "them out",
        ),
        ({"epoch": 3}, "there is no setting 'training.epoch'; closest: 'epochs'"),
    ],
)
def test_trainings_that_can_not_be(training: dict[str, Any], message: str) -> None:
    assert refused({**NAMES, "training": training}) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trainings": {}}, "there is no setting 'trainings'; closest: 'training', 'setting'"),
        ({"training": 3}, "training is a mapping with keys below it, not 3"),
        ({"method": "kdd"}, "--method: no method 'kdd'; closest: 'kd', 'rkd', 'kd-std'"),
        ({"method": 3}, "--method is text, not 3"),
        ({"student": {"weights": "random"}}, "--student is missing; give it"),
        ({"student": ""}, "--student is not empty, not ''"),
        ({"student": {"name": "a", "num_classes": "ten"}}, "--student-num-classes is a whole number, not 'ten'"),
        (
            {"method": "sp", "student": {"name": "a", "num_classes": 0}},
            "training needs a classifier, which --student-num-classes 0 leaves out; leave the number out; feature-only "
            "without ablations trains a backbone alone",
        ),
        ({"student": {"name": "a", "num_classes": -1}}, "--student-num-classes is at least 0, not -1"),
        ({"teacher": {"name": "a", "weigths": "w"}}, "there is no setting 'teacher.weigths'; closest: 'weights', .*"),
        ({"data": {"name": "digits", "image_size": "big"}}, "--image-size is a whole number, not 'big'"),
        ({"data": {"name": "digits", "mean": 0.5}}, "--mean is a list, not 0.5"),
        ({"data": {"name": "digits", "mean": [0.5]}}, "--mean and --std go together: give both or neither"),
        (
            {"data": {"name": "digits", "mean": [0.5, 0.5], "std": [1]}},
            r"--mean is one number or three, separated by commas; not \[0.5, 0.5\]",
        ),
        ({"data": {"name": "digits", "mean": [0.5], "std": [0]}}, "--std is above 0, not 0"),
        ({"data": {"name": "digits", "mean": [0.5], "std": [float("nan")]}}, "--std is a finite number, not nan"),
        ({"data": {"name": "digits", "mean": [0.5], "std": [float("inf")]}}, "--std is a finite number, not inf"),
        ({"data": {"name": "digits", "image_size": 0}}, "--image-size is at least 1, not 0"),
        ({"data": {"name": "digits", "image_size": -5}}, "--image-size is at least 1, not -5"),
        ({"teacher_features": 3}, "--teacher-features is a path, not 3"),
        ({"alignment": {"by_class": "no"}}, "--by-class is true or false, not 'no'"),
        ({"alignment": {"feature_loss": None}}, "--feature-loss is text, not None"),
        ({"alignment": {"feature_loss": "mze"}}, "--feature-loss: no feature loss 'mze'; closest: 'mse'.*"),
        ({"alignment": {"mapping": "ful"}}, "--mapping: a mapping is one of one-to-one, .*; closest: 'full'"),
        ({"alignment": {"mapping": [["a", "x"]]}}, "--mapping: a mapping is one of one-to-one, .* not .*'x'.*"),
        ({"alignment": {"mapping": "a=x,b"}}, "--mapping: a table has pairs STUDENT=TEACHER .* not 'b'"),
        ({"layers": 5}, "--layers: layers are a list of names and indices, .*; not 5"),
        ({"student_layers": [["a"]]}, "--student-layers: layers are a list of names and indices, .*'a'.*"),
        ({"student_layers": "quality:4"}, "--student-layers takes names and indices .*, or even:K; not 'quality:4'"),
        ({"student_layers": "r.ranking.json"}, "--student-layers takes names and indices .*; not 'r.ranking.json'"),
        ({"layers": "qualty:4"}, "--layers: no rule 'qualty' that chooses layers; closest: 'quality', .*"),
        ({"resume": True, "overwrite": True}, "--resume continues a run and --overwrite replaces it; .*"),
        ({"method": "kd", "alignment": {"kl": True}}, "--alignment, --by-class, .*kd has its own; leave them out"),
        ({"method": "kd", "teacher_features": "f.h5"}, "kd needs more of a teacher than .*--teacher-features holds.*"),
        ({"method": "scratch", "teacher_features": "f.h5"}, "scratch uses no features .*--teacher-features out"),
        (
            {"teacher_features": "f.h5", "training": {"augment": "trivial"}},
            "--augment trivial changes the images .*; leave --augment or --teacher-features out",
        ),
        (
            {"teacher_features": "f.h5", "training": {"cache_teacher": True}},
            "--teacher-features stands for the teacher's passes already; leave --cache-teacher out",
        ),
    ],
)
def test_distillations_that_can_not_be(values: dict[str, Any], message: str) -> None:
    import re

    assert re.fullmatch(message, refused({**NAMES, **values}))


def test_missing_fields_are_named_together() -> None:
    assert refused({}) == "--output, --teacher, --student and --data are missing; give them"
    assert refused({"output": "run", "data": "digits"}, TrainSettings) == "--model is missing; give it"


def test_a_python_user_reads_the_fields() -> None:
    with pytest.raises(SettingsError, match=r"^training.epochs is at least 1, not -1$"):
        DistillSettings(**NAMES, training={"epochs": -1})
    with pytest.raises(SettingsError, match=r"^epochs is at least 1, not -1$"):
        TrainingSettings(epochs=-1)


def test_errors_about_a_part_name_its_own_flags() -> None:
    with pytest.raises(SettingsError) as raised, errors_of_part("student"):
        raise SettingsError("give <weights> FILE, or another <data.image_size>")
    assert str(raised.value) == "give student.weights FILE, or another data.image_size"
    spelled = raised.value.spelled(lambda path: flag_of(DistillSettings, path))
    assert spelled == "give --student-weights FILE, or another --image-size"


def test_names_stand_for_networks_and_images() -> None:
    settings = DistillSettings(**NAMES, layers="quality:4")
    assert settings.teacher == ModelSettings(name="cifar:resnet56") and settings.data == DataSettings(name="digits")
    assert settings.output == Path("run") and str(settings.layers) == "quality:4"


def test_numbers_that_yaml_reads_as_words() -> None:
    training = TrainingSettings.parse(yaml.safe_load("{lr: 1e-4, weight_decay: 5e-4, clip: 2, train_samples: all}"))
    assert (training.lr, training.weight_decay, training.clip, training.train_samples) == (1e-4, 5e-4, 2.0, None)


def test_plain_values_and_back() -> None:
    settings = DistillSettings(
        **{**NAMES, "data": {"name": "photos", "data_root": "root", "mean": "0.5", "std": [0.25]}},
        layers=["layer1.2", -1],
        student_layers="even:2",
        training={"schedule": "multi-step", "milestones": "3,5", "epochs": 9, "lr": "1e-1"},
        alignment={"mapping": "a=x, b=y", "cross_entropy": True, "feature_weight": 10},
    )
    plain = settings.plain()
    assert DistillSettings.parse(json.loads(json.dumps(plain))) == settings
    assert plain["layers"] == "layer1.2,-1" and plain["alignment"]["mapping"] == "a=x,b=y"
    assert plain["training"]["milestones"] == [3, 5] and plain["data"]["mean"] == [0.5]
    told = settings.configuration()
    assert told["command"] == "distill" and not {"output", "overwrite", "resume"} & set(told)
    assert hash(settings) == hash(settings.replaced())


def test_settings_are_frozen_and_checked_again() -> None:
    settings = TrainingSettings()
    with pytest.raises(Exception, match="frozen"):
        settings.epochs = 3
    with pytest.raises(SettingsError, match="epochs is at least 1"):
        settings.replaced(epochs=0)


def test_what_depends_on_the_network_is_filled_in() -> None:
    resolved = TrainingSettings(schedule="multi-step", epochs=240).resolved("cifar:vgg11")
    assert (resolved.lr, resolved.milestones) == (0.005, (150, 180, 210))
    assert TrainingSettings(lr=0.1).resolved("cifar:vgg11") == TrainingSettings(lr=0.1)


def groups(settings: type[Settings]) -> list[type[Settings]]:
    parts = [part for field in settings.model_fields.values() if (part := part_of(field))]
    return [settings, *(inner for part in parts for inner in groups(part))]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_field_has_help(command: type[Settings]) -> None:
    for settings in groups(command):
        for name, field in settings.model_fields.items():
            assert field.description, f"{settings.__name__}.{name} has no docstring"
    assert all(option.help for option in options_of(command))


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_are_unique(command: type[Settings]) -> None:
    counts = Counter(option.flag for option in options_of(command))
    assert [flag for flag, count in counts.items() if count > 1] == []


def test_flags_come_from_the_fields() -> None:
    flags = {option.flag: option for option in options_of(DistillSettings)}
    for flag in (
        "--teacher", "--teacher-weights", "--student-weights", "--data", "--data-root", "--layers", "--lr",
        "--alignment", "--feature-loss", "--cross-entropy", "--image-size", "--batch-size", "--output",
    ):  # fmt: skip
        assert flag in flags
    assert flags["--teacher"].help.startswith("The teacher: timm:NAME, ")
    assert flags["--alignment"].help.startswith("How feature-only compares")
    assert flags["--student-weights"].default == "random"
    train = {option.flag for option in options_of(TrainSettings)}
    assert {"--model", "--weights", "--num-classes", "--lr"} < train and not {"--check", "--cache-teacher"} & train
    assert flag_of(DistillSettings, "teacher.weights_sha256") == "teacher.weights_sha256"


def test_a_choice_is_looked_up_when_it_is_parsed() -> None:
    from layerprobe.settings.recipe import OPTIMIZERS

    with OPTIMIZERS.registered(Entry("dummy", "Dummy", "for a test", "math:sqrt")):  # type: ignore[arg-type]
        assert TrainingSettings(optimizer="dummy").optimizer == "dummy"
    assert "no optimizer 'dummy'" in refused({"optimizer": "dummy"}, TrainingSettings)


def test_settings_import_nothing_heavy() -> None:
    modules = sorted((Path(__file__).parents[2] / "layerprobe" / "settings").glob("*.py"))
    names = [f"layerprobe.settings.{path.stem}" for path in modules if path.stem != "__init__"]
    code = (
        f"import importlib, sys\n[importlib.import_module(name) for name in {names!r}]\n"
        "print([name for name in ('torch', 'numpy', 'typer', 'click', 'matplotlib', 'sklearn') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_choice_of_layers_stands_for_itself() -> None:
    choice = LayerChoice.parse("even:2")
    assert DistillSettings(**NAMES, layers=choice).layers is choice
