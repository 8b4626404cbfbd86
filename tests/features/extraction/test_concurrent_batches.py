"""Several batches at once."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import torch
from torch import nn

from layerprobe.features.extraction.concurrent_batches import SharedPool, divide_cores, in_threads


def test_networks_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    images, before = torch.rand(2, 4), torch.get_num_threads()
    try:
        for threads, networks, each in (
            (1, 1, 1),
            (2, 2, 1),
            (3, 3, 1),
            (5, 4, 1),
            (6, 3, 2),
            (7, 3, 2),
            (8, 4, 2),
            (9, 3, 3),
        ):
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
    assert SharedPool(["a", "b"]).batches == 2 and SharedPool(["alone"]).batches > 1


def test_turns_exclude_each_other() -> None:
    """Two of six threads are inside at once, each with a thing of its own; never more."""
    pool, lock, inside, most = SharedPool(["a", "b"]), threading.Lock(), [], []

    def work(_: int) -> None:
        with pool.take() as thing:
            with lock:
                inside.append(thing)
                most.append(sorted(inside))
            time.sleep(0.005)
            with lock:
                inside.remove(thing)

    assert len(list(in_threads(work, range(40), 6))) == 40
    assert len(most) == 40 and all(things in (["a"], ["b"], ["a", "b"]) for things in most) and ["a", "b"] in most


def test_an_error_gives_the_turn_back() -> None:
    pool = SharedPool(["alone"])
    with pytest.raises(OSError), pool.take():
        raise OSError
    with pool.take() as thing:
        assert thing == "alone"


def test_closing_waits_for_the_work_that_was_begun() -> None:
    begun, done, second_began = [], [], threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            second_began.set()
        time.sleep(0 if number == 0 else 0.2)
        done.append(number)

    with closing(in_threads(work, range(100), 2)) as passed:
        next(passed)
        assert second_began.wait(10)
    finished = sorted(done)
    assert finished == sorted(begun) and 1 in finished and len(finished) <= 4
    time.sleep(0.3)
    assert sorted(done) == finished


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
