"""Evaluation by features, from the command line to the kept file and the page."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from layerprobe.data.datasets import open_dataset
from layerprobe.data.loading import Pixels
from layerprobe.data.preprocessing import normalize
from layerprobe.data.sampling import balanced_sample
from layerprobe.distill.pooling import Pooling
from layerprobe.distill.run import distill_student
from layerprobe.distill.students import load_student
from layerprobe.evaluation.cka import cka_of_images
from layerprobe.files import sha256
from layerprobe.layers.capture import Capture
from layerprobe.models.weights import hash_weights
from layerprobe.records import Layer, Preprocessing, Run, Shape
from layerprobe.records.layers import output_layer
from layerprobe.records.layout import GRID, SEQUENCE, Layout
from layerprobe.settings.base import SettingsError
from tests.conftest import small_plan
from tests.helpers.commands import invoke

SMALL = ("--train-samples", 200, "--samples", 100, "--resamples", 50, "--device", "cpu")

PAIRS = [("layer2.1", "layer2.0"), ("layer3.2", "layer3.1")]
"""Layers of the student, with the teacher's that they learn from."""


@pytest.fixture(scope="module")
def student(digits_teacher: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    plan = small_plan(digits_teacher, tmp_path_factory.mktemp("evaluated"))
    return distill_student(plan.replaced(training=plan.training.replaced(epochs=1, train_samples=200)))


def test_what_pooling_keeps() -> None:
    features = torch.randn(2, 3, 5, 6)
    assert torch.allclose(Pooling((3, 5, 6))(features), features.mean(dim=(2, 3)))
    last = Layout("map", 5, 6, channels_last=True)
    assert torch.allclose(Pooling(Shape((5, 6, 3), last))(features.permute(0, 2, 3, 1)), features.mean(dim=(2, 3)))
    vector = torch.randn(2, 4).half()
    assert torch.equal(Pooling((4,))(vector), vector.float())
    tokens = torch.randn(2, 7, 3)  # a class token, two registers, a grid of 2 x 2
    of_class = Shape((7, 3), Layout(GRID, 2, 2, 3, True, True))
    first, patches = tokens[:, 0], tokens[:, 3:].mean(dim=1)
    assert torch.allclose(Pooling(of_class)(tokens), first) and Pooling(of_class).tokens == "cls"
    assert torch.allclose(Pooling(of_class, "mean")(tokens), patches)
    assert torch.allclose(Pooling(of_class, "both")(tokens), torch.cat([first, patches], dim=1))
    assert Pooling(of_class, "both").dimension == 6
    without = Shape((7, 3), Layout(SEQUENCE, 1, 7, channels_last=True))
    assert torch.allclose(Pooling(without)(tokens), tokens.mean(dim=1))
    last_layer = Layer(0, "x", "block", of_class, 0)
    returned = output_layer((7, 3), [last_layer]).shape  # of a network that returns its last layer
    assert torch.allclose(Pooling(returned)(tokens), first)
    assert Pooling(output_layer((9,), [last_layer]).shape).dimension == 9
    with pytest.raises(SettingsError, match="tokens both: the 7 tokens of layer 'x' have no class token"):
        Pooling(without, "both", "x")


def test_every_way_in_one_command(student: Run, tmp_path: Path) -> None:
    command = ("evaluate", student.folder, "--by", "classifier,knn,probe,retrieval,agreement", *SMALL, "-o", tmp_path)
    result = invoke(*command, "--format", "json")
    scores, classes, agreement = json.loads(result.stdout)
    by = {row["by"]: row for row in scores["rows"]}
    assert list(by) == ["classifier", "k-NN", "linear probe", "retrieval"]
    for row in by.values():
        assert row["value_low"] < row["value"] < row["value_high"] and row["images"] == 100
    assert by["k-NN"]["layer"] == "linear.input" and by["k-NN"]["dimension"] == 64
    assert [row["class"] for row in classes["rows"]] == [str(digit) for digit in range(10)]
    for name, label in (("classifier", "classifier"), ("knn", "k-NN"), ("probe", "linear probe")):
        mean = np.mean([row[name] for row in classes["rows"]])  # every class has ten images
        assert mean == pytest.approx(by[label]["value"]) and "knn_low" in classes["rows"][0]
    pairs = [(row["student"], row["teacher"]) for row in agreement["rows"]]
    assert pairs == [*PAIRS, ("output", "output")]
    assert all(row["cka_low"] < row["cka"] <= 1 for row in agreement["rows"])
    assert [row["cosine"] is None for row in agreement["rows"]] == [False, False, True]
    assert {path.name for path in tmp_path.iterdir()} == {
        "evaluation-100.json", *(f"confusion-100.{end}" for end in ("pdf", "svg", "png", "csv")),
    }  # fmt: skip
    table = list(csv.DictReader(invoke(*command, "--format", "csv").stdout.splitlines()))
    assert float(table[1]["value"]) == by["k-NN"]["value"] and len({row["table"] for row in table}) == 3
    assert "\\begin{tabular}" in invoke(*command, "--format", "latex").stdout
    shown = invoke(*command, "--columns", "value,cka").stdout
    assert "every class" not in shown and "CKA" in shown and "seconds" not in shown and "cosine   " not in shown


def test_agreement_against_a_loop(student: Run, digits_teacher: Run, tmp_path: Path) -> None:
    command = ("evaluate", student.folder, "--by", "agreement", *SMALL, "-o", tmp_path, "--format", "json")
    found = json.loads(invoke(*command).stdout)
    dataset, preprocessing = open_dataset("digits", split="test"), Preprocessing(**student.config["preprocessing"])
    rows = balanced_sample(dataset.labels, 100, seed=0, num_classes=10).rows
    images = normalize(Pixels(dataset, rows, preprocessing).__getitems__(range(100)).pixels, preprocessing)
    networks = load_student(student), load_student(digits_teacher)
    state = torch.load(student.folder / "checkpoints/latest/state.pt", weights_only=True)["objective"]
    for number, names in enumerate(PAIRS):
        features = []
        for network, name in zip(networks, names, strict=True):
            with torch.no_grad(), Capture(network, [name]) as capture:
                features.append(capture(images).features[name].double())
        weight = state[f"projectors.{number}.project.weight"][:, :, 0, 0].double()
        projected = torch.einsum("oc,nchw->nohw", weight, features[0])
        cosines = (projected * features[1]).sum(dim=1) / (projected.norm(dim=1) * features[1].norm(dim=1))
        row = found["rows"][number]
        assert row["cosine"] == pytest.approx(float(cosines.mean()), abs=1e-5)
        pooled = [side.mean(dim=(2, 3)) for side in features]
        assert row["cka"] == pytest.approx(float(cka_of_images(*pooled).mean()), abs=1e-5)


def test_agreement_runs_no_file_that_the_folder_names(student: Run, tmp_path: Path) -> None:
    folder, evil = tmp_path / "sent", tmp_path / "evil.py"
    shutil.copytree(student.folder, folder)
    evil.write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\ndef loss(student, teacher):\n    return student.sum()\n"
    )
    config = (folder / "config.yaml").read_text()
    assert "feature_loss: mse" in config
    (folder / "config.yaml").write_text(config.replace("feature_loss: mse", f"feature_loss: {evil}:loss"))
    error = invoke("evaluate", folder, "--by", "agreement", *SMALL, code=2).stderr
    assert "evil.py:loss, a Python file, which would be run; read it, and give --allow-code" in error
    assert not (tmp_path / "ran").exists()
    invoke("evaluate", folder, "--by", "agreement", *SMALL, "--allow-code")
    assert (tmp_path / "ran").exists()


