"""A feature file under a DataLoader."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from layerprobe.errors import LayerprobeError
from layerprobe.features.dataset import FeatureDataset
from tests.features.hdf5.test_reader import values, write


@pytest.mark.parametrize(("workers", "context"), [(0, None), (2, "fork"), (2, "spawn")])
def test_every_row_once_with_any_workers(tmp_path: Path, workers: int, context: str | None) -> None:
    data = write(tmp_path / "f.h5", "float16")
    dataset = FeatureDataset(tmp_path / "f.h5", layers=["big", 0])
    assert dataset[0]["big"].shape == (3, 5, 7)  # an opened file must not reach the workers
    loader = DataLoader(
        dataset, batch_size=2, shuffle=True, num_workers=workers, multiprocessing_context=context,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    batches = list(loader)
    labels = torch.cat([batch["label"] for batch in batches])
    assert sorted(labels.tolist()) == [0, 0, 1, 1, 1]
    for name, array in (("relu", data[0]), ("big", data[2])):
        rows = torch.cat([batch[name] for batch in batches])
        assert rows.dtype == torch.float32 and rows.shape == array.shape
        order = [int(np.abs(array.astype("f4") - row.numpy()).sum((1, 2, 3)).argmin()) for row in rows]
        assert sorted(order) == list(range(5)) and np.array_equal(rows.numpy(), array[order].astype("f4"))
        assert labels.tolist() == [[0, 1, 1, 0, 1][row] for row in order]


def test_rows_in_the_stored_type_and_from_the_end(tmp_path: Path) -> None:
    write(tmp_path / "f.h5", "float16")
    dataset = FeatureDataset(tmp_path / "f.h5", dtype=None)
    assert dataset.layers == ("relu", "fc.input", "big") and len(dataset) == 5
    row = dataset[-1]
    assert row["fc.input"].dtype == torch.float16
    assert np.array_equal(row["fc.input"].numpy(), values("float16")[1][4])
    with pytest.raises(IndexError, match="rows 5 to 5 of a file of 5"):
        dataset[5]


def test_it_travels_without_its_open_file(tmp_path: Path) -> None:
    write(tmp_path / "f.h5")
    dataset = FeatureDataset(tmp_path / "f.h5")
    first = dataset[0]
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[0]["relu"], first["relu"])


def test_wrong_layers_and_unfinished_files_are_refused_at_once(tmp_path: Path) -> None:
    write(tmp_path / "f.h5", rows=4)
    with pytest.raises(LayerprobeError, match="is unfinished: 4 of 5 rows"):
        FeatureDataset(tmp_path / "f.h5")
    write(tmp_path / "f.h5")
    with pytest.raises(LayerprobeError, match="no layer 'rely'"):
        FeatureDataset(tmp_path / "f.h5", layers=["rely"])
