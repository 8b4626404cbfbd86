"""Which student layer learns from which teacher layer: tables of pairs, and attention."""

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor
from torch.autograd import gradcheck
from typer.testing import CliRunner

from layerprobe.cli.main import app
from layerprobe.data.datasets import open_dataset
from layerprobe.distill.alignments.attention import AttentionMapping, loss_of_each
from layerprobe.distill.alignments.projected import FeatureOnly
from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.layer_pairs import pair_by_mapping, pair_by_table
from layerprobe.distill.losses.catalogue import FEATURE_LOSSES
from layerprobe.distill.losses.feature_loss import load_feature_loss
from layerprobe.distill.pairing import Pairing, full_pairing
from layerprobe.distill.run import distill_student
from layerprobe.errors import LayerprobeError
from layerprobe.networks import Network, load_network
from layerprobe.records import Layer
from layerprobe.settings.alignment import AlignmentSettings
from layerprobe.settings.data import DataSettings
from layerprobe.settings.layer_choice import Pairs
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.run import DistillSettings

STUDENT = tuple(Layer(i, f"s{i}", "block", shape, 0) for i, shape in enumerate([(2, 4, 6), (4, 3)]))
TEACHER = tuple(Layer(i, f"t{i}", "block", shape, 0) for i, shape in enumerate([(5, 3, 3), (9, 4), (9,)]))
CROSSED = full_pairing(STUDENT, TEACHER)
TABLE = "layer1.2=layer3.1,layer3.1=layer2.0,layer1.2=layer2.0,layer1.2=layer2.0"


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def features(images: int) -> tuple[list[Tensor], list[Tensor]]:
    """One tensor per pair of ``CROSSED``, as the engine hands them over."""
    ours = {layer: normal(images, *layer.shape, seed=1 + layer.index) for layer in STUDENT}
    theirs = {layer: normal(images, *layer.shape, seed=5 + layer.index) for layer in TEACHER}
    return [ours[layer] for layer in CROSSED.student], [theirs[layer] for layer in CROSSED.teacher]


