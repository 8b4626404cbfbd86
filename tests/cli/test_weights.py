"""Weights files of other people's making, from the command line to a run."""

import json
from pathlib import Path

import pytest
import torch

from tests.helpers.commands import invoke
from tests.helpers.wrappings import good, prefixed

FEW = ("--epochs", 1, "--train-samples", 100, "--test-samples", 50, "--device", "cpu")


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    """A network's weights without its classifier, as a momentum encoder's run leaves them."""
    state = {name: value for name, value in good("cifar:resnet20").items() if not name.startswith("linear.")}
    path = tmp_path / "moco.pth.tar"
    torch.save({"state_dict": prefixed("module.encoder_q.", state) | {"module.queue": torch.ones(2)}}, path)
    return path


def test_a_backbone_is_extracted_ranked_and_distilled_from(backbone: Path, tmp_path: Path) -> None:
    model = ("--model", "cifar:resnet20", "--weights", backbone)
    features, ranking = tmp_path / "b.h5", tmp_path / "b.ranking.json"
    extract = ("extract", *model, "--data", "digits", "--samples", 60, "--output", features)
    refused = invoke(*extract, code=2).stderr
    assert (
        "the file has no classifier: of the model's tensors only linear.weight and linear.bias are missing, and "
        in refused
    )
    assert "beside them the file holds module.queue; give --num-classes 0 to take the network without it" in refused
    said = invoke(*extract, "--num-classes", 0).stderr
    assert (
        "moco.pth.tar for cifar:resnet20: the weights under 'state_dict' are taken; the prefix 'module.encoder_q.' "
        in said
    )
    result = invoke("rank", features, "--top", 2)
    assert "--teacher-num-classes 0" in result.stderr
    layers = json.loads(ranking.read_text())["layers"]
    assert layers[-1]["name"] == "linear.input" and len(layers) == 11
    distill = ("distill", "--student", "cifar:resnet20", "--data", "digits", "--layers", ranking, *FEW)
    teacher = ("--teacher", "cifar:resnet20", "--teacher-weights", backbone, "--teacher-num-classes", 0)
    said = invoke(*distill, *teacher, "--output", tmp_path / "run").stderr
    assert said.count("are taken; the prefix") == 1
    assert "the teacher has no classifier, the data 10 classes: its accuracy is not measured" in said
    other = ("--teacher", "cifar:resnet20", "--teacher-weights", "random")
    said = invoke(*distill, *other, "--output", tmp_path / "other", code=2).stderr
    assert "is of cifar:resnet20 with other weights than the teacher's: SHA-256" in said
    assert "or give --allow-other-ranking to take those of this one" in said
    said = invoke(*distill, *other, "--output", tmp_path / "other", "--allow-other-ranking").stderr
    assert said.count("; its layers are taken all the same") == 1


def test_what_needs_a_classifier_says_so(backbone: Path, tmp_path: Path) -> None:
    out, data = ("--output", tmp_path / "run"), ("--data", "digits")
    train = ("train", "--model", "cifar:resnet20", *data, *out)
    assert (
        "training needs a classifier, which --num-classes 0 leaves out"
        in invoke(*train, "--num-classes", 0, code=2).stderr
    )
    distill = ("distill", "--teacher", "cifar:resnet20", "--student", "cifar:resnet20", *data, *out)
    said = invoke(*distill, "--method", "sp", "--student-num-classes", 0, code=2).stderr
    assert "training needs a classifier, which --student-num-classes 0 leaves out" in said
    said = invoke(*distill, "--method", "kd", "--teacher-num-classes", 0, code=2).stderr
    assert "kd needs the teacher's classifier, which --teacher-num-classes 0 leaves out" in said


def test_a_network_that_is_trained_gets_a_new_classifier(backbone: Path, tmp_path: Path) -> None:
    hundred = tmp_path / "hundred.pth"
    torch.save(good("cifar:resnet20", 100), hundred)
    for file, found in ((backbone, "is not in the file"), (hundred, "has 100 classes in the file")):
        train = ("train", "--model", "cifar:resnet20", "--weights", file, "--data", "digits", "--overwrite")
        said = invoke(*train, *FEW, "--output", tmp_path / "run").stderr
        assert f"the classifier (linear.bias (and 1 more)) {found}; it starts from random weights" in said


def test_the_classes_of_a_file_are_found_behind_any_prefix_and_key(tmp_path: Path) -> None:
    state = prefixed("student.backbone.", good("cifar:resnet20", 7)) | {"z.weight": torch.ones(3)}
    torch.save({"net": state, "net_ema": {name: value * 0 for name, value in state.items()}}, tmp_path / "w.ckpt")
    model = ("--model", "cifar:resnet20", "--weights", tmp_path / "w.ckpt")
    extract = ("extract", *model, "--data", "digits", "--samples", 20, "--output", tmp_path / "f.h5")
    said = invoke(*extract).stderr
    assert (
        "the weights under 'net_ema' are taken; the prefix 'student.backbone.' is taken off their names; left out: z."
        in said
    )
    assert "'net.student.backbone' would fit too: weights_key names what to take" in said
    said = invoke(*extract, "--weights-key", "net", "--overwrite").stderr
    assert "the weights under 'net' are taken" in said and "would fit too" not in said
    said = invoke(*extract, "--weights-key", "other", "--overwrite", code=2).stderr
    assert "has no part 'other' for --weights-key; found: 'net.student.backbone', 'net_ema.student.backbone'" in said
    said = invoke("extract", *model[:2], "--weights", "random", "--weights-key", "net", *extract[5:], code=2).stderr
    assert "--weights-key is of a weights file, and the weights are random; leave it out" in said
