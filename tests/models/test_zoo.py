"""Models by name: every source, seeds, and every message."""

from __future__ import annotations

import time
import urllib.error
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants as hub
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from layerprobe.data.datasets import open_split
from layerprobe.errors import LayerprobeError
from layerprobe.layers.discovery import discover
from layerprobe.models import zoo
from layerprobe.models.classifier import classifier_names
from layerprobe.models.model_input import ModelInput
from layerprobe.models.zoo import build_model, list_models, model_input
from layerprobe.networks import load_network
from layerprobe.settings.data import DataSettings
from layerprobe.settings.model import ModelSettings

USER_FILE = """
from __future__ import annotations
from dataclasses import dataclass
from torch import nn
from neighbour import WIDTH

@dataclass
class Options:
    width: int = WIDTH

def full(num_classes=3, image_size=8):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size ** 2, num_classes))
    model.image_size = image_size
    return model

def fixed():
    return nn.Linear(Options().width, 2)

def anything(**options):
    model = nn.Identity()
    model.options = options
    return model

def number():
    return 7

def broken(num_classes):
    raise RuntimeError(f"no {num_classes} today\\nsecond line")

def exits():
    raise SystemExit(0)
"""


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("WIDTH = 5\n")
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    return path


def same_weights(left: nn.Module, right: nn.Module) -> bool:
    pairs = zip(left.state_dict().items(), right.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize(
    ("name", "num_classes", "image_size", "classes", "pixels"),
    [
        ("cifar:resnet20", None, None, 10, 32),
        ("cifar:vit-small", 7, 64, 7, 64),
        ("torchvision:squeezenet1_1", None, None, 1000, 64),
        ("torchvision:mobilenet_v3_small", 7, 64, 7, 64),
        ("timm:resnet10t", 7, 64, 7, 64),
        ("timm:vit_tiny_patch16_224", 7, 64, 7, 64),
        ("timm:test_resnet.r160_in1k", None, None, 1000, 64),
    ],
)
def test_every_source_builds(
    name: str, num_classes: int | None, image_size: int | None, classes: int, pixels: int
) -> None:
    model = build_model(name, num_classes, image_size).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, pixels, pixels)).shape == (1, classes)


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("cifar:vgg11", 512),
        ("cifar:vit-small", 192),
        ("torchvision:squeezenet1_1", 512),
        ("torchvision:mobilenet_v3_small", 1024),
        ("timm:test_convnext", 64),
        ("timm:test_vit", 64),
    ],
)
def test_networks_without_a_classifier_have_the_layers_of_those_with_one(name: str, width: int) -> None:
    size = 160 if name == "timm:test_vit" else 64
    whole, without = build_model(name, 7, size, seed=1).eval(), build_model(name, 0, size, seed=1).eval()
    assert without(torch.randn(2, 3, size, size)).shape == (2, width)
    kept = without.state_dict()
    assert set(whole.state_dict()) - set(kept) == classifier_names(whole)
    found, expected = discover(without, (size, size)), discover(whole, (size, size))
    # No vector enters SqueezeNet's classifier, a convolution; without it there is one, which no module puts out.
    more = ["output"] if "squeezenet" in name else []
    assert [layer.name for layer in found.layers] == [*(layer.name for layer in expected.layers), *more]
    assert expected.has_classifier
    if "squeezenet" not in name:  # there the classifier comes before the map is averaged
        assert not found.has_classifier and found.layers[-1] == replace(
            expected.layers[-1], parameters=found.layers[-1].parameters
        )


