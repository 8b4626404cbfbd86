"""--tokens and --prefix-tokens, from the settings to the trained student."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from layerprobe.distill.layer_pairs import choose_tokens
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction.extract import extract
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.records import Layer, Shape
from layerprobe.records.layout import Layout
from layerprobe.settings.alignment import AlignmentSettings
from layerprobe.settings.data import DataSettings
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.settings.run import DistillSettings
from tests.helpers.commands import run

MODELS = """
import torch
from torch import nn

class Transformer(nn.Module):
    def __init__(self, num_classes=10, extra="registers", count=3):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 2, 2)
        self.register_parameter(extra, nn.Parameter(torch.randn(1, count, 16)))
        self.extra = extra
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([getattr(self, self.extra).expand(len(x), -1, -1), x], dim=1)
        return self.fc(self.encoder(tokens)[:, 0])

def with_class_token(num_classes=10):
    return Transformer(num_classes, "cls_token", 1)
"""


@pytest.fixture
def plan(tmp_path: Path) -> DistillSettings:
    """A network with three extra tokens that it doesn't declare learns from a convolutional one."""
    (tmp_path / "models.py").write_text(MODELS)
    return DistillSettings(
        teacher=ModelSettings(name="cifar:resnet20", weights="random"),
        student=ModelSettings(name=f"{tmp_path / 'models.py'}:Transformer"),
        data=DataSettings(name="digits", image_size=8),
        layers="even:3",
        output=tmp_path / "run",
        training=TrainingSettings(epochs=1, train_samples=40, test_samples=20, batch_size=20, device="cpu"),
    )


def test_undeclared_tokens_are_refused_until_the_user_says_how_many_there_are(plan: DistillSettings) -> None:
    with pytest.raises(
        LayerprobeError, match=r"the 19 tokens of the student's layer form no grid.*student.prefix_tokens"
    ):
        distill_student(plan)
    declared = plan.student.replaced(prefix_tokens=3)
    finished = distill_student(plan.replaced(student=declared, tokens="all"))
    assert finished.method == "feature-only, all tokens"
    config = yaml.safe_load((plan.output / "config.yaml").read_text())
    assert config["tokens"] == "all"
    assert (config["student"]["prefix_tokens"], config["teacher"]["prefix_tokens"]) == (3, None)


def test_pairs_without_a_class_token_are_named(plan: DistillSettings, caplog: pytest.LogCaptureFixture) -> None:
    layouts = Layout("grid", 2, 2, 1, True, True), Layout("grid", 2, 2, channels_last=True)
    late, early = (
        Layer(number, name, "block", Shape((4 + layout.prefix, 16), layout), 0)
        for number, (name, layout) in enumerate(zip(("late", "early"), layouts, strict=True))
    )
    pairing = choose_tokens(plan.replaced(tokens="cls"), Pairing((early, late), (early, early)))
    assert pairing.student[0].shape == (4, 16)
    assert caplog.messages == ["student early and teacher early have no class token: their patches are compared"]


