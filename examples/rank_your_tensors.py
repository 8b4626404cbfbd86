"""The geometry without any file or model: scores of features that you have as tensors already."""

import torch

from layerprobe import gram_matrix, measure

generator = torch.Generator().manual_seed(0)
labels = torch.arange(10).repeat_interleave(50)  # 10 classes of 50 images
centres = torch.randn(10, 256, generator=generator)
features = centres[labels] + torch.randn(500, 256, generator=generator)  # (images, features)

scores = measure(gram_matrix([features], labels, population=500))
for name in ("separation", "information", "efficiency", "quality"):
    print(f"{name:12} {scores[name]:.4f}")
