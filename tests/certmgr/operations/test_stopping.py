"""How long work ends early: Ctrl-C, SIGTERM, and time budgets."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable

import pytest

from certmgr.operations.stopping import StopState, stoppable
from inventory.threads import thread_pool


def _sleep() -> None:
    time.sleep(600)


def _sleep_in_a_loop() -> None:
    asyncio.run(asyncio.sleep(600))


def _wait_for_a_lock() -> None:
    threading.Event().wait(600)


@pytest.mark.parametrize("work", [_sleep, _sleep_in_a_loop, _wait_for_a_lock])
def test_budget_interrupts_each_kind_of_waiting(work: Callable[[], None]) -> None:
    with stoppable() as stop, pytest.raises(KeyboardInterrupt), stop.budget(0.05):
        work()
    assert (stop.late, stop.terminated) == (True, False)


def test_budget_interrupts_a_background_job_which_ignores_ctrl_c() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stop = StopState()
        with pytest.raises(KeyboardInterrupt), stop.budget(0.05):
            _sleep()
        assert stop.late
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_budget_of_zero_never_ends_and_the_next_block_starts_anew() -> None:
    with stoppable() as stop:
        with pytest.raises(KeyboardInterrupt), stop.budget(0.01):
            _sleep()
        with stop.budget(0.0):
            assert not stop.late
            assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
        with stop.budget(60.0):
            assert not stop.late
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_the_work_and_are_told_apart(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stoppable() as stop, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert (stop.exit_code, stop.late) == (code, False)
    assert signal.getsignal(signal.SIGTERM) == before


def test_without_the_main_thread_there_is_no_budget() -> None:
    done: list[StopState] = []

    def work() -> None:
        with stoppable() as stop, stop.budget(0.001):
            done.append(stop)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not done[0].late


def test_interrupted_pool_drops_waiting_work_and_does_not_wait_for_running_work() -> None:
    going_on, begun = threading.Event(), threading.Event()
    done: list[int] = []

    def work(number: int) -> None:
        begun.set()
        going_on.wait()
        done.append(number)

    with pytest.raises(KeyboardInterrupt), thread_pool(1) as pool:
        futures = [pool.submit(work, n) for n in range(3)]
        begun.wait()
        raise KeyboardInterrupt
    assert done == []
    assert [f.cancelled() for f in futures] == [False, True, True]
    going_on.set()
    futures[0].result()
    assert done == [0]


def test_pool_waits_for_its_work_after_an_error() -> None:
    done: list[int] = []
    with pytest.raises(ZeroDivisionError), thread_pool(1) as pool:
        pool.submit(done.append, 1)
        raise ZeroDivisionError
    assert done == [1]
