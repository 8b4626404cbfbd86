"""Networks of one's own, from the feature file to the trained student: whatever they return, however they are built."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layerprobe.distill.run import distill_student, train_model
from layerprobe.distill.students import load_student
from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.evaluate import evaluate
from layerprobe.features.extraction.extract import extract
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.networks import find_model_layers
from layerprobe.records import Run
from layerprobe.settings.data import DataSettings
from layerprobe.settings.evaluate import EvaluateSettings
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.settings.run import DistillSettings, TrainSettings
from tests.distill.test_leakage import differing, trained

pytestmark = pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")

MODELS = """
from dataclasses import dataclass
import torch
from torch import Tensor, nn

class Small(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1, self.act1 = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()
        self.conv2, self.act2 = nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        features = self.act2(self.conv2(self.act1(self.conv1(x)))).mean((2, 3))
        return self.pack(features, self.fc(features))

    def pack(self, features, logits):
        return logits

class Pair(Small):
    def pack(self, features, logits):
        return features, logits

class Dictionary(Small):
    def pack(self, features, logits):
        return {"features": features, "logits": logits}

@dataclass
class Output:
    features: Tensor
    logits: Tensor

class Record(Small):
    def pack(self, features, logits):
        return Output(features, logits)

class Ambiguous(Small):
    def pack(self, features, logits):
        return logits.softmax(1), logits.log_softmax(1)

def lazy(num_classes=10):
    return nn.Sequential(
        nn.LazyConv2d(8, 3, padding=1), nn.ReLU(), nn.LazyConv2d(16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.LazyLinear(num_classes),
    )

class Transformer(nn.Module):
    def __init__(self, num_classes=10, batch_first=False):
        super().__init__()
        self.batch_first = batch_first
        self.patches = nn.Conv2d(3, 24, 2, 2)
        self.class_token = nn.Parameter(torch.randn(1, 1, 24))
        layer = nn.TransformerEncoderLayer(24, 2, 48, dropout=0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(24, num_classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1)
        return self.head(self.encoder(x)[:, 0] if self.batch_first else self.encoder(x.transpose(0, 1))[0])

def batch_first(num_classes=10):
    return Transformer(num_classes, batch_first=True)
"""
DIGITS = DataSettings(name="digits")
TRAINING = TrainingSettings(epochs=1, batch_size=32, train_samples=120, test_samples=60, device="cpu")
RETURNING_MORE = ["Pair", "Dictionary", "Record"]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    file = tmp_path / "models.py"
    file.write_text(MODELS)
    return file


def features(models: Path, name: str) -> dict[str, Tensor]:
    output = models.with_name(f"{name}.h5")
    model = ModelSettings(name=f"{models}:{name}", weights="random")
    extract(ExtractSettings(model=model, data=DIGITS, output=output, samples=50, batch_size=20, device="cpu"))
    with FeatureFile(output) as file:
        return {stored.layer.name: file.features(stored.layer.name) for stored in file.layers}


def same(first: dict[str, Tensor], second: dict[str, Tensor], tolerance: float = 0.0) -> bool:
    assert list(first) == list(second)
    return all(torch.allclose(first[name], second[name], rtol=0, atol=tolerance) for name in first)


@pytest.mark.parametrize("name", RETURNING_MORE)
def test_features_of_a_model_that_returns_more(models: Path, name: str) -> None:
    found = features(models, name)
    assert list(found) == ["act1", "act2", "fc.input"] and same(found, features(models, "Small"))


def test_features_of_a_transformer_that_puts_images_second(models: Path) -> None:
    first, second = features(models, "batch_first"), features(models, "Transformer")
    assert list(second) == [*(f"encoder.layers.{block}" for block in range(3)), "head.input"]
    assert second["encoder.layers.0"].shape == (50, 17, 24) and same(first, second, tolerance=1e-5)


def test_features_of_lazy_modules(models: Path) -> None:
    first, second = features(models, "lazy"), features(models, "lazy")
    assert list(first) == ["1", "3", "6.input"] and first["6.input"].shape == (50, 16) and same(first, second)


def run(models: Path, name: str, method: str = "train", teacher: str = "cifar:resnet20") -> Run:
    output, model = models.with_name(f"{name}-{method}"), ModelSettings(name=f"{models}:{name}")
    if method == "train":
        return train_model(TrainSettings(model=model, data=DIGITS, output=output, training=TRAINING))
    return distill_student(
        DistillSettings(
            method=method,
            teacher=ModelSettings(name=teacher, weights="random"),
            student=model,
            data=DIGITS,
            output=output,
            layers="even:2",
            training=TRAINING,
        )
    )


@pytest.mark.parametrize("name", RETURNING_MORE)
@pytest.mark.parametrize("method", ["train", "feature-only", "kd", "simkd"])
def test_a_student_that_returns_more_learns_as_one_that_returns_logits(models: Path, name: str, method: str) -> None:
    plain, more = run(models, "Small", method), run(models, name, method)
    assert more.last_accuracy == plain.last_accuracy
    assert not differing(
        load_student(more, allow_code=True).state_dict(), load_student(plain, allow_code=True).state_dict()
    )
    results = [
        evaluate(EvaluateSettings(run=one.folder, samples=60, device="cpu", allow_code=True)) for one in (plain, more)
    ]
    assert torch.equal(results[0].confusion, results[1].confusion)


@pytest.mark.parametrize("method", ["feature-only", "kd"])
def test_a_teacher_that_returns_more_teaches_as_one_that_returns_logits(models: Path, method: str) -> None:
    students = [
        load_student(run(models, student, method, f"{models}:{teacher}"), allow_code=True).state_dict()
        for student, teacher in (("Small", "Small"), ("Record", "Pair"))
    ]
    assert not differing(*students)


def test_lazy_modules_are_trained_and_loaded_again(models: Path) -> None:
    trained_run = run(models, "lazy")
    state = load_student(trained_run, allow_code=True).state_dict()
    assert state["0.weight"].shape == (8, 3, 3, 3) and evaluate(
        EvaluateSettings(run=trained_run.folder, device="cpu", allow_code=True)
    )
    again = ModelSettings(name=f"{models}:lazy", weights=str(trained_run.weights))
    output = models.with_name("trained.h5")
    extract(ExtractSettings(model=again, data=DIGITS, output=output, samples=20, device="cpu"))


@pytest.mark.parametrize("method", ["train", "kd"])
def test_what_is_ambiguous_is_refused_before_training(models: Path, method: str) -> None:
    with pytest.raises(LayerprobeError, match=r"2 tensors of the model's output could be those: '0' \(2x10\), '1'"):
        run(models, "Ambiguous", method)
    assert not (models.parent / f"Ambiguous-{method}").exists()


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("Transformer", {"head.weight", "head.bias"}),
        ("batch_first", {"head.weight", "head.bias"}),
        ("Pair", {"fc.weight", "fc.bias"}),
    ],
)
def test_labels_do_not_reach_the_backbone(models: Path, name: str, head: set[str]) -> None:
    """Of networks that put images second, and of those that return features beside logits."""
    pairs = 3 if head == {"head.weight", "head.bias"} else 2
    student = f"{models}:{name}"
    first, second = (trained("feature-only", permuted, student, pairs=pairs) for permuted in (False, True))
    assert differing(first, second) == head
    assert {"patches.weight", "conv1.weight"} & differing(first, initial(models, name))


def initial(models: Path, name: str) -> dict[str, Tensor]:
    from layerprobe.models.zoo import build_model

    model: nn.Module = build_model(f"{models}:{name}", num_classes=10, image_size=8, seed=0)
    return model.state_dict()


def test_layers_of_lazy_modules_are_listed(models: Path) -> None:
    assert [layer.name for layer in find_model_layers(f"{models}:lazy", 10, 16)] == ["1", "3", "6.input"]
