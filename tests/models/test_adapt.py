"""Weights of one form of a network in another: what is changed, against straight computations, and what is refused."""

from __future__ import annotations

import re
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet34, vgg19_bn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.vision_transformer import VisionTransformer

from layerprobe import load_student
from layerprobe.data.datasets import open_split
from layerprobe.distill.engine.optimizers import find_head, make_optimizer
from layerprobe.distill.folder import read_run
from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.evaluate import evaluate
from layerprobe.files import read_yaml
from layerprobe.layers.discovery import discover_layers
from layerprobe.models.weights import load_weights
from layerprobe.models.weights_file import Weights
from layerprobe.models.zoo import build_model
from layerprobe.networks import load_network
from layerprobe.ranking.file import load_ranking
from layerprobe.records.adaptation import Adaptation
from layerprobe.records.run_files import INFORMATION
from layerprobe.report.pages.sample import sample_facts
from layerprobe.report.tables.runs import run_table
from layerprobe.settings.configuration import merge, read_values
from layerprobe.settings.data import DataSettings
from layerprobe.settings.evaluate import EvaluateSettings
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.recipe import RecipeSettings
from tests.helpers.commands import invoke

FEW = ("--data", "digits", "--epochs", 1, "--train-samples", 20, "--test-samples", 20, "--device", "cpu")
small_vit = partial(VisionTransformer, num_layers=1, num_heads=2, hidden_dim=6, mlp_dim=8)


def adapted_from(state: dict[str, Tensor], model: nn.Module, kernels: str = "resample") -> tuple[Adaptation, ...]:
    return load_weights(model, Weights({"": state}), "w.pth", trained=True, adapt=kernels)  # type: ignore[arg-type]


def random_state(model: nn.Module) -> dict[str, Tensor]:
    """Numbers in the place of a network's weights, which may be on the device ``meta``; variances are positive."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        many = value.numel() > 5e7  # VGG's first layer, which isn't looked at: pages of zeros cost nothing
        drawn = torch.zeros(value.shape) if many else torch.randn(value.shape, generator=generator) * 0.02
        state[name] = drawn.abs() + 1 if name.endswith("running_var") else drawn.to(value.dtype)
    return state


def waves(side: int) -> Tensor:
    """Six smooth functions of the place, at the centres of a grid of patches: ``(side * side, 6)``."""
    row, column = torch.meshgrid(*[(torch.arange(side) + 0.5) / side] * 2, indexing="ij")
    found = [row, column, row * column, torch.cos(2 * row), torch.sin(2 * column), torch.cos(row + 2 * column)]
    return torch.stack([one.flatten() for one in found], dim=1)


@pytest.mark.parametrize(("before", "after"), [((224, 16), (32, 4)), ((56, 4), (64, 4)), ((32, 4), (48, 6))])
def test_smooth_position_embeddings_keep_their_values_and_the_class_token_its_own(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    state = small_vit(*before).state_dict()
    old, new = before[0] // before[1], after[0] // after[1]
    first = torch.full((1, 6), 5.0)
    state["encoder.pos_embedding"] = torch.cat([first, waves(old)])[None]
    model = small_vit(*after)
    adapted_from(state, model)
    found = model.encoder.pos_embedding[0]
    assert torch.equal(found[:1], first)
    at_border = torch.ones(new, new, dtype=torch.bool)
    at_border[1:-1, 1:-1] = False
    wrong = (found[1:] - waves(new)).abs().amax(dim=1).detach()
    assert wrong.max() < 0.05 and wrong[~at_border.flatten()].max() < 0.01
    if old == new:
        assert torch.equal(found, state["encoder.pos_embedding"][0])


def test_registers_keep_their_positions() -> None:
    import timm

    build = partial(timm.create_model, "vit_tiny_patch16_224", depth=1, reg_tokens=3, num_classes=4)
    state = build(img_size=64).state_dict()
    model = build(img_size=32, patch_size=4)
    said = adapted_from(state, model)
    assert [one.part for one in said] == ["position embeddings", "patch embedding"]
    assert said[0].how == "interpolated from a 4x4 to a 8x8 grid (bicubic); 4 other tokens kept"
    assert torch.equal(model.pos_embed[:, :4], state["pos_embed"][:, :4])


def test_resampled_kernels_are_the_least_squares_of_flexivit() -> None:
    """The kernel w' with <w', resized image> nearest to <w, image>: the least squares of B^T w' = w."""
    state = small_vit(32, 8).state_dict()
    model = small_vit(16, 4)
    adapted_from(state, model)
    pixels = torch.eye(64).reshape(64, 1, 8, 8)
    resize = functional.interpolate(pixels, (4, 4), mode="bicubic", antialias=True).reshape(64, 16).numpy()
    for old, new in zip(state["conv_proj.weight"].reshape(-1, 64), model.conv_proj.weight.reshape(-1, 16), strict=True):
        expected = np.linalg.lstsq(resize, old.numpy(), rcond=None)[0]
        np.testing.assert_allclose(new.detach().numpy(), expected, atol=1e-5)