def test_a_head_makes_a_classifier_and_leaves_the_backbone_alone(student: Run, tmp_path: Path) -> None:
    before, weights = sha256(student.weights), hash_weights(load_student(student))
    command = ("evaluate", student.folder, *SMALL, "--output", tmp_path, "--format", "json")
    scores, _ = json.loads(invoke(*command, "--by", "probe", "--save-head").stdout)
    head = tmp_path / "head.safetensors"
    headed = load_student(student, head=head)
    assert sha256(student.weights) == before and hash_weights(headed.backbone) == weights
    again = json.loads(invoke(*command, "--head", head).stdout)
    assert again["details"]["top1"] == pytest.approx(scores["rows"][0]["value"])
    state, images = load_file(head), torch.randn(4, 3, 8, 8)
    plain = load_student(student)
    with torch.no_grad(), Capture(plain, ["linear.input"]) as capture:
        features = capture(images).features["linear.input"]
        expected = features @ state["weight"].T + state["bias"]
        assert torch.allclose(headed(images), expected, atol=1e-5) and expected.shape == (4, 10)
    refused = invoke(*command, "--by", "probe", "--save-head", code=2).stderr
    assert "head.safetensors exists; --overwrite replaces it" in refused
    other = tmp_path / "other.safetensors"
    other.write_bytes(head.read_bytes().replace(weights.encode(), b"0" * 64))
    refused = invoke(*command, "--head", other, code=2).stderr
    assert "was trained on the features of other weights than those of" in refused
    save_file(state | {"bias": torch.full((10,), torch.nan)}, other, safe_open(head, "pt").metadata())
    assert "holds values that are no finite numbers" in invoke(*command, "--head", other, code=2).stderr
    assert "has no backbone_sha256" in invoke(*command, "--head", student.weights, code=2).stderr


