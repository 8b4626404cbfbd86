"""How good a trained network is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from layerprobe.data.loading import Batch, batches
from layerprobe.data.preprocessing import normalize
from layerprobe.data.transfers import to_device
from layerprobe.layers.logits import classify
from layerprobe.records import Preprocessing


def count_correct(
    model: nn.Module, loader: DataLoader[Batch], preprocessing: Preprocessing, device: torch.device
) -> Tensor:
    """(3,) int64: how many images are classified correctly, how many there are, how many have logits that are NaN.

    The network is in evaluation mode.
    """
    model.eval()
    counts = torch.zeros(3, dtype=torch.int64, device=device)
    with torch.no_grad():
        for batch in batches(loader):
            logits = logits_of(model, batch, preprocessing, device)
            counts[0] += (logits.argmax(dim=1) == to_device(batch.known_labels, device)).sum()
            counts[1] += len(batch.positions)
            counts[2] += logits.isnan().any(dim=1).sum()
    return counts


def percent(counts: Tensor) -> float:
    """The first of two counts in percent of the second."""
    return 100 * int(counts[0]) / int(counts[1])


def logits_of(model: nn.Module, batch: Batch, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """The logits of a batch of images, (batch, classes).

    Raises:
        LayerprobeError: if it returns no tensor, or several that could be the logits.
    """
    return classify(model, normalize(to_device(batch.pixels, device), preprocessing))
