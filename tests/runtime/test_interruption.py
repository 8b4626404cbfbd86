"""Ctrl-C and SIGTERM end a command alike, whatever they break."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from layerprobe.__main__ import main
from layerprobe.runtime.interruption import Interruption, exit_code, interruptible


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """What is started in the background of a shell may ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_both_signals_interrupt(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interruption) as told, interruptible():
        send(number)
    assert exit_code(told.value) == code and signal.getsignal(number) == before
    assert exit_code(KeyboardInterrupt()) == 130


def test_an_error_is_the_interruption_only_after_a_signal() -> None:
    with pytest.raises(ZeroDivisionError), interruptible():
        raise ZeroDivisionError
    with pytest.raises(Interruption) as told, interruptible(), interruptible():
        try:
            send(signal.SIGTERM)
        finally:
            raise RuntimeError("DataLoader worker (pid 7) exited unexpectedly")
    assert told.value.number == signal.SIGTERM


def test_what_is_done_on_the_way_out_is_not_interrupted_by_sigterm() -> None:
    done: list[str] = []
    with pytest.raises(Interruption), interruptible():
        try:
            send(signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            done.append("released")
    assert done


def test_an_interruption_that_is_lost_comes_again(capfd: pytest.CaptureFixture[str]) -> None:
    class Destroyed:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    with pytest.raises(Interruption), interruptible():
        Destroyed()
        time.sleep(30)
    assert capfd.readouterr().err == ""


def test_what_an_interruption_leaves_half_built_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    class HalfBuilt:
        def __init__(self) -> None:
            send(signal.SIGINT)
            self.name = ""

        def __del__(self) -> None:
            assert self.name

    with pytest.raises(Interruption), interruptible():
        HalfBuilt()
    assert capfd.readouterr().err == ""


def test_a_long_way_out_is_not_interrupted_again() -> None:
    done: list[str] = []
    with pytest.raises(Interruption), interruptible():
        try:
            send(signal.SIGINT)
        finally:
            time.sleep(2.5)
            done.append("released")
    assert done


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_signals_alone() -> None:
    seen: list[object] = []

    def look() -> None:
        with interruptible():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_an_interruption_before_there_is_a_command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("layerprobe.cli.main.main", lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130 and capfd.readouterr().err == "interrupted; the same command goes on\n"