def test_the_command_names_its_own_options(plan: DistillSettings, tmp_path: Path) -> None:
    command = (
        "distill", "--teacher", "cifar:resnet20", "--teacher-weights", "random", "--student", plan.student.name,
        "--data", "digits", "--image-size", 8, "--layers", "even:3", "--output", tmp_path / "run", "--epochs", 1,
        "--train-samples", 40, "--test-samples", 20, "--batch-size", 20, "--device", "cpu",
    )  # fmt: skip
    assert "with --student-prefix-tokens, or pair other layers" in run(*command, code=2)
    assert "--tokens cls: none of the paired layers has a class token; leave it out" in run(
        *command, "--tokens", "cls", code=2
    )
    assert "--tokens" not in run(*command, "--student-prefix-tokens", 3, "--tokens", "cls")
    assert "none of the paired layers has tokens beside those of the patches" in run(
        *("cifar:resnet20" if word == plan.student.name else word for word in command), "--tokens", "patches",
        "--overwrite", code=2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "kd", "layers": None}, "kd does not compare features position by position; leave tokens out"),
        ({"method": "sp"}, "sp does not compare features position by position"),
        ({"method": "rkd"}, "rkd does not compare features position by position"),
        (
            {"alignment": AlignmentSettings(name="relation")},
            "feature-only relation does not compare features position by position",
        ),
        (
            {"alignment": AlignmentSettings(name="geometry-flattened")},
            "feature-only geometry-flattened does not compare features position by position",
        ),
        ({"method": "reviewkd"}, "reviewkd fuses maps, in which tokens cls has no place"),
    ],
)
def test_methods_that_compare_no_positions_refuse_it(
    plan: DistillSettings, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(LayerprobeError, match=message):
        plan.replaced(tokens="cls", **changes)


def test_what_is_left_out_is_said(plan: DistillSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Three registers that meet maps; a class token; then whatever the user asked for, and two layers of one layout."""
    registers = plan.student.replaced(prefix_tokens=3)
    with_class_token = plan.student.replaced(name=f"{tmp_path / 'models.py'}:with_class_token")

    def said(**changes: object) -> list[str]:
        caplog.clear()
        distill_student(plan.replaced(overwrite=True, **changes))
        return [message for message in caplog.messages if "left out" in message]

    caplog.set_level("INFO")
    names = "encoder.layers.0, encoder.layers.1, encoder.layers.2"
    assert said(student=registers.replaced(name=f"{tmp_path / 'models.py'}:Transformer")) == [
        f"student {names}: 3 extra tokens (class token, registers) have no counterpart and are left out; see --tokens"
    ]
    one = f"student {names}: 1 extra token (class token, registers) has no counterpart and is left out"
    assert said(student=with_class_token) == [f"{one}; see --tokens"]
    assert said(student=with_class_token, method="reviewkd", layers="0,4,8") == [one]
    for tokens in ("patches", "cls", "all"):
        assert said(student=with_class_token, tokens=tokens) == []
    assert said(student=with_class_token, teacher=with_class_token.replaced(weights="random")) == []


@pytest.mark.parametrize("tokens", [None, "all"])
def test_a_teacher_from_a_file_keeps_its_layout(plan: DistillSettings, tmp_path: Path, tokens: str | None) -> None:
    """A transformer teaches a convolutional network: on the fly, cached, and from a file."""
    teacher = ModelSettings(name=f"{tmp_path / 'models.py'}:with_class_token", weights="random")
    student = ModelSettings(name="cifar:resnet20")
    plan = plan.replaced(teacher=teacher, student=student, tokens=tokens)
    live = distill_student(plan)
    file = tmp_path / "teacher.h5"
    extract(ExtractSettings(model=teacher, data=plan.data, output=file, samples="all")).close()
    stored = plan.replaced(output=tmp_path / "stored", teacher_features=file)
    cached = plan.replaced(output=tmp_path / "cached", training=plan.training.replaced(cache_teacher=True))
    weights = load_file(live.weights)
    for other in (stored, cached):
        finished = distill_student(other)
        assert finished.epochs[0].losses == pytest.approx(live.epochs[0].losses, rel=1e-4)
        theirs = load_file(finished.weights)
        assert all((weights[name].float() - theirs[name].float()).abs().max() < 2e-3 for name in weights)


def test_the_mean_of_patches_leaves_the_tokens_out_that_the_user_names(plan: DistillSettings, tmp_path: Path) -> None:
    def features(name: str, tokens: str, prefix: int | None) -> FeatureFile:
        model = plan.student.replaced(prefix_tokens=prefix, weights="random")
        return extract(
            ExtractSettings(
                model=model, data=plan.data, output=tmp_path / name, samples=20, layers=("0",), tokens=tokens
            )
        )

    with features("all.h5", "all", None) as whole, features("mean.h5", "mean", 3) as mean:
        rows = np.arange(20)
        name = whole.layers[0].layer.name
        expected = whole.rows(name, rows)[:, 3:].mean(dim=1)
        assert torch.allclose(mean.rows(name, rows), expected, atol=1e-6)
        assert mean.provenance["prefix_tokens"] == 3 and "prefix_tokens" not in whole.provenance
    with pytest.raises(LayerprobeError, match="--overwrite"):
        features("mean.h5", "mean", 2)
