"""add_reader and add_writer, and what users do to descriptors."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

import pulsar_native as pn


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    a, b = socket.socketpair()
    a.setblocking(False)
    yield a, b
    a.close()
    b.close()


Pair = tuple[socket.socket, socket.socket]


def turns(loop: pn.Loop, count: int = 1) -> None:
    for _ in range(count):
        loop.stop()
        loop.run_forever()


def test_reader_is_called_while_there_is_something(
    loop: pn.Loop, pair: Pair
) -> None:
    seen: list[bytes] = []
    loop.add_reader(pair[0], lambda: seen.append(pair[0].recv(1)))
    turns(loop)
    assert not seen
    pair[1].send(b"ab")
    turns(loop, 3)
    assert seen == [b"a", b"b"]
    assert loop.remove_reader(pair[0]) is True
    assert loop.remove_reader(pair[0]) is False
    pair[1].send(b"c")
    turns(loop)
    assert seen == [b"a", b"b"]


def test_reader_and_writer_of_one_socket(loop: pn.Loop, pair: Pair) -> None:
    seen: list[str] = []
    loop.add_writer(pair[0], seen.append, "w")
    loop.add_reader(pair[0].fileno(), seen.append, "r")
    pair[1].send(b"x")
    turns(loop)
    assert seen == ["r", "w"]
    assert loop.remove_writer(pair[0])
    turns(loop)
    assert seen == ["r", "w", "r"]


def test_new_reader_takes_the_place_of_the_old(
    loop: pn.Loop, pair: Pair
) -> None:
    seen: list[int] = []
    old = loop._add_reader(pair[0], seen.append, 1)
    new = loop._add_reader(pair[0], seen.append, 2)
    assert old.cancelled() and not new.cancelled()
    pair[1].send(b"x")
    turns(loop)
    assert seen == [2]


def test_removed_in_the_turn_in_which_it_is_ready_is_not_called(
    loop: pn.Loop, pair: Pair
) -> None:
    seen: list[str] = []

    def first() -> None:
        loop.remove_writer(pair[0])
        loop.remove_reader(pair[0])
        seen.append("first")

    loop.add_reader(pair[0], first)
    loop.add_writer(pair[0], seen.append, "no")
    pair[1].send(b"x")
    turns(loop, 2)
    assert seen == ["first"]


def test_descriptor_closed_under_its_reader_harms_nobody(
    loop: pn.Loop, pair: Pair
) -> None:
    seen: list[bytes] = []
    a, b = socket.socketpair()
    fd = a.fileno()
    loop.add_reader(fd, seen.append, b"no")
    loop.add_writer(fd, seen.append, b"no")
    a.close()
    loop.add_reader(pair[0], lambda: seen.append(pair[0].recv(9)))
    pair[1].send(b"x")
    turns(loop, 2)
    assert seen == [b"x"]
    assert loop.remove_reader(fd) and loop.remove_writer(fd)
    b.close()


def test_number_used_again_can_be_watched(loop: pn.Loop) -> None:
    seen: list[int] = []
    a, b = socket.socketpair()
    fd = a.fileno()
    loop.add_reader(fd, seen.append, 1)
    a.close()
    b.close()
    c, d = socket.socketpair()
    assert c.fileno() == fd
    loop.add_reader(fd, seen.append, 2)
    loop.add_writer(fd, seen.append, 3)
    d.send(b"x")
    turns(loop)
    assert seen == [2, 3]
    c.close()
    d.close()


def test_blocking_descriptors_stay_blocking(loop: pn.Loop) -> None:
    read, write = os.pipe()
    loop.add_reader(read, print)
    turns(loop)
    assert os.get_blocking(read)
    loop.remove_reader(read)
    os.close(read)
    os.close(write)


def test_what_cannot_be_watched_is_an_error_at_once(loop: pn.Loop) -> None:
    with tempfile.TemporaryFile() as file:
        with pytest.raises(PermissionError):
            loop.add_reader(file, print)
        fd = file.fileno()
    with pytest.raises(OSError):
        loop.add_reader(fd, print)
    for wrong in (-1, object(), "x", 1 << 70):
        with pytest.raises((ValueError, OverflowError)):
            loop.add_reader(wrong, print)  # type: ignore[arg-type]
    assert loop._watched() == []


def test_descriptors_are_served_though_calls_never_end(
    loop: pn.Loop, pair: Pair
) -> None:
    seen: list[bytes] = []

    def again() -> None:
        if not seen:
            loop.call_soon(again)

    def read() -> None:
        seen.append(pair[0].recv(1))
        loop.stop()

    loop.add_reader(pair[0], read)
    loop.call_soon(again)
    loop.call_soon(pair[1].send, b"x")
    loop.run_forever()
    assert seen == [b"x"]


def test_more_descriptors_than_one_look_takes_are_all_served(
    loop: pn.Loop,
) -> None:
    seen: set[int] = set()
    pairs = [socket.socketpair() for _ in range(300)]
    for i, (a, b) in enumerate(pairs):
        loop.add_reader(a, seen.add, i)
        b.send(b"x")

    async def main() -> None:
        while len(seen) < 300:
            await asyncio.sleep(0)

    loop.run_until_complete(asyncio.wait_for(main(), 10))
    for a, b in pairs:
        loop.remove_reader(a)
        a.close()
        b.close()


def test_selector_shows_what_is_watched(loop: pn.Loop, pair: Pair) -> None:
    selector = loop._selector
    assert len(selector.get_map()) == 0
    handle = loop._add_reader(pair[0], print)
    key = selector.get_key(pair[0].fileno())
    assert (key.fd, key.events) == (pair[0].fileno(), 1)
    assert key.data == (handle, None)
    assert list(selector.get_map()) == [pair[0].fileno()]
    loop.remove_reader(pair[0])
    with pytest.raises(KeyError):
        selector.get_key(pair[0])
    assert selector.get_map().get(pair[0].fileno()) is None


def test_sleeping_loop_is_woken_though_no_descriptor_is_left() -> None:
    code = """
import asyncio, os, pulsar_native as pn, resource, threading
async def main():
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.001)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    future = loop.create_future()
    threading.Timer(
        0.1, loop.call_soon_threadsafe, (future.set_result, 1)
    ).start()
    await asyncio.wait_for(future, 20)
pn.run(main())
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_loop_has_one_descriptor_until_it_needs_more() -> None:
    """No socket, no thread, no signal before they are needed."""
    code = """
import asyncio, os, pulsar_native as pn
pn.run(asyncio.sleep(0.001))  # libuv keeps a pipe for the process
before = set(os.listdir("/proc/self/fd"))
loop = pn.new_event_loop()
loop.run_until_complete(asyncio.sleep(0))
assert len(set(os.listdir("/proc/self/fd")) - before) == 1
loop.run_until_complete(asyncio.sleep(0.001))
loop.close()
assert set(os.listdir("/proc/self/fd")) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
