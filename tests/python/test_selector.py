"""The selector of actors' loops: epoll that serves the mailbox itself."""

from __future__ import annotations

import asyncio
import os
import pickle
import selectors
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from wire_help import Port

import pulsar_native
from pulsar_native._native import Mailbox, Recorder
from pulsar_native._selector import SpinningSelector


@pytest.fixture(params=[0.0, 0.001], ids=["sleeps", "spins"])
def selector(request: pytest.FixtureRequest) -> Iterator[SpinningSelector]:
    made = SpinningSelector(request.param)
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


def test_it_lists_what_is_ready_and_wanted(
    selector: SpinningSelector, pair: Any
):
    ours, theirs = pair
    key = selector.register(ours, selectors.EVENT_READ, "data")
    assert selector.select(0) == []
    assert selector.select(0.001) == []
    theirs.send(b"!")
    assert selector.select(None) == [(key, selectors.EVENT_READ)]
    key = selector.modify(ours, selectors.EVENT_WRITE, "other")
    assert key.data == "other"
    assert selector.select(20) == [(key, selectors.EVENT_WRITE)]
    both = selectors.EVENT_READ | selectors.EVENT_WRITE
    key = selector.modify(ours, both, "both")
    assert selector.select(20) == [(key, both)]
    assert selector.unregister(ours) == key
    assert selector.select(0) == []


def test_it_lists_more_than_it_looks_at_in_one_go(selector: SpinningSelector):
    pairs = [socket.socketpair() for _ in range(100)]
    try:
        for ours, theirs in pairs:
            selector.register(ours, selectors.EVENT_READ)
            theirs.send(b"!")
        seen: set[int] = set()
        for _ in range(100):
            seen |= {key.fd for key, _ in selector.select(0)}
        assert seen == {ours.fileno() for ours, _ in pairs}
    finally:
        for ours, theirs in pairs:
            ours.close()
            theirs.close()


def test_a_timeout_is_never_cut_short(selector: SpinningSelector):
    for timeout in (0.0001, 0.0015, 0.01):
        begin = time.monotonic()
        assert selector.select(timeout) == []
        assert time.monotonic() - begin >= timeout


@pytest.mark.parametrize("timeout", [-1, -0.5, 0, 0.0])
def test_nothing_or_less_to_wait_is_a_look(
    selector: SpinningSelector, timeout: float
):
    assert selector.select(timeout) == []


def test_a_served_descriptor_is_handled_and_not_listed(
    selector: SpinningSelector, pair: Any
):
    ours, theirs = pair
    got: list[bytes] = []
    selector.register(ours, selectors.EVENT_READ)
    selector.serve(ours.fileno(), lambda: got.append(ours.recv(10)))
    theirs.send(b"one")
    assert selector.select(20) == []
    theirs.send(b"two")
    assert selector.select(None) == []
    assert got == [b"one", b"two"]
    selector.unregister(ours)
    key = selector.register(ours, selectors.EVENT_READ)
    theirs.send(b"three")
    assert selector.select(20) == [(key, selectors.EVENT_READ)]
    assert got == [b"one", b"two"]


def test_what_serving_raises_leaves_the_loop_which_can_go_on(pair: Any):
    ours, theirs = pair
    selector = SpinningSelector(0.0)
    loop = asyncio.SelectorEventLoop(selector)
    raised: list[int] = []

    def serve() -> None:
        ours.recv(10)
        raised.append(1)
        raise KeyboardInterrupt

    try:
        loop.add_reader(ours, lambda: None)
        selector.serve(ours.fileno(), serve)
        theirs.send(b"!")
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(asyncio.sleep(20))
        assert raised == [1]
        assert loop.run_until_complete(asyncio.sleep(0, "goes on"))
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def test_what_serving_schedules_runs_in_the_same_iteration(pair: Any):
    ours, theirs = pair
    selector = SpinningSelector(0.0)
    loop = asyncio.SelectorEventLoop(selector)
    order: list[str] = []

    def serve() -> None:
        ours.recv(10)
        order.append("served")
        loop.call_soon(order.append, "soon")
        loop.call_later(0.001, loop.stop)

    try:
        loop.add_reader(ours, lambda: None)
        selector.serve(ours.fileno(), serve)
        theirs.send(b"!")
        loop.run_forever()
    finally:
        loop.close()
    assert order == ["served", "soon"]


def test_a_signal_handler_runs_while_it_waits(selector: SpinningSelector):
    class Alarm(Exception):
        pass

    def ring(*args: Any) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(Alarm):
            for _ in range(100):  # interrupted waits may end early
                selector.select(20)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_other_threads_run_while_it_waits(selector: SpinningSelector):
    read, write = os.pipe()
    try:
        selector.register(read, selectors.EVENT_READ)
        thread = threading.Thread(target=os.write, args=(write, b"!"))
        thread.start()
        assert len(selector.select(20)) == 1
        thread.join()
    finally:
        os.close(read)
        os.close(write)


def test_wrong_arguments_are_refused(selector: SpinningSelector):
    with pytest.raises(TypeError):
        selector.select("soon")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        selector._spinner.select(0)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        selector._spinner.select(0, [])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        selector._spinner.serve("fd", None)  # type: ignore[arg-type]
    selector.close()
    with pytest.raises(OSError):
        selector._spinner.select(0, {})


def test_usable_cpus_follow_the_affinity():
    allowed = os.sched_getaffinity(0)
    assert 1 <= pulsar_native.usable_cpus() <= len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert pulsar_native.usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.fixture
def told(selector: SpinningSelector) -> Iterator[SpinningSelector]:
    """It tells a flight recorder of its turns."""
    recorder = Recorder()
    mailbox = Mailbox(7, None, Port(pickle.loads))
    mailbox.record(recorder, 0, "process", "seven")
    selector.record(recorder, 7)
    yield selector
    mailbox.close()


def test_who_rests_is_called_once_it_has_slept(told: SpinningSelector):
    calls: list[int] = []
    assert told.rest(lambda: calls.append(1))
    assert told.select(0) == []
    assert calls == []
    assert told.select(0.001) == []
    assert calls == [1]
    assert told.select(0.001) == []
    assert calls == [1]


def test_who_rests_is_called_for_what_is_found(
    told: SpinningSelector, pair: Any
):
    ours, theirs = pair
    calls: list[int] = []
    key = told.register(ours, selectors.EVENT_READ)
    assert told.rest(lambda: calls.append(1))
    theirs.send(b"!")
    assert told.select(0) == [(key, selectors.EVENT_READ)]
    assert calls == [1]


def test_who_rests_is_called_after_what_is_served(
    told: SpinningSelector, pair: Any
):
    ours, theirs = pair
    calls: list[bytes] = []
    told.register(ours, selectors.EVENT_READ)
    told.serve(ours.fileno(), lambda: calls.append(ours.recv(10)))
    assert told.rest(lambda: calls.append(b"woken"))
    theirs.send(b"served")
    assert told.select(None) == []
    assert calls == [b"served", b"woken"]


def test_what_the_end_of_a_rest_raises_is_raised_once(told: SpinningSelector):
    assert told.rest(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        told.select(0.001)
    assert told.select(0.001) == []


def test_who_tells_nobody_of_its_sleep_does_not_rest(
    selector: SpinningSelector,
):
    calls: list[int] = []
    assert not selector.rest(lambda: calls.append(1))
    assert selector.select(0.001) == []
    assert calls == []
