"""Several batches at once."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from layerprobe.features.lanes import Turns, divide_cores, in_threads


def test_networks_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    images, before = torch.rand(2, 4), torch.get_num_threads()
    try:
        for threads, networks, each in ((1, 1, 1), (3, 3, 1), (9, 4, 2)):
            torch.set_num_threads(threads)
            with divide_cores(nn.Linear(4, 3), images) as divided:
                assert (len(divided), torch.get_num_threads()) == (networks, each)
                assert len({id(network) for network in divided}) == networks
                assert len({id(network.weight) for network in divided}) == 1
            assert torch.get_num_threads() == threads
        hooked = nn.Linear(4, 3)
        hooked.register_forward_hook(lambda *_: None)
        with divide_cores(hooked, images) as divided:
            assert divided == [hooked] and torch.get_num_threads() == 9
    finally:
        torch.set_num_threads(before)


def test_turns() -> None:
    assert Turns(["a", "b"]).lanes == 2 and Turns(["alone"]).lanes > 1
    turns, at_once, most = Turns(["a", "b"]), [], []

    def work(_: int) -> None:
        with turns.take() as thing:
            at_once.append(thing)
            most.append(len(at_once))
            assert sorted(set(at_once)) == sorted(at_once)
            at_once.remove(thing)

    assert len(list(in_threads(work, range(200), 6))) == 200
    assert len(most) == 200 and max(most) <= 2


def test_items_are_asked_for_few_at_a_time() -> None:
    gate, asked = threading.Event(), []

    def items() -> Iterator[int]:
        for number in range(100):
            asked.append(number)
            if number == 3:
                gate.set()
            yield number

    done = in_threads(lambda _: gate.wait(10) or None, items(), 3)
    next(done)
    assert len(asked) == 4
    assert len(list(done)) == 99


def test_an_error_stops_the_work() -> None:
    worked: list[int] = []

    def work(number: int) -> None:
        if number == 2:
            raise OSError("disk full")
        worked.append(number)

    with pytest.raises(OSError, match="disk full"):
        list(in_threads(work, range(1000), 2))
    assert {0, 1} <= set(worked) and len(worked) < 10