def test_averaged_kernels_are_means_of_squares() -> None:
    state = small_vit(32, 8).state_dict()
    model = small_vit(16, 4)
    said = adapted_from(state, model, "average")
    expected = state["conv_proj.weight"].numpy().reshape(6, 3, 4, 2, 4, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(model.conv_proj.weight.detach().numpy(), expected, atol=1e-6)
    assert said == (
        Adaptation("patch embedding", "averaged over squares of pixels", {"conv_proj.weight": "6x3x8x8 -> 6x3x4x4"}),
    )
    with pytest.raises(LayerprobeError, match=r"no multiple of the network's 3x3, .*; take adapt resample"):
        adapted_from(state, small_vit(12, 3), "average")


def test_weights_of_the_same_form_are_loaded_as_they_are() -> None:
    model = small_vit(16, 4)
    state = random_state(model)
    assert adapted_from(state, model) == ()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_what_can_not_be_adapted_is_refused() -> None:
    state = small_vit(16, 4).state_dict()
    with pytest.raises(LayerprobeError, match=r"has 16 positions, which are not 1 .* take the network and the image"):
        adapted_from({**state, "encoder.pos_embedding": torch.zeros(1, 16, 6)}, small_vit(32, 4))
    wider = VisionTransformer(16, 4, 1, 2, 8, 8)
    with pytest.raises(LayerprobeError, match="the weights don't fit the model"):
        adapted_from(state, wider)
    with pytest.raises(LayerprobeError, match="not in the model: encoder.layers.encoder_layer_1"):
        adapted_from(small_vit(16, 4, num_layers=2).state_dict(), small_vit(16, 4))


@pytest.fixture
def imagenet_file(tmp_path: Path) -> Path:
    """Weights of a ResNet-9 in ImageNet's layout: a 7x7 stem, and a thousand classes."""
    path = tmp_path / "imagenet.pth"
    torch.save(random_state(ResNet(BasicBlock, [1, 1, 1, 1])), path)
    return path


def test_a_network_is_trained_from_weights_of_another_form_and_loads_without_them(
    imagenet_file: Path, tmp_path: Path
) -> None:
    before = torch.load(imagenet_file, weights_only=True)
    train = ("train", "--model", "cifar:resnet9", "--weights", imagenet_file, *FEW, "--output", tmp_path / "run")
    assert "conv1.weight is 64x3x7x7 in the file, 64x3x3x3 in the model" in (said := invoke(*train, code=2).stderr)
    assert said.rstrip().endswith("; --adapt brings them to the model's form")
    said = invoke(*train, "--adapt", "resample", "--backbone-lr-factor", 0).stderr
    what = f"{imagenet_file} for cifar:resnet9: "
    assert f"{what}stem, 1 tensor: new, with initial weights (conv1.weight 64x3x7x7 -> 64x3x3x3)" in said
    both = "(fc.weight 1000x512 -> 10x512; fc.bias 1000 -> 10)"
    assert f"{what}classifier, 2 tensors: new, with initial weights {both}" in said
    resumed = invoke(*train, "--adapt", "resample", "--backbone-lr-factor", 0, "--resume").stderr
    assert "is finished: nothing to do" in resumed
    config = read_values(tmp_path / "run" / "config.yaml", "train", INFORMATION)
    assert "weights_sha256" not in merge(config, {"training": {"seed": 1}})["model"]  # the new parts are drawn anew
    assert merge(config, {"training": {"epochs": 2}})["model"]["weights_sha256"]
    imagenet_file.unlink()
    config = read_yaml(tmp_path / "run" / "config.yaml", "configuration", "")
    assert [(one["part"], list(one["tensors"])) for one in config["adapted"]] == [
        ("stem", ["conv1.weight"]),
        ("classifier", ["fc.weight", "fc.bias"]),
    ]
    after = load_student(tmp_path / "run").state_dict()
    kept = [name for name, value in before.items() if name.endswith("weight") and value.shape == after[name].shape]
    assert len(kept) == 23 and all(torch.equal(after[name], before[name]) for name in kept)
    assert evaluate(EvaluateSettings(run=tmp_path / "run", samples=20, device="cpu")).images == 20
    spec = ModelSettings(name="cifar:resnet9", weights=str(tmp_path / "run" / "model.safetensors"))
    teacher = load_network(spec, DataSettings(name="digits"), open_split(DataSettings(name="digits"), "train"))
    assert all(torch.equal(value, after[name]) for name, value in teacher.module.state_dict().items())
    assert teacher.adapted == ()
    assert [one.part for one in teacher.adapted_before] == ["stem", "classifier"]
    sample = ("--model", spec.name, "--weights", spec.weights, "--data", "digits", "--samples", 20, "--device", "cpu")
    invoke("extract", *sample, "--layers", "-1", "--output", tmp_path / "f.h5")
    invoke("rank", tmp_path / "f.h5", "--top", 1, "--resamples", 0)
    ranking = load_ranking(tmp_path / "f.ranking.json")
    assert ranking.provenance["adapted"] == config["adapted"]
    shown = "stem, 1 tensor: new, with initial weights (conv1.weight 64x3x7x7 -> 64x3x3x3); classifier, 2 tensors"
    assert sample_facts(ranking.provenance, ())["Changed of its first weights"].startswith(shown)
    assert "changed of its first weights: stem new, with" in invoke("inspect", tmp_path / "f.h5").stdout
    first = read_run(tmp_path / "run")
    shown = "stem new, with initial weights, classifier new, with initial weights"
    assert f"the network started from changed weights: {shown}" in run_table(first).notes
    shared = ("--student", "cifar:resnet20", "--method", "kd", *FEW, "--output", tmp_path / "student")
    invoke("distill", "--teacher", "cifar:resnet9", "--teacher-weights", spec.weights, *shared)
    taught = read_run(tmp_path / "student")
    assert taught.config["teacher_adapted"] == config["adapted"] and "adapted" not in taught.config
    assert f"the teacher started from changed weights: {shown}" in run_table(taught).notes


def test_adapting_is_of_weights_of_a_network_that_is_trained(imagenet_file: Path, tmp_path: Path) -> None:
    model, out = ("--model", "cifar:resnet9", "--adapt", "average"), ("--output", tmp_path / "run")
    said = invoke("train", *model, *FEW, *out, code=2).stderr
    assert "--adapt is for weights from a file or the hub; leave it out" in said
    frozen = {"name": "cifar:resnet9", "weights": str(imagenet_file), "adapt": "average"}
    (tmp_path / "c.yaml").write_text(f"teacher: {frozen}\nstudent: cifar:resnet9\ndata: digits\nmethod: kd\n")
    said = invoke("distill", "--config", tmp_path / "c.yaml", *out, code=2).stderr
    assert "is for a network that is trained; leave it out" in said


def vit_b_16() -> nn.Module:
    return VisionTransformer(224, 16, 12, 12, 768, 3072)


LAYOUTS = {"resnet34-paper": resnet34, "vgg19-paper": vgg19_bn, "vit-base-mean": vit_b_16}
"""The paper's teachers, and what torchvision's published weights of each are of."""


@cache
def published(name: str) -> dict[str, Tensor]:
    """Random weights in the layout of the published ones."""
    with torch.device("meta"):
        model = LAYOUTS[name]()
    return random_state(model)


HEADS = {"resnet34-paper": "fc", "vgg19-paper": "classifier", "vit-base-mean": "heads.head"}
NEW = {"resnet34-paper": (512, "fc."), "vgg19-paper": (4096, "classifier.6."), "vit-base-mean": (768, "heads.head.")}


def expected_changes(name: str, size: int, classes: int) -> list[tuple[str, str, str]]:
    """Part, tensor and shapes, as counted by hand."""
    width, head = NEW[name]
    changes = {
        "resnet34-paper": [("stem", "conv1.weight", "64x3x7x7 -> 64x3x3x3")],
        "vgg19-paper": [("classifier", "classifier.0.weight", "4096x25088 -> 4096x512")],
        "vit-base-mean": [
            ("patch embedding", "conv_proj.weight", f"768x3x16x16 -> 768x3x{size // 8}x{size // 8}"),
            ("position embeddings", "encoder.pos_embedding", "1x197x768 -> 1x65x768"),
        ],
    }
    return [
        *changes[name],
        ("classifier", f"{head}weight", f"1000x{width} -> {classes}x{width}"),
        ("classifier", f"{head}bias", f"1000 -> {classes}"),
    ]


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "size", "classes"),
    [
        pytest.param(name, size, classes, marks=() if (name, classes) == ("resnet34-paper", 10) else slow)
        for name in LAYOUTS
        for size, classes in ((32, 10), (32, 100), (64, 200))
    ],
)
def test_the_teachers_of_the_paper_start_from_the_layout_of_imagenet(name: str, size: int, classes: int) -> None:
    """What was changed, and a training step: the classifier at the full rate, all else at a hundredth."""
    state = published(name)
    model = build_model(f"cifar:{name}", num_classes=classes, image_size=size, seed=0)
    said = adapted_from(state, model, "average")
    found = [(one.part, tensor, shapes) for one in said for tensor, shapes in one.tensors.items()]
    assert sorted(found) == sorted(expected_changes(name, size, classes))
    changed = {tensor for _, tensor, _ in found}
    if name == "vit-base-mean":
        nn.init.normal_(model.get_submodule("heads.head").weight)  # torchvision's starts with zeros: no gradient passes
    first = {key: value.clone() for key, value in model.state_dict().items()}
    assert all(torch.equal(first[key], state[key]) for key in state if key not in changed and key in first)
    layers = discover_layers(model, (size, size))
    (head,) = find_head(model, layers)
    assert head == HEADS[name]
    recipe = RecipeSettings(lr=0.01, backbone_lr_factor=0.01, weight_decay=0.0)
    optimizer = make_optimizer(model, nn.Module(), (head,), recipe)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    functional.cross_entropy(model.train()(images), torch.tensor([0, classes - 1])).backward()
    optimizer.step()
    for key, value in model.named_parameters():
        # The first step of Adam is the rate, wherever there is a gradient.
        most = (value.detach() - first[key]).abs().max().item()
        assert most <= (0.01 if re.match(rf"{head}\.", key) else 0.0001) * 1.01, key
        if key in changed:
            assert most > 0, key