@pytest.mark.parametrize("loss", FEATURE_LOSSES)
@pytest.mark.parametrize("images", [1, 5])
def test_attention_weighs_the_losses_of_every_image(loss: str, images: int) -> None:
    torch.manual_seed(0)
    objective = AttentionMapping(CROSSED, 5, load_feature_loss(loss)).double()
    student, teacher = features(images)
    attention = objective.attention(student[::3], teacher[:3]).detach().numpy()
    assert attention.shape == (images, 2, 3) and np.allclose(attention.sum(axis=2), 1)
    expected = 0.0
    for number, (projector, ours, theirs) in enumerate(zip(objective.projectors, student, teacher, strict=True)):
        pair = projector(ours, theirs)
        for image in range(images):
            alone = load_feature_loss(loss)(pair.student[image : image + 1], pair.teacher[image : image + 1])
            expected += attention[image, number // 3, number % 3] * float(alone.detach()) / images / 2
    assert float(objective(FeatureBatch(student, teacher))["features"].detach()) == pytest.approx(expected, rel=1e-9)


def test_under_equal_weights_attention_is_the_full_mapping() -> None:
    torch.manual_seed(0)
    objective, full = AttentionMapping(CROSSED, 5).double(), FeatureOnly(CROSSED).double()
    full.projectors.load_state_dict(objective.projectors.state_dict())
    torch.nn.init.zeros_(objective.attention.queries[0][2].weight)
    torch.nn.init.zeros_(objective.attention.queries[0][2].bias)
    objective.attention.queries[1].load_state_dict(objective.attention.queries[0].state_dict())
    student, teacher = features(5)
    expected = float(full(FeatureBatch(student, teacher))["features"].detach())
    assert float(objective(FeatureBatch(student, teacher))["features"].detach()) == pytest.approx(expected, rel=1e-12)


def test_gradients_of_attention() -> None:
    torch.manual_seed(0)
    objective = AttentionMapping(CROSSED, 4).double()
    student, teacher = features(3)

    def loss(*layers: Tensor) -> Tensor:
        return objective(FeatureBatch([layers[number // 3] for number in range(6)], teacher))["features"]

    assert gradcheck(loss, [student[0].clone().requires_grad_(), student[3].clone().requires_grad_()])


def test_a_loss_of_each_image_is_that_of_the_image_alone() -> None:
    ours, theirs = normal(4, 3, 5, 2), normal(4, 3, 5, 2, seed=1)
    for loss in map(load_feature_loss, FEATURE_LOSSES):
        alone = torch.stack([loss(ours[i : i + 1], theirs[i : i + 1]) for i in range(4)])
        assert torch.allclose(loss_of_each(loss, ours, theirs), alone, rtol=1e-12)


def test_attention_takes_every_pair_once() -> None:
    with pytest.raises(ValueError, match="every student layer with every teacher layer"):
        AttentionMapping(Pairing(STUDENT, TEACHER[:2]), 4)


def resnet20() -> Network:
    return load_network(
        ModelSettings(name="cifar:resnet20", weights="random"), DataSettings(name="digits"), open_dataset("digits")
    )


def test_pairs_by_the_name_of_a_mapping() -> None:
    assert pair_by_mapping("one-to-one", STUDENT, TEACHER[:2]).names == (("s0", "t0"), ("s1", "t1"))
    assert pair_by_mapping("full", STUDENT, TEACHER) == pair_by_mapping("attention", STUDENT, TEACHER) == CROSSED


def test_a_table_is_read_by_name_and_index_in_order_of_depth() -> None:
    network = resnet20()
    pairs = pair_by_table(Pairs.parse(" 9=layer2.0, layer1.2=-2,layer1.2 = 4,"), network, network)
    assert pairs.names == (("layer1.2", "layer2.0"), ("layer1.2", "layer3.2"), ("layer3.2", "layer2.0"))
    with pytest.raises(LayerprobeError, match=r"'layer1.\*' in alignment.mapping selects 3 layers of cifar:resnet20"):
        pair_by_table(Pairs.parse("layer1.*=3"), network, network)
    with pytest.raises(LayerprobeError, match="layer 'layer1.7' is not in cifar:resnet20; closest"):
        pair_by_table(Pairs.parse("3=layer1.7"), network, network)


def by_table(small: DistillSettings, table: str = TABLE, **changes: object) -> DistillSettings:
    return small.replaced(layers=None, alignment=AlignmentSettings(mapping=table), **changes)


def test_a_table_is_what_trains_the_student(small: DistillSettings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run = distill_student(by_table(small, "3=layer3.1,8=4,3=4,3=4"))
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert config["alignment"]["mapping"] == "3=layer3.1,8=4,3=4,3=4"
    assert config["pairs"] == ["layer1.2=layer2.0", "layer1.2=layer2.0", "layer1.2=layer3.1", "layer3.1=layer2.0"]
    assert (config["student_layers"], config["layers"]) == ("layer1.2,layer3.1", "layer2.0,layer3.1")
    assert run.epochs[-1].losses["features"] < run.epochs[0].losses["features"]
    assert run.method == "feature-only, table of 4 pairs"
    assert "student layer3.1 (64, 2, 2) learns from teacher layer2.0 (32, 4, 4)\n" in caplog.text


@pytest.mark.parametrize("mapping", [TABLE, "attention", "full"])
def test_a_mapping_survives_a_rerun_and_a_stop(small: DistillSettings, mapping: str) -> None:
    class Stop(Exception):
        pass

    def stop(_: object) -> None:
        raise Stop

    table = mapping == TABLE
    config = by_table(small, mapping, student_layers=None if table else ("layer1.2", "layer2.2", "layer3.1"))
    config = config if table else config.replaced(layers="layer2.0,layer3.1")
    run = distill_student(config)

    def command(*arguments: object) -> None:
        result = CliRunner().invoke(app, list(map(str, ("distill", *arguments))), catch_exceptions=False)
        assert result.exit_code == 0, result.output

    again, stopped = (small.output.with_name(name) for name in ("again", "stopped"))
    command("--config", run.folder / "config.yaml", "--output", again, "--quiet")
    with pytest.raises(Stop):
        distill_student(config.replaced(output=stopped), on_epoch=stop)
    command("--resume", "--output", stopped, "--quiet")
    for name in ("config.yaml", "metrics.csv"):
        assert (again / name).read_bytes() == (stopped / name).read_bytes() == (run.folder / name).read_bytes()
    whole, resumed = load_file(run.weights), load_file(stopped / "student.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    if table:
        # A table given over another run's layers stands for them; so do layers given over a table with its mapping.
        other = small.output.with_name("other")
        command("--config", again / "config.yaml", "--mapping", "8=4", "--epochs", 1, "--output", other, "--quiet")
        written = yaml.safe_load((other / "config.yaml").read_text())
        assert (written["student_layers"], written["layers"]) == ("layer3.1", "layer2.0")


def test_layers_that_contradict_a_table_are_refused(small: DistillSettings) -> None:
    def refuse(message: str, **changes: object) -> None:
        with pytest.raises(LayerprobeError, match=message):
            distill_student(by_table(small).replaced(**changes))

    refuse(
        "alignment.mapping pairs layer2.0, layer3.1, but layers names layer2.0; leave layers out, or give an",
        layers="4",
    )
    refuse(
        "alignment.mapping pairs layer1.2, layer3.1, but student_layers names layer1.2, layer3.2; leave "
        "student_layers out",
        student_layers=("layer1.2", "layer3.2"),
    )
    refuse("are forms of feature-only; fitnets has its own", method="fitnets")
    assert not small.output.exists()
    agreeing = by_table(small).replaced(layers="layer3.1,4", student_layers=("8", "3"))
    assert distill_student(agreeing).config["layers"] == "layer2.0,layer3.1"
