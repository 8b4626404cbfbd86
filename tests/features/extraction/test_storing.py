"""From the network's tensors to rows."""

import pytest
import torch

from layerprobe.features.extraction.memory import MemoryRows
from layerprobe.features.extraction.reduce import Reduction, plan_reduction
from layerprobe.features.extraction.storing import HostCopies, RowStore
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


class Noted(HostCopies):
    """Notes of which tensors a GPU would make a copy first, since the network goes on with them."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.overwritten: list[bool] = []

    def take(self, tensor: torch.Tensor, overwritten: bool = True) -> torch.Tensor:
        self.overwritten.append(overwritten)
        return super().take(tensor, overwritten)


@pytest.mark.parametrize(
    ("dtype", "reduction", "overwritten"),
    [
        ("float32", Reduction(), True),
        ("float16", Reduction(), False),
        ("float32", Reduction(pool="avg:2"), False),
        ("float32", Reduction(project=10), False),
    ],
)
def test_what_the_network_may_still_change_is_known(dtype: str, reduction: Reduction, overwritten: bool) -> None:
    """What is still on its way when an operation in place comes must be the network's no more."""
    plan = plan_reduction([Layer(0, "map", "block", Shape((4, 6, 6), Space((6, 6)).layout((4, 6, 6))), 0)], reduction)
    store = RowStore(MemoryRows(list(plan), 3, dtype), plan, dtype)
    store.copies = copies = Noted()
    store.keep("map", torch.randn(3, 4, 6, 6))
    assert copies.overwritten == [overwritten]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_copies_what_a_tensor_was() -> None:
    """Neither operations in place that follow, nor others that take its memory, change what arrives."""
    cuda = torch.device("cuda", 0)
    copies, values = HostCopies(cuda), torch.randn(64, 2**18)
    taken = []
    for part in values.split(8):
        tensor = part.to(cuda)
        taken.append(copies.take(tensor))
        tensor.zero_()
        taken.append(copies.take(part.to(cuda).half(), overwritten=False))
    copies.begun()()
    assert torch.equal(torch.cat(taken[::2]), values) and torch.equal(torch.cat(taken[1::2]), values.half())
