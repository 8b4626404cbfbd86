"""How good a trained network is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from layerprobe.data.loading import Batch, batches
from layerprobe.data.preprocessing import normalize
from layerprobe.layers.taps import first_tensor
from layerprobe.records import Preprocessing, Progress, silent


def accuracy(model: nn.Module, loader: DataLoader[Batch], preprocessing: Preprocessing, device: torch.device) -> float:
    """Top-1 accuracy in percent, in evaluation mode."""
    return percent(count_correct(model, loader, preprocessing, device))


def count_correct(
    model: nn.Module, loader: DataLoader[Batch], preprocessing: Preprocessing, device: torch.device
) -> Tensor:
    """(2,) int64: how many images are classified correctly, and how many there are; in evaluation mode."""
    model.eval()
    counts = torch.zeros(2, dtype=torch.int64, device=device)
    with torch.no_grad():
        for batch in batches(loader):
            predicted = _logits(model, batch, preprocessing, device).argmax(dim=1)
            counts[0] += (predicted == batch.labels.to(device)).sum()
            counts[1] += len(batch.labels)
    return counts


def percent(counts: Tensor) -> float:
    """The first of two counts in percent of the second."""
    return 100 * int(counts[0]) / int(counts[1])


@torch.no_grad()
def confusion(
    model: nn.Module,
    loader: DataLoader[Batch],
    preprocessing: Preprocessing,
    device: torch.device,
    classes: int,
    top: int = 5,
    progress: Progress = silent,
) -> tuple[Tensor, int]:
    """How often images of a class are taken for another, in evaluation mode.

    Returns:
        (classes, classes) int64, images of class i that are taken for class j; and how many images have their own
        class among the ``top`` largest logits.
    """
    model.eval()
    matrix = torch.zeros(classes, classes, dtype=torch.int64)
    among, done = 0, 0
    for batch in batches(loader):
        logits = _logits(model, batch, preprocessing, device).cpu()
        matrix += torch.bincount(batch.labels * classes + logits.argmax(dim=1), minlength=classes**2).view_as(matrix)
        nearest = logits.topk(min(top, classes), dim=1).indices
        among += int((nearest == batch.labels[:, None]).any(dim=1).sum())
        done += len(batch.labels)
        progress("evaluate", done, len(loader.dataset))  # type: ignore[arg-type]
    return matrix, among


def _logits(model: nn.Module, batch: Batch, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    logits = first_tensor(model(normalize(batch.pixels.to(device, non_blocking=True), preprocessing)))
    if logits is None:
        raise ValueError("the model returned no tensor")
    return logits
