"""Extraction on a GPU gives what a CPU gives."""

import pytest
import torch

from layerprobe.features.extraction.extract import extract
from layerprobe.settings.extract import ExtractSettings

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_are_those_of_the_cpu(config: ExtractSettings, dtype: str) -> None:
    with extract(config.replaced(dtype=dtype)) as file:
        expected = [file.features(layer).float() for layer in ("act", "head.input")]
    with extract(config.replaced(dtype=dtype, device="cuda", workers=2, overwrite=True)) as file:
        assert file.provenance["device"] == "cuda" and not file.damaged().any()
        for layer, values in zip(("act", "head.input"), expected, strict=True):
            assert torch.allclose(file.features(layer).float(), values, rtol=1e-2, atol=1e-2)


def test_the_largest_memory_is_said(config: ExtractSettings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), extract(config.replaced(device="cuda", overwrite=True)):
        assert "largest memory on cuda:0: " in caplog.text


def test_in_16_bits(config: ExtractSettings) -> None:
    with extract(config) as file:
        expected = file.features("head.input")
    with extract(config.replaced(device="cuda", amp=True, overwrite=True)) as file:
        assert file.provenance["precision"] == "float16"
        assert torch.allclose(file.features("head.input"), expected, rtol=0.02, atol=0.02)
