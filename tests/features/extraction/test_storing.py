"""From the network's tensors to rows."""

import torch

from layerprobe.features.extraction.memory import MemoryRows
from layerprobe.features.extraction.reduce import Reduction, plan_reduction
from layerprobe.features.extraction.storing import RowStore
from layerprobe.layers.space import Space
from layerprobe.records import Layer, Shape


def test_what_is_kept_does_not_keep_the_rest() -> None:
    shape = Shape((17, 6), Space((32, 32), 1, True).layout((17, 6)))
    plan = plan_reduction([Layer(0, "tokens", "block", shape, 0)], Reduction(tokens="cls"))
    store = RowStore(MemoryRows(list(plan), 3, "float32"), plan, "float32")
    features = torch.randn(3, 17, 6)
    kept = store.keep("tokens", features)
    assert torch.equal(kept, features[:, 0])
    assert kept.is_contiguous() and kept.untyped_storage().nbytes() == kept.nbytes


def test_what_is_kept_whole_is_not_copied() -> None:
    plan = plan_reduction([Layer(0, "map", "block", (4, 5, 6), 0)], Reduction())
    store = RowStore(MemoryRows(list(plan), 3, "float32"), plan, "float32")
    features = torch.randn(3, 4, 5, 6)
    assert store.keep("map", features).data_ptr() == features.data_ptr()
