"""``layerprobe train``."""

from __future__ import annotations

from layerprobe.cli import options, training_options
from layerprobe.cli.reporter import Reporter
from layerprobe.cli.runs import show_run

EXAMPLES = """Examples:

layerprobe train --model cifar:resnet56 --data CIFAR10 --epochs 50 --output teacher/

layerprobe train --model net.py:make_net --data photos/ --image-size 64 --output teacher/
"""


def train(
    model: options.Model,
    data: options.Data,
    output: training_options.Output,
    weights: options.Weights = None,
    data_root: options.DataRoot = None,
    download: options.Download = False,
    epochs: training_options.Epochs = 50,
    batch_size: options.BatchSize = 128,
    lr: training_options.LearningRate = None,
    weight_decay: training_options.WeightDecay = 0.01,
    train_samples: training_options.TrainSamples = None,
    test_samples: training_options.TestSamples = None,
    holdout: training_options.Holdout = 0.0,
    image_size: options.ImageSize = None,
    mean: options.Mean = None,
    std: options.Std = None,
    device: options.Device = "auto",
    precision: training_options.Precision = "no",
    workers: options.Workers = 0,
    seed: options.Seed = 0,
    format: options.Format = "table",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Train any model with cross entropy: a teacher."""
    means, stds = options.numbers(mean, "--mean"), options.numbers(std, "--std")

    from layerprobe.distill.config import TrainConfig, Training
    from layerprobe.distill.run import train_model
    from layerprobe.report.tables import check_format
    from layerprobe.resolve import DataSpec, ModelSpec

    check_format(format)
    config = TrainConfig(
        model=ModelSpec(model, weights),
        data=DataSpec(data, data_root, download, image_size, means, stds),
        output=output,
        training=Training(
            epochs, batch_size, lr, weight_decay, seed, train_samples, test_samples, holdout, device, precision, workers
        ),
        overwrite=overwrite,
    )
    with Reporter(quiet, verbose) as reporter:
        run = train_model(config, lambda metrics: reporter.epoch(metrics, epochs), reporter.progress)
        following = f"layerprobe extract --model {model} --weights {run.weights} --data {data} --output features.h5"
        show_run(run, reporter, format, following)
