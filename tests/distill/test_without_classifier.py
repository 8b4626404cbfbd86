"""Teachers and students without a classifier: what is learned, said and refused, and the weights that are left."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from layerprobe.data.datasets import open_split
from layerprobe.distill.alignments.catalogue import ALIGNMENTS
from layerprobe.distill.engine.images import Images, load_images
from layerprobe.distill.folder import read_run
from layerprobe.distill.run import distill_student
from layerprobe.distill.students import load_student, snippet
from layerprobe.errors import LayerprobeError
from layerprobe.models.zoo import build_model, resampled_positions
from layerprobe.networks import load_network
from layerprobe.records import Run
from layerprobe.report.figures.curves import curves_figure
from layerprobe.report.tables.runs import UNTESTED, run_table, runs_table
from layerprobe.settings.base import SettingsError
from layerprobe.settings.data import DataSettings
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.run import DistillSettings

NETWORKS = """
import timm

def dense(image_size):
    return timm.create_model("test_vit", num_classes=0, global_pool="", img_size=image_size)

def student():
    return timm.create_model("test_resnet", num_classes=0, global_pool="")
"""
BARE = {"name": "timm:test_resnet", "num_classes": 0}
TRAINING = {
    "epochs": 2, "batch_size": 20, "lr": 1e-3, "train_samples": 40, "test_samples": 20, "seed": 3, "device": "cpu",
    "schedule": "multi-step", "decay": 1.0,
}  # fmt: skip


def settings(folder: Path, **changes: Any) -> DistillSettings:
    (folder / "networks.py").write_text(NETWORKS)
    told: dict[str, Any] = {
        "teacher": f"{folder / 'networks.py'}:dense",
        "student": BARE,
        "data": {"name": "digits", "image_size": 32},
        "layers": "blocks.2,norm",
        "output": folder / "run",
        "training": TRAINING,
    }
    return DistillSettings(**{**told, **changes})


def test_a_backbone_learns_from_a_teacher_that_returns_tokens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run = distill_student(settings(tmp_path, student_layers="conv1.2,layer3.0"))
    losses = [list(epoch.losses) for epoch in run.epochs]
    assert losses == [["features"], ["features"]] and not run.labels_reach_backbone
    assert run.epochs[1].losses["features"] < run.epochs[0].losses["features"]
    assert run.teacher_accuracy is run.last_accuracy is run.best_on_test is run.chosen is None
    assert "the teacher has no classifier, the data 10 classes: its accuracy is not measured" in caplog.text
    left = (
        "the student has no classifier, and nothing trains what lies behind its last paired layer: "
        "layer4.0.conv1.weight (and 8 more) keep their first values"
    )
    assert left in caplog.messages
    # Plain timm loads the weights, and what nothing trained is what it was.
    plain = timm.create_model("test_resnet", num_classes=0)
    plain.load_state_dict(load_file(run.weights))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(plain.eval()(images), load_student(run)(images))
    torch.manual_seed(3)
    drawn = timm.create_model("test_resnet", num_classes=0).state_dict()
    same = {name for name, value in plain.state_dict().items() if torch.equal(value, drawn[name])}
    learned = [name for name, _ in plain.named_parameters() if name not in same]
    assert learned and not any(name.startswith("layer4") for name in learned)
    shown(read_run(run.folder), tmp_path)


def shown(run: Run, folder: Path) -> None:
    """Tables, figures and pages of a run that was not tested."""
    table = run_table(run)
    assert [row["what"] for row in table.rows] == ["features"] and table.notes == (UNTESTED,)
    assert table.rows[0]["last"] == run.epochs[-1].losses["features"] and runs_table([run]).rows[0]["mean"] is None
    drawing = curves_figure(run)
    assert len(drawing.figure.axes) == 1 and [row["test_accuracy"] for row in drawing.data.rows] == [None, None]
    assert "features = student(images)" in snippet(run) and run.outcome.startswith("loss 0.")


@pytest.mark.parametrize("alignment", [name for name in ALIGNMENTS if name != "flattened"])
def test_every_alignment_trains_a_backbone_alone(alignment: str, tmp_path: Path) -> None:
    training = {**TRAINING, "epochs": 3, "check": False}
    told = settings(tmp_path, alignment={"name": alignment}, layers="even:2", training=training)
    run = distill_student(told)
    first, *_, last = (sum(epoch.losses.values()) for epoch in run.epochs)
    assert last < first


def test_a_file_of_another_size_is_interpolated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As of DINOv2, whose published weights are of 518 pixels: position embeddings alone are of another size."""
    caplog.set_level("INFO")
    torch.manual_seed(0)
    whole = timm.create_model("test_vit", num_classes=0, dynamic_img_size=True).eval()
    save_file(whole.state_dict(), tmp_path / "vit.safetensors")
    spec = ModelSettings(name="timm:test_vit", weights=str(tmp_path / "vit.safetensors"), num_classes=0)
    data = DataSettings(name="digits", image_size=64)
    network = load_network(spec, data, open_split(data, "train"))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.module(images), whole(images))
    assert network.preprocessing.image_size == (64, 64)
    assert [layer.layout.height for layer in network.layers[:-1]] == [4] * 6 and network.layers[0].layout.prefix == 1
    assert "its position embeddings are of another size, and are interpolated in every pass to 64 pixels" in caplog.text


def test_published_position_embeddings_of_another_size_are_said() -> None:
    vit = build_model("timm:test_vit", num_classes=0, image_size=80)
    assert resampled_positions("timm:test_vit", vit, 80) == 160
    assert resampled_positions("timm:test_vit", vit, 160) is resampled_positions("timm:test_vit", vit, None) is None
    assert resampled_positions("timm:test_resnet", build_model("timm:test_resnet"), 80) is None


def test_a_backbone_does_not_depend_on_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def permuted(*arguments: Any, **options: Any) -> Images:
        loaded = load_images(*arguments, **options)
        loaded.labels[:] = loaded.labels.flip(0)
        return loaded

    plain = distill_student(settings(tmp_path, output=tmp_path / "plain"))
    monkeypatch.setattr("layerprobe.distill.session.load_images", permuted)
    other = distill_student(settings(tmp_path, output=tmp_path / "permuted"))
    ours, theirs = load_file(plain.weights), load_file(other.weights)
    assert ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "kd", "student": "timm:test_resnet", "layers": None},
         "kd needs the logits of a teacher, and .*networks.py:dense has no classifier; feature-only, .* and .* learn "
         "from its features alone"),
        ({"student": "FILE:student"},
         "FILE:student has no classifier, and digits has 10 classes; give student.num_classes 0 to train it without"),
    ],
)  # fmt: skip
def test_what_needs_a_classifier_says_so(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = str(tmp_path / "networks.py")
    changes = {key: value.replace("FILE", file) if isinstance(value, str) else value for key, value in changes.items()}
    with pytest.raises(LayerprobeError, match=message.replace("FILE", file)):
        distill_student(settings(tmp_path, **changes))


@pytest.mark.parametrize("changes", [{"method": "rkd"}, {"method": "simkd"}, {"alignment": {"cross_entropy": True}}])
def test_methods_with_labels_or_logits_refuse_a_student_without_a_classifier(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="leave the number out; feature-only without ablations trains a backbone"):
        settings(tmp_path, **changes)
