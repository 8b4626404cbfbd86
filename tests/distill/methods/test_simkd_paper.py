"""simkd as the paper compares it: four pairs, and a student that goes on in the teacher's network."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from layerprobe.distill.methods.catalogue import METHODS, PAPER
from layerprobe.distill.methods.simkd_paper import reuse_end
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.run import distill_student
from layerprobe.distill.students import load_student, snippet
from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.evaluate import evaluate
from layerprobe.layers.capture import Capture, Captured
from layerprobe.layers.discovery import discover_layers
from layerprobe.layers.selection import even_layers
from layerprobe.models.weights_file import read_weights
from layerprobe.models.zoo import build_model
from layerprobe.networks import Network
from layerprobe.records import Preprocessing, Run
from layerprobe.settings.configuration import recorded_settings
from layerprobe.settings.evaluate import EvaluateSettings
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.run import DistillSettings
from tests.distill.methods.test_settings import IMAGES, LABELS, met, three_layers, weights_of
from tests.helpers.commands import invoke
from tests.helpers.objectives import loss_terms

SIZE = 16


def network(name: str, seed: int, size: int = SIZE) -> Network:
    module = build_model(name, num_classes=10, image_size=size, seed=seed).eval()
    preprocessing = Preprocessing((size, size), (0.5,) * 3, (0.5,) * 3)
    return Network(name, module, "random", "", preprocessing, discover_layers(module, (size, size)), 10)


def paired(student: Network, teacher: Network, count: int = 4) -> Pairing:
    return Pairing(*(even_layers(one.layers, count, one.name) for one in (student, teacher)))


@pytest.mark.parametrize("student", ["cifar:resnet20", "cifar:resnet9"])
def test_features_logits_and_gradients_by_hand(student: str) -> None:
    """In float64, at initialisation; the features of resnet9 are pooled to the teacher's."""
    ours, theirs = network(student, 0), network("cifar:resnet32", 1)
    pairing = paired(ours, theirs)
    changed = reuse_end(ours, theirs, pairing, seed=3)
    torch.manual_seed(4)
    objective = METHODS["simkd"].in_setting(PAPER).build(ObjectiveContext(changed.pairing, IMAGES, 10)).double().train()
    module, taught = changed.module.double().train(), theirs.module.double()
    # Batch statistics of the teacher's end are those of training, as in the student.
    images = torch.randn(IMAGES, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    last = pairing.student[-1].name
    with (
        Capture(module, [*changed.pairing.student, last]) as capture,
        Capture(taught, changed.pairing.teacher) as target,
    ):
        capture(images)  # a first pass copies what it keeps; the second gives the tensors that the student goes on with
        student_outputs = capture(images)
        with torch.no_grad():
            teacher_outputs = target(images)
    terms = loss_terms(objective, changed.pairing, student_outputs, teacher_outputs, LABELS)
    features = [student_outputs.features[layer.name] for layer in pairing.student]
    targets = [teacher_outputs.features[layer.name] for layer in pairing.teacher]
    projectors = [*map(weights_of, objective.projectors), weights_of(module.simkd_projector.projector)]
    errors = []
    for weights, one, other in zip(projectors, features, targets, strict=True):
        met_ours, met_theirs = met(one, other)
        errors.append((three_layers(met_ours, weights) - met_theirs).square().mean())
    expected = torch.stack(errors).mean()
    assert float(terms["features"].detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    # What is behind the teacher's last block: the mean over positions, and the classifier.
    projected = three_layers(met(features[-1], targets[-1])[0], projectors[-1])
    logits = projected.mean(dim=(2, 3)) @ taught.linear.weight.T + taught.linear.bias
    torch.testing.assert_close(student_outputs.logits, logits, rtol=1e-9, atol=1e-9)

    def norm(term: Tensor, wanted: list[Tensor]) -> float:
        gradients = torch.autograd.grad(term, wanted, retain_graph=True)
        return math.sqrt(sum(float(one.square().sum()) for one in gradients))

    assert norm(terms["features"], features) == pytest.approx(norm(expected, features), rel=1e-9)
    first = [module.conv1.weight]
    assert norm(terms["features"], first) == pytest.approx(norm(expected, first), rel=1e-9)
    assert norm(terms["cross_entropy"], first) > 0 and norm(terms["kl"], first) > 0
    p, q = ((one / 4).softmax(dim=1) for one in (teacher_outputs.logits, logits))
    assert float(terms["kl"].detach()) == pytest.approx(
        16 * float((p * (p / q).log()).sum(dim=1).mean().detach()), rel=1e-9
    )


@pytest.mark.parametrize(
    ("teacher", "student", "end"),
    [
        ("cifar:resnet34", "cifar:mobilenetv2", "fc.weight"),
        ("cifar:vgg19", "cifar:vgg11", "classifier.0.weight"),
        ("cifar:vit-base", "cifar:vit-small", "encoder.layers.encoder_layer_11.mlp.0.weight"),
    ],
)
def test_the_papers_pairs_end_in_the_teachers_weights(teacher: str, student: str, end: str) -> None:
    ours, theirs = network(student, 0, 32), network(teacher, 1, 32)
    blocks = [layer for layer in theirs.layers if layer.kind == "block"]
    last = blocks[9] if "vit" in teacher else even_layers(theirs.layers, 1, teacher)[0]
    pairing = Pairing(even_layers(ours.layers, 4, student), (*even_layers(theirs.layers[:8], 3, teacher), last))
    changed = reuse_end(ours, theirs, pairing, seed=0)
    given = theirs.module.state_dict()
    found = {key: value for key, value in changed.module.state_dict().items() if key.startswith("simkd_end.")}
    assert f"simkd_end.{end}" in found
    assert all(torch.equal(value, given[key.removeprefix("simkd_end.")]) for key, value in found.items())
    assert all(one.requires_grad for name, one in changed.module.named_parameters() if name.startswith("simkd_end."))
    assert changed.module(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    with torch.no_grad():
        changed.module.get_parameter(f"simkd_end.{end}").zero_()
    assert theirs.module.get_parameter(end).any()


@pytest.fixture
def plan(small: DistillSettings) -> DistillSettings:
    return small.replaced(method="simkd", setting=PAPER, layers=None)


def test_the_end_learns_and_a_saved_student_is_built_again(
    plan: DistillSettings, digits_teacher: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run = distill_student(plan)
    assert run.setting == PAPER and run.label == "simkd, paper" and run.labels_reach_backbone
    assert set(run.epochs[0].losses) == {"features", "cross_entropy", "kl"}
    module = load_student(run)
    began, ended = (read_weights(path).state for path in (digits_teacher.weights, run.weights))
    for name in ("linear.weight", "linear.bias"):
        assert began[name].shape == ended[f"simkd_end.{name}"].shape
        assert not torch.equal(began[name], ended[f"simkd_end.{name}"])
    assert all(torch.equal(value, ended[name]) for name, value in module.state_dict().items())
    again = evaluate(EvaluateSettings(run=run.folder, samples=100, device="cpu"))
    assert again.top1 == pytest.approx(run.last_accuracy, abs=1e-6)
    said = invoke("evaluate", run.folder, "--samples", 100, "--device", "cpu").stdout
    assert f"top-1 {run.last_accuracy:.2f} %" in said
    names: dict[str, object] = {"images": torch.randn(2, 3, 8, 8)}
    exec(snippet(run), names)
    assert isinstance(names["logits"], Tensor) and names["logits"].shape == (2, 10)
    settings = recorded_settings(run.folder / "config.yaml").replaced(output=run.folder.with_name("again"))
    assert isinstance(settings, DistillSettings) and settings.setting == PAPER
    assert distill_student(settings).last_accuracy == run.last_accuracy


@pytest.mark.parametrize("setting", ["paper", "publication", "fine-tuned"])
def test_a_run_that_was_stopped_goes_on_to_the_same_end(plan: DistillSettings, setting: str) -> None:
    class Stop(Exception):
        pass

    def stop(_: object) -> None:
        raise Stop

    plan = plan.replaced(setting=setting)
    whole = distill_student(plan.replaced(output=plan.output.with_name("whole")))
    with pytest.raises(Stop):
        distill_student(plan, on_epoch=stop)
    other = "publication" if setting == "paper" else "paper"
    with pytest.raises(LayerprobeError, match=f"has setting {setting!r}, not {other!r}"):
        distill_student(plan.replaced(setting=other, resume=True))
    run = distill_student(plan.replaced(resume=True))
    assert (run.folder / "metrics.csv").read_bytes() == (whole.folder / "metrics.csv").read_bytes()
    found, expected = (load_file(one.weights) for one in (run, whole))
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def test_what_cannot_be_is_refused_in_one_line(plan: DistillSettings, tmp_path: Path) -> None:
    def refuse(message: str, **changes: object) -> None:
        with pytest.raises(LayerprobeError, match=message) as error:
            distill_student(plan.replaced(**changes))
        assert "\n" not in str(error.value)

    refuse("dkd has no setting paper, but publication; leave setting out", method="dkd")
    for method in ("fitnets-full", "fitnets-ce"):
        only = f"{method} has no setting publication, but paper; leave setting out, or take another method"
        refuse(only, method=method, setting="publication")
    refuse("sp has no setting fine-tuned, but publication and paper", method="sp", setting="fine-tuned")
    refuse("no setting 'papers'; closest: 'paper'", setting="papers")
    refuse(
        r"'layer3.2' gives \(64, 2, 2\) and 'encoder.layers.encoder_layer_11' \(65, 768\); pair two maps",
        teacher=ModelSettings(name="cifar:vit-base", weights="random"), layers="0,5,8,11",
    )  # fmt: skip
    other = ModelSettings(name="cifar:resnet20", weights="random", num_classes=7)
    refuse("simkd needs a teacher of the same classes, but it has 7 and digits 10", teacher=other)
    file = tmp_path / "net.py"
    file.write_text(
        "import torch\nfrom torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self, num_classes=10):\n        super().__init__()\n"
        "        self.a, self.b, self.r = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()\n"
        "        self.s, self.head = nn.ReLU(), nn.Linear(8, num_classes)\n"
        "    def forward(self, x):\n        x = self.r(self.a(x))\n        y = self.s(self.b(x))\n"
        "        return self.head(torch.cat([x.mean((2, 3)), y.mean((2, 3))], 1))\n"
    )
    refuse(
        "but of the teacher a connection bypasses 's'; choose other layers",
        teacher=ModelSettings(name=f"{file}:Net", weights="random"), layers="r,s", student_layers="layer1.0,layer3.2",
    )  # fmt: skip


def test_the_objective_asks_for_a_teacher() -> None:
    ours, theirs = network("cifar:resnet20", 0), network("cifar:resnet20", 1)
    changed = reuse_end(ours, theirs, paired(ours, theirs, 1), seed=0)
    objective = METHODS["simkd"].in_setting(PAPER).build(ObjectiveContext(changed.pairing, IMAGES, 10))
    assert len(objective.projectors) == 0  # one pair: the student's own projector
    with pytest.raises(ValueError, match="needs a teacher"):
        loss_terms(objective, changed.pairing, Captured(torch.zeros(2, 10), {}), None, LABELS[:2])