@pytest.mark.parametrize("name", ["cifar:resnet20", "torchvision:squeezenet1_1", "timm:resnet10t", "timm:test_vit"])
def test_a_seed_gives_the_same_weights_and_leaves_the_global_state_alone(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build_model(name, 10, 64, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.randn(3)
    assert same_weights(first, build_model(name, 10, 64, seed=1))
    assert not same_weights(first, build_model(name, 10, 64, seed=2))


def test_without_a_seed_the_global_state_decides() -> None:
    torch.manual_seed(5)
    first, second = build_model("cifar:resnet20"), build_model("cifar:resnet20")
    assert not same_weights(first, second)
    torch.manual_seed(5)
    assert same_weights(first, build_model("cifar:resnet20"))


def test_an_ignored_image_size_does_not_change_the_weights() -> None:
    assert same_weights(build_model("timm:resnet10t", seed=3), build_model("timm:resnet10t", image_size=64, seed=3))


def test_googlenet_gives_plain_logits_while_it_trains() -> None:
    model = build_model("torchvision:googlenet", 5).train()
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar:resnet21", "cifar has no model 'resnet21'; closest: 'resnet32', 'resnet20'"),
        ("torchvision:resnet51", "torchvision has no model 'resnet51'; closest: 'resnet50'"),
        ("timm:resnet1888", "timm has no model 'resnet1888'; closest: "),
        ("timm:resnet18.a9_in1k", "timm has no model 'resnet18.a9_in1k'; closest: 'resnet18.a"),
        ("tim:resnet18", "no models come from 'tim' (in 'tim:resnet18'), and it is not a .py file; closest: 'timm'"),
        ("resnet110", "FILE.py:callable; closest: 'cifar:resnet110'"),
        ("nothing", "FILE.py:callable; for example cifar:resnet56"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(LayerprobeError) as caught:
        build_model(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_list_models() -> None:
    assert list_models("cifar") == sorted(list_models("cifar"))
    assert "vit-small" in list_models("cifar")
    assert "resnet18" in list_models("timm")
    assert "resnet18" in list_models("torchvision")
    assert "fasterrcnn_resnet50_fpn" not in list_models("torchvision")
    with pytest.raises(LayerprobeError, match="no models in 'cifra'; closest: 'cifar'"):
        list_models("cifra")


def test_user_file_gets_the_arguments_that_it_takes(user_file: Path) -> None:
    assert build_model(f"{user_file}:full")[1].weight.shape == (3, 192)
    assert build_model(f"{user_file}:full", 4, 2)[1].weight.shape == (4, 12)
    assert build_model(f"{user_file}:fixed", 4, 2).weight.shape == (2, 5)
    assert build_model(f"{user_file}:anything", 4).options == {"num_classes": 4}


def test_a_classifier_that_a_user_file_does_not_leave_out(user_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert build_model(f"{user_file}:fixed", 0).num_classes == 0
    said = "mine.py:fixed takes no num_classes: what its network returns is taken for features, no logits"
    assert caplog.messages == [f"{user_file.parent}/{said}"]
    assert build_model(f"{user_file}:anything", 0).options == {"num_classes": 0}


def test_user_file_by_relative_path(user_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(user_file.parent)
    assert isinstance(build_model("mine.py:fixed"), nn.Linear)
    first, second = (build_model("mine.py:fixed", seed=1) for _ in range(2))
    assert same_weights(first, second)


def test_user_file_leaves_the_import_path_alone(user_file: Path) -> None:
    import sys

    before = list(sys.path)
    build_model(f"{user_file}:fixed")
    assert sys.path == before


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fulll", "mine.py has no function 'fulll'; closest: 'full'"),
        ("number", "mine.py:number returns a torch.nn.Module, not int; return the model itself"),
        ("broken", "mine.py:broken failed: RuntimeError: no 4 today; it is called with {'num_classes': 4}"),
        ("exits", "mine.py:exits failed: SystemExit: 0; it is called with {}"),
    ],
)
def test_user_file_messages(user_file: Path, function: str, message: str) -> None:
    with pytest.raises(LayerprobeError) as caught:
        build_model(f"{user_file}:{function}", 4)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 / 0", "can't be imported: ZeroDivisionError: division by zero"),
        ("def broken(:", "can't be imported: SyntaxError"),
        ("raise SystemExit('bye')", "can't be imported: SystemExit: bye"),
        ("x = 1", "has no function 'net'; it defines no functions"),
    ],
)
def test_user_file_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(content)
    with pytest.raises(LayerprobeError) as caught:
        build_model(f"{path}:net")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_user_file_that_is_not_there() -> None:
    with pytest.raises(LayerprobeError, match=r"no file nowhere\.py"):
        build_model("nowhere.py:net")
    for name in ("mine.py", "mine.py:"):
        with pytest.raises(LayerprobeError, match="add the name of the function"):
            build_model(name)


@pytest.mark.parametrize("name", ["cifar:resnet20", "mine.py:net", "timm:botnet50ts_256"])
def test_no_published_weights(name: str) -> None:
    with pytest.raises(LayerprobeError, match=f"no (published )?weights for '{name}'; give weights FILE"):
        build_model(name, pretrained=True)


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise urllib.error.URLError("no route to host\nsecond line")

    monkeypatch.setattr(timm, "create_model", fail)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    for name in ("timm:resnet18", "torchvision:resnet18"):
        with pytest.raises(LayerprobeError) as caught:
            build_model(name, pretrained=True)
        assert f"published weights of '{name}': <urlopen error no route to host; give weights FILE" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_without_a_network_timm_fails_fast_and_uses_what_is_cached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The hub's own tries take over a minute. Port 9 of this machine refuses connections at once."""
    monkeypatch.setattr(hub, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        hub, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(LayerprobeError) as caught:
        build_model("timm:test_resnet", pretrained=True)
    assert time.monotonic() - began < 15
    assert "they are not on this machine, and http://127.0.0.1:9 can't be reached (" in str(caught.value)
    assert str(caught.value).endswith("; give weights FILE, or weights random for an untrained network")
    repository = tmp_path / "models--timm--test_resnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("1" * 40)
    (repository / "snapshots" / ("1" * 40)).mkdir(parents=True)
    published = build_model("timm:test_resnet", seed=4)
    save_file(published.state_dict(), repository / "snapshots" / ("1" * 40) / "model.safetensors")
    assert same_weights(build_model("timm:test_resnet", pretrained=True, seed=5), published)
    assert not hub.HF_HUB_OFFLINE


def test_a_hub_that_answers_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Session:
        def head(self, url: str, timeout: float) -> None:
            asked.append(url)

    def create(*arguments: object, **options: object) -> nn.Module:
        assert not hub.HF_HUB_OFFLINE
        return nn.Identity()

    monkeypatch.setattr("huggingface_hub.utils.get_session", Session)
    monkeypatch.setattr(timm, "create_model", create)
    assert isinstance(build_model("timm:resnet18", pretrained=True), nn.Identity)
    assert asked == [hub.ENDPOINT]


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small", "resnet18"])
def test_torchvision_weights_with_another_head(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    published = models.get_model(name).state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: published)
    same = build_model(f"torchvision:{name}", pretrained=True).state_dict()
    assert all(torch.equal(value, published[key]) for key, value in same.items())
    model = build_model(f"torchvision:{name}", 7, pretrained=True, seed=0).eval()
    changed = [key for key, value in model.state_dict().items() if value.shape != published[key].shape]
    assert {key.rpartition(".")[2] for key in changed} == {"weight", "bias"}
    assert all(torch.equal(value, published[key]) for key, value in model.state_dict().items() if key not in changed)
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 7)


@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "torchvision:resnet18", "timm:test_resnet"])
def test_a_new_classifier_of_published_weights_is_said(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    source, _, short = name.partition(":")
    if source == "timm":
        create = timm.create_model
        monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **options: create(name, **options))
        monkeypatch.setattr("layerprobe.models.published._why_hub_is_unreachable", lambda: "")
    else:
        published = models.get_model(short).state_dict()
        monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: published)
    data = DataSettings(name="digits", image_size=64)
    digits = open_split(data, "train")
    (one,) = load_network(ModelSettings(name=name, num_classes=10), data, digits, trained=True).adapted
    assert one.part == "classifier" and one.how == "new, with initial weights" and len(one.tensors) == 2
    assert "1000 -> 10" in one.tensors.values()  # the bias
    assert f"pretrained for {name}: classifier, 2 tensors: new, with initial weights (" in caplog.text
    for classes in (None, 1000, 0):
        assert load_network(ModelSettings(name=name, num_classes=classes), data, digits).adapted == ()


