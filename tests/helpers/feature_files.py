"""What feature files say about themselves, for files that no network made."""

from typing import Any


def provenance(model: str = "net", population: int = 100, **others: Any) -> dict[str, Any]:
    """Everything that docs/feature-file.md lists beside what the file itself knows."""
    return {
        "model": model,
        "weights": "random",
        "weights_sha256": "ab" * 32,
        "dataset": "digits",
        "split": "train",
        "population": population,
        "preprocessing": {
            "image_size": [8, 8], "mean": [0.5], "std": [0.25], "resize": None, "interpolation": "bilinear",
            "source": "a test",
        },
        "sample": {"how": "every image", "images": population},
        "pixels_sha256": "cd" * 32,
        "precision": "float32",
        "device": "cpu",
        **others,
    }  # fmt: skip
