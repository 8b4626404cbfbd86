"""FitNets as published: both stages in float64 by hand, where one ends, and runs that are stopped there."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor
from torch.autograd import gradcheck

from layerprobe.distill.batches import LogitBatch
from layerprobe.distill.engine.checkpoints import LATEST, Checkpoints
from layerprobe.distill.folder import read_run
from layerprobe.distill.methods.fitnets import Regressor, StagedFitNets
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Captured
from layerprobe.records import EpochMetrics, Layer, Run
from layerprobe.report.figures.curves import curves_figure
from layerprobe.settings.configuration import recorded_settings
from layerprobe.settings.run import DistillSettings
from tests.conftest import small_plan
from tests.helpers.objectives import objective_of

IMAGES, CLASSES = 6, 5
PAIRING = Pairing((Layer(0, "s", "block", (3, 8, 8), 0),), (Layer(0, "t", "block", (7, 4, 4), 0),))
LABELS = torch.arange(IMAGES) % CLASSES
TERMS = ({"hint"}, {"cross_entropy", "soft_cross_entropy"})


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def objective() -> StagedFitNets:
    torch.manual_seed(0)
    made: StagedFitNets = objective_of("fitnets", PAIRING).double()
    return made


def batch(features: Tensor | None = None, logits: Tensor | None = None) -> LogitBatch:
    student = Captured(
        normal(IMAGES, CLASSES, seed=1) if logits is None else logits,
        {"s": normal(IMAGES, 3, 8, 8, seed=2) if features is None else features},
    )
    teacher = Captured(normal(IMAGES, CLASSES, seed=3), {"t": normal(IMAGES, 7, 4, 4, seed=4)})
    return LogitBatch(student, teacher, LABELS)


def test_the_hints_stage_by_hand() -> None:
    """1/2 sum over channels of (r(v) - u)^2, mean over positions and images, and its gradient."""
    fitnets, features = objective(), normal(IMAGES, 3, 8, 8, seed=2).requires_grad_()
    (weight,) = (value.detach()[:, :, 0, 0] for value in fitnets.parameters())
    pooled = features.detach().reshape(IMAGES, 3, 4, 2, 4, 2).mean(dim=(3, 5))
    error = torch.einsum("oc,bcij->boij", weight, pooled) - normal(IMAGES, 7, 4, 4, seed=4)
    terms = fitnets(batch(features))
    assert set(terms) == {"hint"}
    assert float(terms["hint"].detach()) == pytest.approx(float(error.square().sum() / 2 / (IMAGES * 16)), rel=1e-12)
    # A pixel is a quarter of its position, of which there are 16 in each image.
    by_position = torch.einsum("oc,boij->bcij", weight, error) / (IMAGES * 16) / 4
    expected = by_position.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    (gradient,) = torch.autograd.grad(terms["hint"], features)
    assert torch.allclose(gradient, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("epoch", "weight"), [(4, 4.0), (5, 3.5), (7, 2.5), (10, 1.0)])
def test_the_second_stage_by_hand(epoch: int, weight: float) -> None:
    """H(y, p) + lambda H(p_teacher, p_student) at tau 3, without the square of tau, and its gradient."""
    fitnets, logits = objective(), normal(IMAGES, CLASSES, seed=1).requires_grad_()
    fitnets.start_epoch(epoch, 10)
    q, p, target = (
        (side / t).exp() / (side / t).exp().sum(dim=1, keepdim=True)
        for side, t in ((logits.detach(), 1), (logits.detach(), 3), (normal(IMAGES, CLASSES, seed=3), 3))
    )
    terms = fitnets(batch(logits=logits))
    values = {name: float(term.detach()) for name, term in terms.items()}
    assert values == pytest.approx(
        {
            "cross_entropy": -float(q[torch.arange(IMAGES), LABELS].log().mean()),
            "soft_cross_entropy": -weight * float((target * p.log()).sum(dim=1).mean()),
        },
        rel=1e-12,
    )
    expected = (q - torch.eye(CLASSES)[LABELS] + weight * (p - target) / 3) / IMAGES
    (gradient,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), logits)
    assert torch.allclose(gradient, expected, rtol=1e-10, atol=1e-14)
    assert gradcheck(lambda x: torch.stack(list(fitnets(batch(logits=x)).values())).sum(), logits)


def test_the_stages_of_any_number_of_epochs(caplog: pytest.LogCaptureFixture) -> None:
    """0.3 of the epochs, but one at least for either stage; the weight falls in equal steps from 4 to 1."""
    fitnets = objective()
    found = {epochs: fitnets.hint_epochs(epochs) for epochs in (2, 3, 4, 6, 10, 50, 240)}
    assert found == {2: 1, 3: 1, 4: 1, 6: 2, 10: 3, 50: 15, 240: 72}
    weights = []
    with caplog.at_level("INFO", logger="layerprobe"):
        for epoch in range(1, 8):
            fitnets.start_epoch(epoch, 7)
            weights.append(fitnets.weight)
    assert weights == [None, None, 4.0, 3.25, 2.5, 1.75, 1.0]
    assert caplog.messages == [
        "fitnets: epochs 1 to 2 learn from the hint alone",
        "fitnets: epochs 3 to 7 learn from labels and the teacher's logits",
    ]
    fitnets.start_epoch(2, 2)
    assert fitnets.weight == 4.0
    caplog.clear()
    fitnets.start_epoch(1, 1)
    assert fitnets.weight == 4.0 and "a single epoch leaves none for the hint" in caplog.text


def test_a_regressor_stands_where_the_two_layers_differ() -> None:
    features, hint = normal(2, 7, 4, 4, seed=1), normal(2, 7, 4, 4, seed=2)
    alike = Regressor((7, 4, 4), (7, 4, 4))
    assert not list(alike.parameters())
    pair = alike(features, hint)
    assert torch.equal(pair.student, features) and torch.equal(pair.teacher, hint)
    for other in ((6, 4, 4), (7, 8, 8), (7,)):
        assert len(list(Regressor(other, (7, 4, 4)).parameters())) == 1


def with_stages(small: DistillSettings) -> DistillSettings:
    """Three epochs, of which the first is the hint's, clipped and accumulated."""
    training = small.training.replaced(
        epochs=3, train_samples=64, test_samples=20, batch_size=16, accumulate=2, clip=1.0
    )
    return small.replaced(method="fitnets", layers=None, training=training)