def test_torchvision_vit_weights_fit_one_size_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LayerprobeError, match="'image_size' expected value 224 but got 64"):
        build_model("torchvision:vit_b_16", image_size=64, pretrained=True)


def test_model_input_of_timm() -> None:
    """The values of timm's own evaluation transform."""
    name = "timm:vit_tiny_patch16_224"
    asked = model_input(name, build_model(name), pretrained=True)
    half = (0.5, 0.5, 0.5)
    assert asked == ModelInput((224, 224), half, half, 248, "bicubic", "timm data config")
    smaller = model_input(name, build_model(name, image_size=64))
    assert (smaller.image_size, smaller.resize) == ((64, 64), 71)
    assert smaller.source == "timm data config, for its published weights"
    transform = timm.data.create_transform(
        input_size=(3, 64, 64), crop_pct=0.9, interpolation="bicubic", mean=half, std=half
    )
    assert transform.transforms[0].size == smaller.resize


def test_model_input_of_torchvision() -> None:
    asked = model_input("torchvision:resnet50", nn.Identity(), pretrained=True)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert asked == ModelInput((224, 224), mean, std, 232, "bilinear", "torchvision ResNet50_Weights.IMAGENET1K_V2")
    model = nn.Identity()
    model.image_size = 112
    smaller = model_input("torchvision:vit_b_16", model)
    assert (smaller.image_size, smaller.resize) == ((112, 112), 128)
    assert smaller.source.endswith(", for its published weights")


def test_model_input_of_cifar() -> None:
    asked = model_input("cifar:resnet56", nn.Identity())
    assert (asked.image_size, asked.mean, asked.std) == (None, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    # Of how images are resized the zoo says nothing, and leaves it to the data.
    assert model_input("cifar:resnet34", nn.Identity()) == ModelInput(None, None, None, None, None, "")
    vit = model_input("cifar:vit-small", build_model("cifar:vit-small", image_size=64))
    assert (vit.image_size, vit.mean, vit.std) == ((64, 64), None, None)


@pytest.mark.parametrize(("value", "expected"), [(8, (8, 8)), ((8, 16), (8, 16)), (None, None), ("big", None)])
def test_model_input_of_a_file(value: object, expected: tuple[int, int] | None) -> None:
    model = nn.Identity()
    model.image_size = value
    assert model_input("mine.py:net", model).image_size == expected


def test_every_torchvision_model_has_an_input() -> None:
    asked = [model_input(f"torchvision:{name}", nn.Identity()) for name in zoo.list_models("torchvision")]
    assert all(entry.image_size and entry.resize and entry.resize >= entry.image_size[0] for entry in asked)