def test_a_student_without_a_classifier(digits_teacher: Run, tmp_path: Path) -> None:
    plan = small_plan(digits_teacher, tmp_path)
    training = plan.training.replaced(epochs=1, train_samples=100)
    run = distill_student(plan.replaced(student=plan.student.replaced(num_classes=0), training=training))
    command = ("evaluate", run.folder, *SMALL, "--format", "json")
    rows = json.loads(invoke(*command, "--save-head").stdout)[0]["rows"]
    last_trained = "layer3.2"  # nothing behind it learned
    assert [(row["by"], row["layer"]) for row in rows] == [("k-NN", last_trained), ("linear probe", last_trained)]
    assert "has no classifier; --by knn,probe needs no" in invoke(*command, "--by", "classifier", code=2).stderr
    headed = invoke(*command, "--head", run.folder / "head.safetensors").stdout
    assert json.loads(headed)["details"]["top1"] == pytest.approx(rows[1]["value"])
    agreement = json.loads(invoke(*command, "--by", "agreement").stdout)["rows"]
    assert [row["student"] for row in agreement] == ["layer2.1", "layer3.2", "output"]


def test_agreement_on_images_of_other_classes_has_the_teacher_of_the_run(
    digits_teacher: Run, photos: Path, tmp_path: Path
) -> None:
    plan = small_plan(digits_teacher, tmp_path)
    training = plan.training.replaced(epochs=1, train_samples=100)
    teacher = plan.teacher.replaced(weights="random")
    run = distill_student(plan.replaced(teacher=teacher, training=training))
    command = ("evaluate", run.folder, "--data", photos, *SMALL, "--samples", "all", "-o", tmp_path / "o")
    found = json.loads(invoke(*command, "--by", "agreement", "--format", "json").stdout)["rows"]
    assert [row["student"] for row in found] == ["layer2.1", "layer3.2", "output"]


