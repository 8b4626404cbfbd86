"""Extraction: every row is the right image's, in every layer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from layerprobe.data.datasets import open_dataset
from layerprobe.errors import LayerprobeError
from layerprobe.features import extract as module
from layerprobe.features.extract import ExtractConfig, extract
from layerprobe.resolve import DataSpec, ModelSpec, load_network
from layerprobe.types import Layer

HOME_MADE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, num_classes)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        x = self.act(self.conv(x)) * self.scale
        return self.head(x.mean(dim=(2, 3)))

def net(num_classes):
    torch.manual_seed(0)
    return Net(num_classes)

def loud(num_classes):
    model = net(num_classes)
    with torch.no_grad():
        model.conv.weight.mul_(1e6)
    return model
"""


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> ExtractConfig:
    (tmp_path / "net.py").write_text(HOME_MADE)
    return ExtractConfig(
        ModelSpec(f"{tmp_path / 'net.py'}:net"), DataSpec(str(photos)), tmp_path / "f.h5", samples=15, batch_size=4
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_are_the_images_features(config: ExtractConfig, workers: int) -> None:
    dataset = open_dataset(config.data.name)
    network = load_network(config.model, config.data, dataset)
    with extract(replace(config, workers=workers)) as file:
        assert torch.bincount(file.labels).tolist() == [5, 5, 5]
        assert [stored.layer for stored in file.layers] == list(network.layers)
        assert [stored.layer.name for stored in file.layers] == ["act", "head.input"]
        for position, row in enumerate(file.image_rows.tolist()):
            assert dataset.labels[row] == file.labels[position] and dataset.paths[row] == file.image_paths[position]
            pixels = torch.from_numpy(np.asarray(dataset.image(row)).copy()).permute(2, 0, 1).float() / 255
            mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
            with torch.no_grad():
                expected = network.module.conv(((pixels - mean) / std)[None]).relu()[0]
            assert torch.allclose(file.features(0, position, position + 1)[0], expected, atol=1e-5)
            assert torch.allclose(file.features(1, position, position + 1)[0], expected.mean(dim=(1, 2)), atol=1e-5)


def test_provenance(config: ExtractConfig) -> None:
    with extract(replace(config, seed=3)) as file:
        source = file.provenance
    assert source["model"] == config.model.name and source["split"] == "train" and source["population"] == 36
    assert source["sample"]["seed"] == 3 and source["sample"]["per_class"] == 5
    assert source["preprocessing"]["image_size"] == [32, 32]
    assert len(source["weights_sha256"]) == 64


def test_chosen_layers_and_every_image(config: ExtractConfig) -> None:
    with extract(replace(config, layers=("-1",), samples="all", split="test")) as file:
        assert [stored.layer.index for stored in file.layers] == [1]
        assert file.provenance["rows"] == 12 and file.features(1).shape == (12, 4)


def test_a_huge_map_is_pooled_and_says_so(
    config: ExtractConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with extract(config) as file:
        whole = file.features(0)
    monkeypatch.setattr(module, "LARGEST_DIMENSION", 4 * 8 * 8)
    with extract(replace(config, overwrite=True)) as file:
        stored = file.layers[0]
        assert (stored.layer.shape, stored.shape, stored.reduction) == ((4, 32, 32), (4, 8, 8), "avg:8x8")
        assert torch.allclose(file.features(0), nn.functional.avg_pool2d(whole, 4), atol=1e-6)
    assert "act has 4096 features: pooled (avg:8x8)" in caplog.text


def test_a_channels_last_map_is_pooled_over_its_own_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_DIMENSION", 5 * 4 * 4)
    stored = module._stored(Layer(0, "swin", "block", (8, 8, 5), 0))
    assert (stored.shape, stored.reduction) == ((4, 4, 5), "avg:4x4")
    features = torch.randn(2, 8, 8, 5)
    expected = features.reshape(2, 4, 2, 4, 2, 5).mean(dim=(2, 4))
    assert np.allclose(module._to_storage(features, stored, "float32"), expected, atol=1e-6)


def test_float16_holds_what_fits_and_stops_at_what_does_not(config: ExtractConfig) -> None:
    with extract(config) as file:
        exact = file.features(0)
    with extract(replace(config, dtype="float16", overwrite=True)) as file:
        assert torch.equal(file.features(0), exact.half())
    before = config.output.read_bytes()
    loud = ModelSpec(config.model.name.replace(":net", ":loud"))
    with pytest.raises(LayerprobeError, match=r"layer 'act' has values up to .*beyond float16 .*--dtype float32"):
        extract(replace(config, model=loud, dtype="float16", overwrite=True))
    assert config.output.read_bytes() == before


def test_an_existing_output_is_kept(config: ExtractConfig) -> None:
    config.output.write_text("mine")
    with pytest.raises(LayerprobeError, match="f.h5 exists; --overwrite replaces it"):
        extract(config)
    assert config.output.read_text() == "mine"
    with pytest.raises(LayerprobeError, match="is a folder; --output names the HDF5 file"):
        extract(replace(config, output=config.output.parent))


def test_a_truncated_image_leaves_nothing_behind(config: ExtractConfig, photos: Path) -> None:
    for path in (photos / "train" / "dog").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(LayerprobeError, match="is not a readable image"):
        extract(config)
    assert not list(config.output.parent.glob("f.h5*"))


def test_bad_requests(config: ExtractConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LayerprobeError, match="--dtype is float16 or float32, not 'int8'"):
        extract(replace(config, dtype="int8"))
    with pytest.raises(LayerprobeError, match="layer 'lair' is not in"):
        extract(replace(config, layers=("lair",)))
    with pytest.raises(LayerprobeError, match="cifar:resnet20 comes without weights"):
        extract(replace(config, model=ModelSpec("cifar:resnet20")))
    with pytest.raises(LayerprobeError, match="--device is one of auto, cpu"):
        extract(replace(config, device="tpu"))
    usage = module.shutil.disk_usage(config.output.parent)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(
        LayerprobeError, match=r"the features take .* MB, but .* free; take fewer --samples or --layers"
    ):
        extract(config)
