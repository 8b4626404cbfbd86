"""Images into batches, decoded in workers or into memory."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from layerprobe.data.datasets import open_dataset
from layerprobe.data.loading import EpochBatches, Pixels, batch_loader, batches, decoded, make_loader
from layerprobe.errors import LayerprobeError
from layerprobe.records import Preprocessing

PREPROCESSING = Preprocessing((32, 32), (0.5,) * 3, (0.5,) * 3)
ROWS = np.array([3, 1, 30, 17, 22, 9, 5], dtype=np.int64)


@pytest.fixture
def pixels(photos: Path) -> Pixels:
    return Pixels(open_dataset(str(photos)), ROWS, PREPROCESSING)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_hold_the_rows_in_order(pixels: Pixels, workers: int) -> None:
    parts = list(batches(make_loader(pixels, 3, workers=workers)))
    assert [len(part.labels) for part in parts] == [3, 3, 1]
    assert torch.cat([part.positions for part in parts]).tolist() == list(range(7))
    assert torch.cat([part.labels for part in parts]).tolist() == (ROWS // 12).tolist()
    expected = np.asarray(pixels.dataset.image(30)).transpose(2, 0, 1)
    assert np.array_equal(parts[0].pixels[2].numpy(), expected)


def test_memory_holds_the_same_pixels_in_any_order(pixels: Pixels) -> None:
    memory = decoded(pixels)
    assert memory.in_memory and not pixels.in_memory
    shuffled = batch_loader(memory, EpochBatches(7, 4, seed=0))
    direct = torch.cat([batch.pixels for batch in batches(make_loader(pixels, 7))])
    positions = []
    for batch in batches(shuffled):
        assert torch.equal(batch.pixels, direct[batch.positions])
        assert torch.equal(batch.labels, pixels.labels[batch.positions])
        positions += batch.positions.tolist()
    assert sorted(positions) == list(range(7)) and positions != list(range(7))


def test_what_is_too_large_is_not_decoded(pixels: Pixels) -> None:
    assert decoded(pixels, limit_bytes=7 * 3 * 32 * 32 - 1) is pixels
    assert decoded(pixels, limit_bytes=7 * 3 * 32 * 32).in_memory


@pytest.mark.parametrize("workers", [0, 2])
def test_a_truncated_jpeg_stops_with_one_line(photos: Path, workers: int) -> None:
    path = photos / "train" / "dog" / "05.jpg"
    with Image.open(path.with_suffix(".png")) as image:
        image.save(path)
    path.write_bytes(path.read_bytes()[:-200])
    dataset = open_dataset(str(photos))
    row = (dataset.paths or ()).index("train/dog/05.jpg")
    pixels = Pixels(dataset, np.array([0, row, 1], dtype=np.int64), PREPROCESSING)
    for read in (lambda: list(batches(make_loader(pixels, 2, workers=workers))), lambda: decoded(pixels, workers)):
        with pytest.raises(LayerprobeError, match=r"^\S*05.jpg is not a readable image \(.*truncated.*\); repair"):
            read()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_stops_with_one_line(photos: Path, workers: int) -> None:
    path = photos / "train" / "dog" / "05.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(
        LayerprobeError,
        match=r"^\S*05.png is not a readable image \(.*\); repair it, or leave it out \(--skip-damaged",
    ):
        list(batches(make_loader(Pixels(open_dataset(str(photos)), ROWS, PREPROCESSING), 3, workers=workers)))


def test_every_epoch_has_an_order_of_its_own_and_it_comes_back() -> None:
    order = EpochBatches(10, 4, seed=3)
    first = list(order)
    order.epoch = 1
    second = list(order)
    order.epoch = 0
    assert first == list(order) != second and [len(part) for part in first] == [4, 4, 2] and len(order) == 3
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(10))


@pytest.mark.parametrize("count", [7, 8, 12, 13, 25])
def test_processes_see_together_what_one_sees(count: int) -> None:
    parts = [list(EpochBatches(count, 4, 5, share=(process, 3), drop_small=True)) for process in range(3)]
    together = list(EpochBatches(count, 12, 5))
    for number, batch in enumerate(zip(*parts, strict=True)):
        assert sorted(chain(*batch)) == sorted(together[number])
    assert min(len(part) for process in parts for part in process) >= 2
    assert EpochBatches(count, 4, share=(1, 3)).sizes() == [len(part) for part in together]


def test_a_last_batch_of_one_image_is_left_out_of_training() -> None:
    assert [len(part) for part in EpochBatches(9, 4, 0, drop_small=True)] == [4, 4]
    assert [len(part) for part in EpochBatches(10, 4, 0, drop_small=True)] == [4, 4, 2]
    assert [len(part) for part in EpochBatches(1, 4, 0, drop_small=True)] == [1]