def test_several_layers_of_a_network_that_is_no_run(digits_teacher: Run, tmp_path: Path) -> None:
    command = ("evaluate", "--model", "cifar:resnet20", "--weights", digits_teacher.weights, "--data", "digits", *SMALL)
    scores, classes = json.loads(
        invoke(*command, "--layers", "layer1.0,output", "--by", "knn", "--votes", "plain", "--format", "json").stdout
    )
    assert [(row["layer"], row["dimension"]) for row in scores["rows"]] == [("layer1.0", 16), ("output", 10)]
    assert "knn layer1.0" in classes["rows"][0] and "k 20, votes plain" in scores["notes"][2]
    assert [row["by"] for row in json.loads(invoke(*command, "--format", "json").stdout)[0]["rows"]] == [
        "k-NN", "linear probe",
    ]  # fmt: skip
    top1 = json.loads(invoke(*command, "--by", "classifier", "--format", "json").stdout)["details"]["top1"]
    of_run = invoke("evaluate", digits_teacher.folder, "--samples", 100, "-o", tmp_path, "--format", "json").stdout
    assert top1 == json.loads(of_run)["details"]["top1"]


def test_scores_are_kept_beside_each_other_and_shown_on_the_page(student: Run) -> None:
    command = ("evaluate", student.folder, "--data", "digits", *SMALL)
    invoke(*command, "--by", "knn")
    invoke(*command, "--by", "retrieval,agreement")
    path = student.folder / "evaluation-digits-100.json"
    kept = json.loads(path.read_text())["found"]
    assert [score["by"] for score in kept["scores"]] == ["knn", "retrieval"] and kept["train_images"] == 200
    refused = invoke(*command, "--by", "knn", "--seed", 1, code=2).stderr
    assert "holds an evaluation of other weights or images, or with other intervals; --overwrite replaces" in refused
    invoke("report", student.folder, "--overwrite")
    page = (student.folder / "report.html").read_text()
    assert "What the features are worth, digits-100" in page and "Agreement with the teacher, digits-100" in page
    path.write_text(path.read_text().replace('"k"', '"k').replace('"version": 1', '"version": 2'))
    assert "is not JSON" in invoke("report", student.folder, "--overwrite", code=2).stderr
    path.unlink()


def test_images_of_other_classes(student: Run, photos: Path, tmp_path: Path) -> None:
    options = ("--data", photos, "--neighbours", 3, "--device", "cpu", "-o", tmp_path / "out")
    assert "--by knn,probe needs no classifier" in invoke("evaluate", student.folder, *options, code=2).stderr
    result = invoke("evaluate", student.folder, *options, "--by", "knn,probe", "--format", "json")
    scores, classes = json.loads(result.stdout)
    assert [row["class"] for row in classes["rows"]] == ["cat", "dog", "eel"] and scores["rows"][0]["value"] > 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--by", "knn", "--split", "train"), "--by knn learns from the training images; --split train would test it"),
        (("--by", "svm"), "no way of evaluation 'svm'"),
        (("--by", "knn", "--save-head"), "--save-head keeps the linear probe; add probe to --by"),
        (("--by", "knn", "--head", "x"), "--head is a classifier, and --by asks for none"),
        (("--by", "knn", "--layers", "layer9"), "layer 'layer9' is not in"),
        (("--by", "knn", "--tokens", "cls"), "--tokens cls: none of the layers has tokens; leave it out"),
        (("--by", "knn", "--neighbours", 2000), "--neighbours is at most the number of training images, 1198"),
        (("--by", "probe", "--save-head", "--layers", "0,1"), "--save-head keeps the probe of one layer"),
        (("--by", "agreement"), "has no teacher to agree with; name a run that a teacher took part in"),
        (("--model", "cifar:resnet20"), "both name a network; give one of them"),
        (("--data", "digits", "--image-size", 16), "sees images as the run prepared them; leave --image-size out"),
    ],
)
def test_refusals(digits_teacher: Run, tmp_path: Path, options: tuple[object, ...], message: str) -> None:
    error = invoke("evaluate", digits_teacher.folder, "-o", tmp_path / "o", "--samples", 20, *options, code=2).stderr
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "o").exists()
