"""A trained network out of its run folder, as an ordinary module."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from layerprobe.distill.folder import CHECKPOINTS, CONFIG, WEIGHTS
from layerprobe.distill.methods.simkd import ReusedEnding
from layerprobe.errors import LayerprobeError
from layerprobe.models.weights import head_classes, load_weights, read_weights
from layerprobe.models.zoo import build_model
from layerprobe.records import Preprocessing, Run
from layerprobe.settings.configuration import read_run_config

LAST = "last"
_WHICH = (LAST, "best", "latest")


def load_student(run: Run | Path | str, which: str = LAST) -> nn.Module:
    """The network that a run trained, on the CPU and in evaluation mode.

    It takes (batch, 3, height, width) float32 images, normalized as the run's ``preprocessing`` says, and gives logits.

    Args:
        run: a run, or its folder.
        which: ``last``, the weights after the last epoch; ``best``, those of the epoch that was best on held-out
            training images; or ``latest``, those of the newest checkpoint of a run that isn't finished.

    Raises:
        LayerprobeError: if the folder holds no run, or no such weights.
    """
    folder = run.folder if isinstance(run, Run) else Path(run)
    config = read_run_config(folder / CONFIG)
    spec = config["student" if config["command"] == "distill" else "model"]
    path = weights_path(folder, which, config["command"])
    weights = read_weights(path)
    size = Preprocessing.from_dict(config["preprocessing"]).image_size[0]
    classes = spec.get("num_classes") or config.get("ending", {}).get("classes") or head_classes(weights.state)
    module = build_model(spec["name"], num_classes=classes, image_size=size, seed=0)
    if "ending" in config:
        ReusedEnding(**config["ending"]).build(module)
    load_weights(module, weights, str(path))
    return module.eval()


def weights_path(folder: Path, which: str, command: str) -> Path:
    """Where a run's weights of this name lie.

    Raises:
        LayerprobeError: if there are none.
    """
    if which not in _WHICH:
        raise LayerprobeError(f"the weights of a run are {', '.join(_WHICH)}; not {which!r}")
    path = folder / WEIGHTS[command] if which == LAST else folder / CHECKPOINTS / which / "weights.safetensors"
    if not path.is_file():
        remedy = "--resume finishes the run" if which == LAST else "a run with --holdout keeps one"
        raise LayerprobeError(f"{folder} has no {which} weights ({path.relative_to(folder)}); {remedy}")
    return path


def snippet(run: Run) -> str:
    """Three lines of Python that load a run's network."""
    preprocessing = Preprocessing.from_dict(run.config["preprocessing"])
    height, width = preprocessing.image_size
    mean, std = ([round(value, 4) for value in values] for values in (preprocessing.mean, preprocessing.std))
    name = "model" if run.config["command"] == "train" else "student"
    return (
        "from layerprobe import load_student\n"
        f"{name} = load_student({str(run.folder)!r})\n"
        f"logits = {name}(images)  # (n, 3, {height}, {width}): RGB / 255, less {mean}, over {std}"
    )
