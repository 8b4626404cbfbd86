"""Extraction: every row is the right image's, in every layer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from layerprobe.data.datasets import open_dataset
from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction import extract as module
from layerprobe.features.extraction import reduce
from layerprobe.features.extraction.extract import extract
from layerprobe.features.extraction.job import prepare
from layerprobe.features.extraction.reduce import Project
from layerprobe.networks import load_network
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.model import ModelSettings


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_are_the_images_features(config: ExtractSettings, workers: int) -> None:
    dataset = open_dataset(config.data.name)
    network = load_network(config.model, config.data, dataset)
    with extract(config.replaced(workers=workers)) as file:
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


def test_provenance(config: ExtractSettings) -> None:
    with extract(config.replaced(seed=3)) as file:
        source = file.provenance
    assert source["model"] == config.model.name and source["split"] == "train" and source["population"] == 36
    assert source["sample"]["seed"] == 3 and source["sample"]["per_class"] == 5
    assert source["preprocessing"]["image_size"] == [32, 32]
    assert len(source["weights_sha256"]) == 64


def test_chosen_layers_and_every_image(config: ExtractSettings) -> None:
    with extract(config.replaced(layers=("-1",), samples="all", split="test")) as file:
        assert [stored.layer.index for stored in file.layers] == [1]
        assert file.provenance["rows"] == 12 and file.features(1).shape == (12, 4)


def test_a_huge_map_is_pooled_and_says_so(
    config: ExtractSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with extract(config) as file:
        whole = file.features(0)
    monkeypatch.setattr(reduce, "LARGEST_DIMENSION", 4 * 8 * 8)
    with extract(config.replaced(overwrite=True)) as file:
        stored = file.layers[0]
        assert (stored.layer.shape, stored.shape, stored.reduction) == ((4, 32, 32), (4, 8, 8), "avg:8x8")
        assert torch.allclose(file.features(0), nn.functional.avg_pool2d(whole, 4), atol=1e-6)
    assert "act has 4096 features: pooled (avg:8x8)" in caplog.text


def test_float16_holds_what_fits_and_names_what_does_not(
    config: ExtractSettings, caplog: pytest.LogCaptureFixture
) -> None:
    with extract(config) as file:
        exact = file.features(0)
    with extract(config.replaced(dtype="float16", overwrite=True)) as file:
        assert torch.equal(file.features(0), exact.half())
    loud = ModelSettings(name=config.model.name.replace(":net", ":loud"))
    with extract(config.replaced(model=loud, dtype="float16", overwrite=True)) as file:
        assert file.complete and bool(file.features("act").isinf().any())
    assert caplog.text.count("layer 'act' has values beyond float16 (65504); use --dtype float32") == 1


def test_a_run_in_16_bits_says_so_and_is_close(config: ExtractSettings) -> None:
    with extract(config) as file:
        exact = file.features("head.input")
        assert file.provenance["precision"] == "float32"
    with extract(config.replaced(amp=True, overwrite=True)) as file:
        assert file.provenance["precision"] == "bfloat16"
        rounded = file.features("head.input")
    assert not torch.equal(rounded, exact) and torch.allclose(rounded, exact, rtol=0.05, atol=0.05)


def test_values_that_are_not_finite_are_named(config: ExtractSettings, caplog: pytest.LogCaptureFixture) -> None:
    nan = config.replaced(model=ModelSettings(name=config.model.name.replace(":net", ":broken")))
    extract(nan).close()
    assert caplog.text.count("layer 'act' has values that are not finite; look at the weights") == 1
    extract(nan.replaced(amp=True, overwrite=True)).close()
    assert caplog.text.count("layer 'act' has values that are not finite in 16 bits; leave --amp out") == 1


def test_reduced_layers(config: ExtractSettings) -> None:
    with extract(config) as file:
        whole = file.features("act")
    with extract(config.replaced(pool="max:4", project=40, overwrite=True)) as file:
        assert [stored.shape for stored in file.layers] == [(40,), (4,)]
        assert file.layers[0].reduction == "max:4x4; sparse-projection:40 seed 0"
        expected = Project(40, 0, 0)(nn.functional.max_pool2d(whole, 8))
        assert torch.allclose(file.features("act"), expected, atol=1e-5)


def test_a_projection_of_features_in_16_bits_is_in_32(config: ExtractSettings) -> None:
    with extract(config.replaced(amp=True)) as file:
        whole = file.features("act")
    with extract(config.replaced(amp=True, project=40, overwrite=True)) as file:
        assert torch.allclose(file.features("act"), Project(40, 0, 0)(whole), rtol=1e-5, atol=1e-5)


def test_bad_requests(config: ExtractSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LayerprobeError, match="dtype is one of 'float32', 'float16'; not 'int8'"):
        extract(config.replaced(dtype="int8"))
    with pytest.raises(LayerprobeError, match="layer 'lair' is not in"):
        extract(config.replaced(layers=("lair",)))
    with pytest.raises(LayerprobeError, match="cifar:resnet20 comes without weights"):
        extract(config.replaced(model=ModelSettings(name="cifar:resnet20")))
    with pytest.raises(LayerprobeError, match="device is one of auto, cpu"):
        extract(config.replaced(device="tpu"))
    usage = module.shutil.disk_usage(config.output.parent)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(
        LayerprobeError, match=r"the features take .* MB, but .* free; take fewer --samples or --layers"
    ):
        extract(config)


def test_batches_of_large_images_are_smaller_on_a_cpu(config: ExtractSettings) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    default = config.replaced(batch_size=None)
    large = default.replaced(data=default.data.replaced(image_size=224))
    sizes = [prepare(one, device).batch_size for one in (config, default, large) for device in (cpu, cuda)]
    assert sizes == [4, 4, 128, 128, 32, 128]


def test_another_number_of_outputs_than_was_asked_for_is_told(
    config: ExtractSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layers = "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)"
    (tmp_path / "fixed.py").write_text(f"from torch import nn\n\ndef net():\n    return nn.Sequential({layers})\n")
    model = ModelSettings(name=f"{tmp_path / 'fixed.py'}:net", num_classes=7)
    assert load_network(model, config.data, open_dataset(config.data.name)).num_classes == 5
    assert caplog.messages == [f"{model.name} has 5 outputs, not the 7 that were asked for"]
