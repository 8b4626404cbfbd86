"""What the training loop does before and in a step, on networks of a few layers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layerprobe.data.datasets import open_dataset
from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.engine.checkpoints import LATEST, Checkpoints
from layerprobe.distill.engine.images import Images, load_images
from layerprobe.distill.engine.loop import train
from layerprobe.distill.engine.setup import TrainingSetup
from layerprobe.distill.engine.step import TrainingStep
from layerprobe.distill.layer_pairs import pair_by_mapping
from layerprobe.distill.methods.catalogue import METHODS
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import FeatureObjective
from layerprobe.errors import LayerprobeError
from layerprobe.layers.discovery import discover_layers
from layerprobe.records import EpochMetrics, Preprocessing
from layerprobe.runtime.devices import resolve_device
from layerprobe.runtime.process_group import make_accelerator
from layerprobe.settings.alignment import AlignmentSettings
from layerprobe.settings.recipe import RecipeSettings, TrainingSettings

PREPROCESSING = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3)
BATCH = 8


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    first, second = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3)
    # The dropout overwrites what the first layer put out, and that in training alone.
    return nn.Sequential(
        first, nn.BatchNorm2d(4), nn.Hardswish(), nn.Dropout(0.5, inplace=True), second, nn.ReLU(), nn.Flatten(),
        nn.Linear(4, 10),
    )  # fmt: skip


def setup(student: nn.Module, alignment: AlignmentSettings | None = None) -> TrainingSetup:
    """Feature-only from one such network to another, at both non-linearities."""
    form, layers = alignment or AlignmentSettings(), discover_layers(student, (8, 8))[:2]
    assert [layer.name for layer in layers] == ["2", "5"]
    teacher, pairing = network(7).eval(), pair_by_mapping(form.mapping.mapping, layers, layers)
    return TrainingSetup(
        student, METHODS["feature-only"].build(ObjectiveContext(pairing, BATCH, 10, form)), pairing, teacher
    )


def images(count: int = 30, share: tuple[int, int] = (0, 1)) -> Images:
    splits = [open_dataset("digits", split=split) for split in ("train", "test")]
    training = TrainingSettings(batch_size=BATCH, train_samples=count, test_samples=20)
    return load_images(*splits, PREPROCESSING, training, share=share)


def test_gradients_that_are_clipped_in_parts_are_unscaled_once_a_step() -> None:
    """With float16 the loss is scaled, and torch refuses to take the scale off the gradients twice."""
    accelerator = make_accelerator(resolve_device("cpu"))
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    unscaled = []

    def unscale(optimizer: object = None) -> None:
        unscaled.append(optimizer)
        accelerator.scaler.unscale_(accelerator._optimizers[0].optimizer)

    accelerator.unscale_gradients = unscale  # with float16 alone it does something, and a CPU has none
    train(setup(network(0)), images(), RecipeSettings(epochs=1, lr=0.01, clip=0.05), accelerator)
    assert len(unscaled) == 4  # 30 images in batches of 8


def test_a_rehearsal_takes_no_more_than_one_processs_batch() -> None:
    """Attention is made for it; two processes have twice as many images in a step."""
    both = images(40, share=(0, 2))
    assert both.order.sizes() == [16, 16, 8] and both.order.largest == BATCH
    assert [images(10, share=(part, 4)).order.largest for part in (0, 1)] == [3, 3]
    train(
        setup(network(0), AlignmentSettings(mapping="attention")),
        both,
        RecipeSettings(epochs=1, lr=0.01),
        make_accelerator(resolve_device("cpu")),
    )


def test_a_rehearsal_is_as_a_step_and_leaves_the_statistics_alone() -> None:
    student, loaded = network(0), images()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    lesson = TrainingStep(setup(student), PREPROCESSING, make_accelerator(resolve_device("cpu")))
    lesson.warm_up(loaded.some(BATCH))
    assert all(torch.equal(student.state_dict()[name], value) for name, value in before.items())
    put_out: list[Tensor] = []
    student[2].register_forward_hook(lambda module, inputs, output: put_out.append(output.clone()))
    student.train()
    captured = lesson._student_capture(torch.randn(BATCH, 3, 8, 8))
    assert torch.equal(captured.features["2"], put_out[0]) and bool((put_out[0] != 0).any())
    assert lesson._student_capture._copied[True] == {"2"}
    lesson.close()


def test_a_training_that_goes_on_is_the_one_that_was_not_stopped(tmp_path: Path) -> None:
    """Bit by bit, with batch statistics, dropout and the copy that the rehearsal finds to be needed."""

    class StoppedError(Exception):
        pass

    def stop(metrics: EpochMetrics) -> None:
        raise StoppedError

    whole, part, rest = network(0), network(0), network(0)
    accelerator, recipe, checkpoints = (
        make_accelerator(resolve_device("cpu")),
        RecipeSettings(epochs=2, lr=0.01),
        Checkpoints(tmp_path, {}),
    )
    train(setup(whole), images(), recipe, accelerator)
    with pytest.raises(StoppedError):
        train(setup(part), images(), recipe, accelerator, stop, checkpoints=checkpoints)
    train(setup(rest), images(), recipe, accelerator, saved=checkpoints.load(LATEST))
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in rest.state_dict().items())


class Changing(FeatureObjective):
    """Its one term has a name and a value for every epoch."""

    classifier_learns = False

    def __init__(self, terms: dict[int, tuple[str, float]]) -> None:
        super().__init__()
        self.terms = terms
        self.told: list[tuple[int, int]] = []

    def start_epoch(self, epoch: int, epochs: int) -> None:
        self.told.append((epoch, epochs))

    def forward(self, batch: FeatureBatch) -> dict[str, Tensor]:
        name, value = self.terms[self.told[-1][0]]
        return {name: value + 0 * batch.student[0].square().mean()}


RECIPE = RecipeSettings(epochs=4, lr=0.01, check=False)


def test_an_objective_is_told_every_epoch_also_after_a_stop(tmp_path: Path) -> None:
    terms = {1: ("a", 1e-9), 2: ("b", 1.0), 3: ("b", 2.0), 4: ("a", 1e-9)}
    checkpoints, accelerator = Checkpoints(tmp_path, {}), make_accelerator(resolve_device("cpu"))

    def stop(metrics: EpochMetrics) -> None:
        if metrics.epoch == 2:
            raise KeyboardInterrupt

    first, second = Changing(terms), Changing(terms)
    with pytest.raises(KeyboardInterrupt):
        train(replace(setup(network(0)), objective=first), images(), RECIPE, accelerator, stop, checkpoints=checkpoints)
    saved = checkpoints.load(LATEST)
    epochs = train(replace(setup(network(0)), objective=second), images(), RECIPE, accelerator, saved=saved)
    assert (first.told, second.told) == ([(1, 4), (2, 4)], [(3, 4), (4, 4)])
    assert [next(iter(one.losses.items())) for one in epochs] == [pytest.approx(term) for term in terms.values()]


@pytest.mark.parametrize(("last", "since"), [(("b", 101.0), 2), (("a", 2e-7), 1)])
def test_a_loss_diverges_from_the_first_epoch_with_its_terms(last: tuple[str, float], since: int) -> None:
    """Terms that come later may have any size."""
    objective = Changing({1: ("a", 1e-9), 2: ("b", 1.0), 3: ("b", 99.0), 4: last})
    accelerator = make_accelerator(resolve_device("cpu"))
    with pytest.raises(LayerprobeError, match=f"in epoch 4 it is over 100 times that of epoch {since} "):
        train(replace(setup(network(0)), objective=objective), images(), RECIPE, accelerator)


@pytest.mark.parametrize("frozen", [["0.weight"], ["7.weight", "7.bias"], None])
def test_what_is_frozen_stays_as_it_is(frozen: list[str] | None) -> None:
    student = network(0)
    names = [name for name, _ in student.named_parameters()] if frozen is None else frozen
    for name in names:
        student.get_parameter(name).requires_grad_(False)
    before = {name: value.detach().clone() for name, value in student.named_parameters()}
    train(
        setup(student), images(), RecipeSettings(epochs=1, lr=0.01, clip=1.0), make_accelerator(resolve_device("cpu"))
    )
    same = {name for name, value in student.named_parameters() if torch.equal(value, before[name])}
    assert same == set(names)
