"""Loads a trained network from its run folder, as an ordinary module."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from torch import nn

from layerprobe.distill.folder import CHECKPOINTS, CONFIG, WEIGHTS
from layerprobe.distill.headed import read_head
from layerprobe.distill.methods.simkd import ReusedEnding
from layerprobe.distill.methods.simkd_paper import build_student_again
from layerprobe.errors import LayerprobeError
from layerprobe.layers.discovery import discover
from layerprobe.models.classifier import head_classes
from layerprobe.models.lazy import initialize_lazy_modules
from layerprobe.models.weights import load_weights
from layerprobe.models.weights_file import read_weights
from layerprobe.models.zoo import build_model
from layerprobe.plugins import split_file_name
from layerprobe.records import Run
from layerprobe.records.layers import output_layer
from layerprobe.records.run_files import RunDescription, parse_description
from layerprobe.records.weights_header import parse_weights_header
from layerprobe.settings.code import check_code
from layerprobe.settings.configuration import COMMANDS, read_run_config, settings_of
from layerprobe.settings.data import DataSettings
from layerprobe.settings.run import DistillSettings, TrainSettings

LAST = "last"
_WHICH = (LAST, "best", "latest")


def load_student(
    run: Run | Path | str, which: str = LAST, allow_code: bool = False, head: Path | str | None = None
) -> nn.Module:
    """Load the network that a run trained, on the CPU and in evaluation mode.

    It takes (batch, 3, height, width) float32 images, normalized as the run's ``preprocessing`` says, and gives logits,
    or without a classifier features.
    A model from the user's own file returns what it always returns, and ``layers.logits.classify`` takes the logits out
    of that.

    Args:
        run: a run, or its folder.
        which: ``last``, the weights after the last epoch; ``best``, those of the epoch that was best on held-out
            training images; or ``latest``, those of the newest checkpoint of a run that isn't finished.
        allow_code: whether to run the Python file that the run names, where its network is ``FILE.py:callable``.
        head: a linear head that `layerprobe evaluate --save-head` wrote, which classifies in place of the network's own
            classifier; None: there is none.

    Raises:
        LayerprobeError: if the folder holds no run, or no such weights, or its network is a Python file that may not be
            run.
    """
    folder = run.folder if isinstance(run, Run) else Path(run)
    settings, about = read_description(folder)
    network, ending = settings.network, about.ending
    for name in _built(settings, about):
        check_code(name, folder, allow_code)
    path = weights_path(folder, which, settings.command)
    weights = read_weights(path)
    known = ending or about.reused_end
    classes = network.num_classes
    if classes is None:
        classes = known.classes if known else head_classes(weights.state)
    module = _build(network.name, classes, about)
    if ending:
        ReusedEnding(**asdict(ending)).build(module)
    if about.reused_end:
        teacher = _build(about.reused_end.teacher, about.reused_end.classes, about)
        module = build_student_again(module, teacher, about.reused_end)
    load_weights(module, weights, str(path))
    module.eval()
    if head is None:
        return module
    found = discover(module, about.preprocessing.image_size, prefix_tokens=network.prefix_tokens)
    layers = (*found.layers, output_layer(found.returned[1:], found.layers))
    return read_head(module, layers, Path(head), str(folder))[0]


def evaluation_data(run: Run, data: DataSettings) -> DataSettings:
    """The images to evaluate a run on: its own, or in place of images without labels a folder that is to be named."""
    path = run.weights
    labelled = parse_weights_header(read_weights(path).metadata, path).classes != ()
    return data.without_preprocessing() if labelled else DataSettings(name="...")


def runs_code(folder: Path) -> bool:
    """Whether the network of a run is built by a Python file that the run names.

    Raises:
        LayerprobeError: if the folder holds no run.
    """
    return any(split_file_name(name) for name in _built(*read_description(folder)))


def _built(settings: TrainSettings | DistillSettings, about: RunDescription) -> tuple[str, ...]:
    """The names of what is built for a run's network."""
    return (settings.network.name, *([about.reused_end.teacher] if about.reused_end else []))


def _build(name: str, classes: int | None, about: RunDescription) -> nn.Module:
    """A network for the run's images, with any weights."""
    size = about.preprocessing.image_size
    module = build_model(name, num_classes=classes, image_size=size[0], seed=0)
    initialize_lazy_modules(module, size, seed=0)
    return module


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


def read_description(folder: Path) -> tuple[TrainSettings | DistillSettings, RunDescription]:
    """The settings of a run, finished or not, and what it says about itself.

    Raises:
        LayerprobeError: if the folder holds no run, or its configuration is damaged.
    """
    path = folder / CONFIG
    config = read_run_config(path)
    settings = settings_of(COMMANDS[config["command"]], config, folder, recorded=True)
    return settings, parse_description(config, path)


def snippet(run: Run) -> str:
    """Three lines of Python that load a run's network."""
    preprocessing = parse_description(run.config, run.folder / CONFIG).preprocessing
    height, width = preprocessing.image_size
    mean, std = ([round(value, 4) for value in values] for values in (preprocessing.mean, preprocessing.std))
    name = "model" if run.config["command"] == "train" else "student"
    own = split_file_name(run.config[name]["name"])
    given = "features" if run.config[name].get("num_classes") == 0 else "output" if own else "logits"
    allowed = ", allow_code=True" if runs_code(run.folder) else ""
    return (
        "from layerprobe import load_student\n"
        f"{name} = load_student({str(run.folder)!r}{allowed})\n"
        f"{given} = {name}(images)  # (n, 3, {height}, {width}): RGB / 255, less {mean}, over {std}"
    )
