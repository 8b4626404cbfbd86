"""Gram matrices without a feature file are those of the feature file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.data.datasets import open_split
from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction.extract import extract
from layerprobe.features.hdf5.gram_file import GramFile, write_grams
from layerprobe.features.hdf5.layout import FilePlan
from layerprobe.geometry.gram import gram_matrix
from layerprobe.ranking.grams import UndefinedLayerError, extract_grams, gram_of, open_source
from layerprobe.ranking.rank import rank
from layerprobe.records import Layer, StoredLayer
from layerprobe.settings.data import DataSettings
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.model import ModelSettings
from tests.helpers.feature_files import provenance


@pytest.fixture
def config(tmp_path: Path) -> ExtractSettings:
    return ExtractSettings(
        model=ModelSettings(name="cifar:resnet20", weights="random"),
        data=DataSettings(name="digits"),
        output=tmp_path / "f.h5",
        samples=60,
        batch_size=16,
        layers=("layer1.0", "layer3.*", "-1"),
        device="cpu",
    )


def test_grams_in_one_pass_and_in_several(config: ExtractSettings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "layerprobe")
    with extract(config) as file:
        expected = {stored: gram_of(file, stored) for stored in file.layers}
        best = rank(file, top=2)
    largest = max(stored.dimension for stored in expected) * 60 * 4
    for name, memory, passes in (("one.h5", None, "1 pass"), ("more.h5", largest, "2 passes")):
        with extract_grams(config.replaced(output=config.output.with_name(name)), memory) as grams:
            assert passes in caplog.text
            assert tuple(expected) == grams.layers and grams.provenance["model"] == "cifar:resnet20"
            for stored, gram in expected.items():
                found = grams.gram(stored)
                assert (found.dimension, found.population) == (gram.dimension, gram.population)
                assert torch.equal(found.labels, gram.labels)
                for part in ("centred", "mean_products", "squared_norms"):
                    assert torch.allclose(getattr(found, part), getattr(gram, part), rtol=1e-4, atol=1e-3), part
                assert torch.equal(found.centred, found.centred.T)
                assert found.mean_square == pytest.approx(gram.mean_square, rel=1e-4)
            again = rank(grams, top=2)
            assert again.selected == best.selected
            for one, other in zip(again.geometries, best.geometries, strict=True):
                assert one.statistics == pytest.approx(other.statistics, rel=1e-3, abs=1e-5)
    assert sorted(path.name for path in config.output.parent.iterdir()) == ["f.h5", "more.h5", "one.h5"]


def test_what_is_refused(config: ExtractSettings, tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match=r"layer 'layer1.0' takes .* MB, more than the 0.0 MB of memory"):
        extract_grams(config, 1000)
    assert not config.output.exists()
    extract_grams(config).close()
    with pytest.raises(LayerprobeError, match="exists; --overwrite replaces it"):
        extract_grams(config)
    with open_source(config.output) as grams:
        assert isinstance(grams, GramFile)
    with pytest.raises(LayerprobeError, match="not a layerprobe feature file"):
        extract(config.replaced())
    with pytest.raises(LayerprobeError, match="no feature file at"):
        open_source(tmp_path / "none.h5")
    with pytest.raises(LayerprobeError, match="no Gram file at"):
        GramFile(tmp_path / "none.h5")


def test_layers_that_are_not_finite_are_undefined(
    config: ExtractSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = tmp_path / "w.pth"
    from layerprobe.networks import load_network

    network = load_network(config.model, config.data, open_split(config.data, "train")).module
    with torch.no_grad():
        network.conv1.weight.fill_(float("nan"))
    torch.save(network.state_dict(), weights)
    broken = config.replaced(model=ModelSettings(name="cifar:resnet20", weights=str(weights)))
    with extract_grams(broken) as grams:
        assert caplog.text.count("layer 'layer1.0' has values that are not finite; look at the weights") == 1
        with pytest.raises(UndefinedLayerError, match="layer 'layer1.0' of .* has NaN in [0-9]+ of [0-9]+ images"):
            gram_of(grams, grams.layers[0])


def test_a_large_matrix_is_packed_and_unpacked(tmp_path: Path) -> None:
    """More rows than are mirrored at a time."""
    features = torch.randn(1100, 7, generator=torch.Generator().manual_seed(0))
    stored = StoredLayer(Layer(3, "a", "block", (7,), 1), (7,))
    labels = np.arange(1100) % 2
    gram = gram_matrix([features], torch.from_numpy(labels), 1100)
    plan = FilePlan((stored,), "float32", labels, np.arange(1100), None, ("x", "y"), provenance(population=1100))
    write_grams(tmp_path / "g.h5", plan, [(stored, gram)])
    with GramFile(tmp_path / "g.h5") as grams:
        assert torch.equal(grams.gram(stored).centred, gram.centred.float().double())
