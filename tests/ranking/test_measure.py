"""What is measured, what is kept for the next time, and layers compared."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction.extract import extract
from layerprobe.features.hdf5.gram_file import GramFile, write_grams
from layerprobe.features.hdf5.layout import FilePlan
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.catalogue import FAMILIES, VIEWS
from layerprobe.geometry.gram import gram_matrix
from layerprobe.ranking import measure as module
from layerprobe.ranking.cache import StatisticsCache, cache_path, open_cache
from layerprobe.ranking.choose import Choice
from layerprobe.ranking.grams import extract_grams
from layerprobe.ranking.measure import Measurements, measure_layers
from layerprobe.ranking.rank import rank_source
from layerprobe.ranking.similarity import layer_similarity
from layerprobe.records import Layer, StoredLayer
from layerprobe.settings.data import DataSettings
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.model import ModelSettings
from tests.helpers.feature_files import provenance

EVERYTHING = Measurements(tuple(FAMILIES), tuple(VIEWS), resamples=8, sizes=(2, 5), seed=3)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ExtractSettings:
    path = tmp_path_factory.mktemp("features") / "f.h5"
    config = ExtractSettings(
        model=ModelSettings(name="cifar:resnet20", weights="random"),
        data=DataSettings(name="digits"),
        output=path,
        samples=60,
        layers=("layer1.0", "-1"),
        device="cpu",
    )
    extract(config).close()
    return config


@pytest.fixture
def features(config: ExtractSettings) -> FeatureFile:
    return FeatureFile(config.output)


def test_results_are_kept_and_a_second_run_computes_nothing(
    features: FeatureFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measure_layers(features, EVERYTHING, open_cache(features))
    assert cache_path(features.path).name == "f.statistics.npz"
    calls = []
    real = module.gram_of
    monkeypatch.setattr(module, "gram_of", lambda *arguments: calls.append(arguments) or real(*arguments))
    again = measure_layers(features, EVERYTHING, open_cache(features))
    assert not calls
    for one, other in zip(first, again, strict=True):
        assert one.layer == other.layer and one.statistics.keys() == other.statistics.keys()
        assert all(
            np.array_equal(value, other.statistics[name], equal_nan=True) for name, value in one.statistics.items()
        )
        assert one.arrays.keys() == other.arrays.keys()
        assert all(
            torch.allclose(value, other.arrays[name], 0, 0, equal_nan=True) for name, value in one.arrays.items()
        )
    assert {"nc1", "twonn", "pca-90", "probe", "logme", "quality"} <= first[0].statistics.keys()
    assert {"spectrum", "plane", "deviations quality", "at sizes quality"} <= first[0].arrays.keys()
    measure_layers(features, replace(EVERYTHING, seed=4), open_cache(features))
    assert len(calls) == len(features.layers)  # other draws are other results


def test_another_content_or_a_damaged_file_is_computed_again(features: FeatureFile, tmp_path: Path) -> None:
    wanted = Measurements(resamples=0)
    path = tmp_path / "kept.npz"
    measure_layers(features, wanted, StatisticsCache(path, features.fingerprint))
    assert StatisticsCache(path, features.fingerprint).get("layer1.0", "scores")
    assert StatisticsCache(path, "another").get("layer1.0", "scores") is None
    for content in (b"", b"PK\x03\x04 damaged", path.read_bytes()[:300]):
        path.write_bytes(content)
        cache = StatisticsCache(path, features.fingerprint)
        assert cache.get("layer1.0", "scores") is None
        measure_layers(features, wanted, cache)
        assert StatisticsCache(path, features.fingerprint).get("layer1.0", "scores")


def test_names_with_any_character_are_kept(tmp_path: Path) -> None:
    values = {"quality": torch.tensor(0.5, dtype=torch.float64), "plane": torch.ones(2, 2, dtype=torch.float64)}
    with StatisticsCache(tmp_path / "kept.npz", "key") as cache:
        cache.put("a|b/c.d@2", "sizes 2,5, seed 3", values)
    found = StatisticsCache(tmp_path / "kept.npz", "key").get("a|b/c.d@2", "sizes 2,5, seed 3")
    assert found is not None and {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in values.items()
    }


def test_results_of_an_interrupted_run_are_kept(
    features: FeatureFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.gram_of

    def interrupted(source: FeatureFile, stored: object, device: object) -> object:
        if stored is source.layers[1]:
            raise KeyboardInterrupt
        return real(source, stored, device)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "gram_of", interrupted)
    cache = StatisticsCache(tmp_path / "kept.npz", "key")
    with pytest.raises(KeyboardInterrupt):
        measure_layers(features, Measurements(resamples=0), cache)
    assert StatisticsCache(tmp_path / "kept.npz", "key").get("layer1.0", "scores")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.npz"]


def test_a_place_that_cannot_be_written_keeps_nothing(features: FeatureFile, tmp_path: Path) -> None:
    measure_layers(features, Measurements(resamples=0), StatisticsCache(tmp_path / "none" / "kept.npz", "key"))
    assert not list(tmp_path.iterdir())


def test_the_fingerprint_is_that_of_the_content(config: ExtractSettings, features: FeatureFile, tmp_path: Path) -> None:
    same, other = tmp_path / "same.h5", tmp_path / "other.h5"
    with extract(config.replaced(output=same)) as again, extract(config.replaced(output=other, seed=1)) as different:
        assert again.fingerprint == features.fingerprint != different.fingerprint
    with (
        extract_grams(config.replaced(output=tmp_path / "g.h5")) as grams,
        extract_grams(config.replaced(output=tmp_path / "o.h5", seed=1)) as others,
    ):
        assert grams.fingerprint not in (features.fingerprint, others.fingerprint)


def test_similarity_within_and_between_files(config: ExtractSettings, features: FeatureFile, tmp_path: Path) -> None:
    cache = StatisticsCache(tmp_path / "kept.npz", "key")
    own = layer_similarity(features, cache=cache)
    assert own.cka.shape == (2, 2) and torch.allclose(own.cka.diagonal(), torch.ones(2, dtype=torch.float64))
    assert torch.equal(layer_similarity(features, cache=StatisticsCache(tmp_path / "kept.npz", "key")).cka, own.cka)
    student = config.replaced(
        model=ModelSettings(name="cifar:resnet32", weights="random"), output=tmp_path / "s.h5", layers=("1-3",)
    )
    with extract(student) as file:
        both = layer_similarity(features, file)
    assert both.cka.shape == (2, 3) and both.names == ("cifar:resnet20", "cifar:resnet32")
    assert [layer.index for layer in both.second] == [1, 2, 3]


def test_layers_of_other_images_are_not_compared(
    config: ExtractSettings, features: FeatureFile, tmp_path: Path
) -> None:
    with (
        extract(config.replaced(output=tmp_path / "o.h5", seed=1)) as other,
        pytest.raises(LayerprobeError, match="hold other images, or the same in another order; extract both"),
    ):
        layer_similarity(features, other)


def test_bad_requests(features: FeatureFile) -> None:
    with pytest.raises(LayerprobeError, match="--sizes: 7 images per class, but a class has 6"):
        measure_layers(features, Measurements(sizes=(3, 7)))
    with pytest.raises(LayerprobeError, match="--sizes are images per class, at least 2; not 1"):
        Measurements(sizes=(1, 3))


@pytest.mark.parametrize(
    ("labels", "message", "refusal"),
    [
        (
            [0] * 10,
            "there is only one class: S, E, Q and everything else that compares classes are undefined",
            "the inter-class cosine needs 2 classes, and the sample has 1; this sample allows information",
        ),
        (
            [0] * 5 + [1] * 4 + [2],
            "1 of 3 classes have only one image: S, I and Q are undefined",
            "--by quality: the intra-class cosine needs 2 images of every class, and 1 of 3 classes have fewer; "
            "extract again with --samples 6 or more; this sample allows efficiency",
        ),
    ],
)
def test_degenerate_classes_are_named_and_measured(
    labels: list[int], message: str, refusal: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    features = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
    stored = StoredLayer(Layer(0, "a", "block", (6,), 1), (6,))
    plan = FilePlan((stored,), "float32", np.array(labels), np.arange(10), None, ("x", "y", "z"), provenance("m", 10))
    write_grams(tmp_path / "g.h5", plan, [(stored, gram_matrix([features], torch.tensor(labels), 10))])
    with GramFile(tmp_path / "g.h5") as grams:
        wanted = Measurements(tuple(FAMILIES), tuple(VIEWS), resamples=8)
        (one,) = measure_layers(grams, wanted)
        assert message in caplog.text
        assert np.isnan(one.statistics["quality"]) and not np.isnan(one.statistics["pca-90"])
        with pytest.raises(LayerprobeError, match=refusal):
            rank_source(grams, Choice(1), wanted)
        assert rank_source(grams, Choice(1, by="depth"), wanted).selected == ("a",)
