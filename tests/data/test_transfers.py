"""Tensors come to a device as they were."""

import pytest
import torch

from layerprobe.data.transfers import rows_to_device, to_device

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
]


@pytest.mark.parametrize("name", DEVICES)
def test_values_stay_as_they_are(name: str) -> None:
    device, values = torch.device(name), torch.randn(7, 2, 3)
    assert torch.equal(to_device(values, device).cpu(), values)
    rows = torch.tensor([6, 0, 0, 3])
    for table in (values, to_device(values, device)):
        chosen = rows_to_device(table, rows, device)
        assert chosen.device.type == name and torch.equal(chosen.cpu(), values[rows])


def test_on_the_cpu_nothing_is_copied() -> None:
    values = torch.randn(3)
    assert to_device(values, torch.device("cpu")) is values


def test_rows_are_chosen_where_the_table_is() -> None:
    """The meta device, which any machine has, stands for a GPU: it refuses to meet tensors of the CPU."""
    table = torch.zeros(5, 2, device="meta")
    assert rows_to_device(table, torch.tensor([1, 4, 2]), torch.device("meta")).shape == (3, 2)
