"""Devices by name, where there are some."""

import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.runtime.devices import resolve_device


def test_cuda_without_a_number_is_the_device_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    assert resolve_device("cuda") == resolve_device("auto") == torch.device("cuda", 2)
    assert resolve_device("cuda:0") == torch.device("cuda", 0) and resolve_device("cuda:3") == torch.device("cuda", 3)
    with pytest.raises(LayerprobeError, match="no device 'cuda:4' here"):
        resolve_device("cuda:4")


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(LayerprobeError, match="no device 'cuda' here"):
        resolve_device("cuda")
