"""The same extraction with thingsvision, in an environment of its own, and a comparison of the rows.

    layerprobe extract --model torchvision:resnet18 --weights W.pth --data photos/ --samples 1000 \\
        --layers 'layer?.?' --output ours.h5
    python benchmarks/peer_thingsvision.py copy --ours ours.h5 --images photos/ --output theirs/
    THEIRS/bin/python benchmarks/peer_thingsvision.py extract --weights W.pth --output theirs/
    python benchmarks/peer_thingsvision.py compare --ours ours.h5 --output theirs/

`copy` puts the images of ours.h5 into a folder of their own: thingsvision 2.7 fails on names with class folders.
`extract` imports thingsvision and torch only; the other two import layerprobe.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from pathlib import Path

LAYERS = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]


def extract(arguments: argparse.Namespace) -> None:
    """What a user of thingsvision types, and what it takes."""
    from thingsvision import get_extractor
    from thingsvision.utils.data import DataLoader, ImageDataset

    start = time.perf_counter()
    extractor = get_extractor(
        model_name="resnet18", source="torchvision", device="cpu", pretrained=False, model_path=str(arguments.weights)
    )
    dataset = ImageDataset(
        root=str(arguments.output / "images"), out_path=str(arguments.output), backend="pt",
        transforms=extractor.get_transformations(resize_dim=256, crop_dim=224),
    )  # fmt: skip
    batches = DataLoader(dataset=dataset, batch_size=128, backend=extractor.get_backend())
    extractor.extract_features(
        batches=batches, module_names=LAYERS, flatten_acts=False, output_type="ndarray",
        output_dir=str(arguments.output), save_in_one_file=True,
        **({"step_size": arguments.step} if arguments.step else {}),
    )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"thingsvision: {time.perf_counter() - start:.1f} s, peak resident memory {peak:.2f} GB")


def copy(arguments: argparse.Namespace) -> None:
    """The images of our file, in class folders."""
    from layerprobe import FeatureFile

    with FeatureFile(arguments.ours) as file:
        for path in file.image_paths or ():
            target = arguments.output / "images" / Path(*Path(path).parts[-2:])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(arguments.images / path, target)


def compare(arguments: argparse.Namespace) -> None:
    """Rows of both, layer by layer."""
    import numpy as np

    from layerprobe import FeatureFile

    with FeatureFile(arguments.ours) as file:
        paths = ["/".join(Path(path).parts[-2:]) for path in file.image_paths or ()]
        order = [line.strip() for line in (arguments.output / "file_names.txt").read_text().splitlines()]
        theirs_by_name = {"/".join(Path(name).parts[-2:]): row for row, name in enumerate(order)}
        rows = [theirs_by_name[path] for path in paths]
        for layer in LAYERS:
            theirs = np.load(arguments.output / layer / "features.npy", mmap_mode="r")
            ours = file.features(layer).float().numpy()
            if theirs.shape != ours.shape:
                print(f"{layer}: thingsvision {theirs.shape}, layerprobe {ours.shape}")
                continue
            difference = np.array([np.abs(theirs[row] - mine).max() for row, mine in zip(rows, ours, strict=True)])
            wrong = int((difference > 0.01 * np.abs(ours).max()).sum())
            print(f"{layer}: {len(ours)} rows, largest difference {difference.max():.2g}, other images' rows: {wrong}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["copy", "extract", "compare"])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--ours", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--step", type=int, help="thingsvision's step_size; default: its own")
    arguments = parser.parse_args()
    {"copy": copy, "extract": extract, "compare": compare}[arguments.what](arguments)


if __name__ == "__main__":
    main()