@pytest.fixture
def config(small: DistillSettings) -> DistillSettings:
    return with_stages(small)


@pytest.fixture(scope="module")
def whole(digits_teacher: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was not stopped."""
    return distill_student(with_stages(small_plan(digits_teacher, tmp_path_factory.mktemp("whole"))))


def weights_after(run: Path) -> dict[str, Tensor]:
    saved = Checkpoints(run / "checkpoints", {}).load(LATEST)
    assert saved
    return dict(saved.weights)


class StoppedError(Exception):
    pass


def stopped_after(config: DistillSettings, epoch: int) -> None:
    def stop(metrics: EpochMetrics) -> None:
        if metrics.epoch == epoch:
            raise StoppedError

    with pytest.raises(StoppedError):
        distill_student(config, stop)


def test_a_run_has_two_stages(config: DistillSettings, tmp_path: Path) -> None:
    """The middle blocks are paired; each stage moves its own part of the student alone."""
    initial = config.replaced(
        output=tmp_path / "initial", training=config.training.replaced(lr=1e-12, weight_decay=0.0)
    )
    stopped_after(initial, 1)
    stopped_after(config, 1)
    before, after = weights_after(initial.output), weights_after(config.output)
    behind = ("layer2.2.", "layer3.", "linear.")
    parameters = [name for name in before if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    moved = {name for name in parameters if not torch.allclose(before[name], after[name], rtol=0, atol=1e-9)}
    assert {name for name in parameters if not name.startswith(behind)} == moved
    run = distill_student(config.replaced(resume=True))
    written = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert (written["layers"], written["student_layers"]) == ("layer2.1", "layer2.1")
    assert written["constants"] == {"temperature": 3, "first_weight": 4, "last_weight": 1, "hint_share": 0.3}
    last = load_file(run.weights)
    assert all(not torch.equal(last[name], after[name]) for name in parameters)
    assert (run.setting, run.labels_reach_backbone) == ("publication", True)
    assert [set(one.losses) for one in run.epochs] == [TERMS[0], *2 * [TERMS[1]]]


def test_the_hint_sees_no_labels() -> None:
    fitnets, given = objective(), batch()
    first, second = (fitnets(LogitBatch(given.student, given.teacher, one))["hint"] for one in (LABELS, LABELS.flip(0)))
    assert torch.equal(first, second)


def test_a_run_that_is_stopped_at_the_stages_end_goes_on_to_the_same_end(whole: Run, config: DistillSettings) -> None:
    stopped_after(config, 1)
    rest = distill_student(config.replaced(resume=True))
    assert rest.resumed_after == (1,)
    expected, found = load_file(whole.weights), load_file(rest.weights)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    for name in ("metrics.csv", "config.yaml"):
        assert (rest.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_the_metrics_of_two_stages(whole: Run) -> None:
    """A term that an epoch does not have is an empty cell, and no point of a curve."""
    rows = list(csv.DictReader((whole.folder / "metrics.csv").read_text().splitlines()))
    columns = ["loss_hint", "loss_cross_entropy", "loss_soft_cross_entropy"]
    assert list(rows[0])[4:] == columns
    assert [[bool(row[name]) for name in columns] for row in rows] == [[True, False, False], *2 * [[False, True, True]]]
    again = read_run(whole.folder)
    assert again.epochs == whole.epochs
    drawing = curves_figure(again)
    assert [row["hint"] is None for row in drawing.data.rows] == [False, True, True]
    hint, _, soft = ([not math.isnan(y) for y in line.get_ydata()] for line in drawing.figure.axes[0].lines[:3])
    assert (hint, soft) == ([True, False, False], [False, True, True])


def test_a_run_of_version_0_1_0_goes_on_as_it_was(config: DistillSettings, tmp_path: Path) -> None:
    """It names no setting, and had that of the paper's comparison."""
    whole = distill_student(config.replaced(setting="paper", output=tmp_path / "whole"))
    stopped_after(config.replaced(setting="paper"), 1)
    file = config.output / "config.yaml"
    values = yaml.safe_load(file.read_text())
    del values["setting"], values["constants"]
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(LayerprobeError, match="goes on with the run as it was, but .* has setting 'paper', not 'pub"):
        distill_student(config.replaced(resume=True))
    rest = distill_student(recorded_settings(file).replaced(resume=True))  # as --resume alone does
    assert (rest.folder / "metrics.csv").read_bytes() == (whole.folder / "metrics.csv").read_bytes()
    assert rest.setting == "paper"


def test_one_epoch_and_other_layers(config: DistillSettings, caplog: pytest.LogCaptureFixture) -> None:
    one = config.replaced(training=config.training.replaced(epochs=1), layers="layer1.0", student_layers="1")
    run = distill_student(one)
    assert set(run.epochs[0].losses) == TERMS[1] and "a single epoch leaves none for the hint" in caplog.text
    assert (run.config["layers"], run.config["student_layers"]) == ("layer1.0", "layer1.0")
    for option in ("layers", "student_layers"):
        with pytest.raises(
            LayerprobeError, match=f"publication has one hint, but {option} names 2 layers; name one, or"
        ):
            distill_student(config.replaced(**{option: "3,6"}, overwrite=True))
