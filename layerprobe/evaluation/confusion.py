"""Which classes a network takes for which others."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from layerprobe.data.loading import Batch, batches
from layerprobe.distill.engine.accuracy import logits_of
from layerprobe.records import Preprocessing, Progress, silent


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
        logits = logits_of(model, batch, preprocessing, device).cpu()
        matrix += torch.bincount(batch.known_labels * classes + logits.argmax(dim=1), minlength=classes**2).view_as(
            matrix
        )
        nearest = logits.topk(min(top, classes), dim=1).indices
        among += int((nearest == batch.known_labels[:, None]).any(dim=1).sum())
        done += len(batch.positions)
        progress("images evaluated", done, len(loader.dataset))  # type: ignore[arg-type]
    return matrix, among
