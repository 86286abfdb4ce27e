"""Segments of shared memory under large messages: they come into use, are
bounded and given back, and are never needed; and what a peer can say of them
by hand."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import mmap
import os
import pickle
import random
import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payload_commands  # noqa: F401  (registers them)
import pytest
from actors_help import ask, run, until
from wire_help import (
    SEGMENT,
    TELL,
    Port,
    RawLink,
    descriptor,
    envelope,
    frame,
    in_segment,
    split,
)

import pulsar_native as pn
from pulsar_native import _native, _pickling

SIZE = 1 << 17
OFFERED, READY, REFUSED, DROPPED = range(1, 5)

pytestmark = pytest.mark.usefixtures("nothing_left")


def view(size: int = SIZE) -> memoryview:
    return memoryview(bytearray(random.randbytes(size)))


# --- between actors; these run in a worker or here ---


def stats(actor: Any) -> dict[str, int]:
    found: dict[str, int] = actor.mailbox.stats()
    return found


def here() -> Any:
    return pn.get_actor()


def limit_segments(actor: Any, size: int) -> None:
    actor.mailbox.segment_bytes = size


def drop_soon(actor: Any) -> None:
    actor.mailbox.segment_idle = 0.01


def mapped(actor: Any = None) -> int:
    """How many segments this process has mapped."""
    return Path("/proc/self/maps").read_text().count("/memfd:pulsar_native")


def limit_descriptors(actor: Any = None) -> tuple[int, int]:
    """Let no more be opened; the limits before."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    # A gap below it, as usual, would leave room.
    for fd in range(highest):
        with contextlib.suppress(OSError):
            os.fstat(fd)
            continue
        resource.setrlimit(resource.RLIMIT_NOFILE, (fd, before[1]))
        return before
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, before[1]))
    return before


def unlimit_descriptors(actor: Any, before: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def echoes(worker: Any, count: int, size: int = SIZE) -> None:
    for _ in range(count):
        sent = view(size)
        assert await pn.send(worker, "echo", sent) == sent


def test_segments_come_into_use_both_ways() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await echoes(worker, 2)
        assert stats(here())["segments"] == 0
        await echoes(worker, 10)
        assert stats(here())["segments"] > 0
        assert (await ask(worker, stats))["segments"] > 0
        assert mapped() > 0

    run(main)


def test_segments_come_into_use_on_direct_links() -> None:
    async def main() -> None:
        one, other = await pn.spawn(), await pn.spawn()
        for _ in range(12):
            sent = view()
            found = await pn.send(one, "pass_value", other, "echo", sent)
            assert found == sent
        # Its link to the arbiter and the one to the other.
        assert (await ask(other, stats))["segments"] > 0

    run(main)


def test_small_messages_use_none() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await echoes(worker, 30, 60_000)
        assert stats(here())["segments"] == 0
        assert mapped() == 0

    run(main)


def test_segments_can_be_switched_off() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        limit_segments(here(), 0)
        await ask(worker, limit_segments, 0)
        await echoes(worker, 20)
        assert stats(here())["segments"] == 0
        assert mapped() == 0

    run(main)


def test_segments_are_bounded_in_bytes() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        limit_segments(here(), 3 * SIZE)
        for _ in range(5):
            for size in (SIZE, 2 * SIZE, 100_000):
                held = [
                    await pn.send(worker, "keep", view(size)) for _ in range(9)
                ]
                assert held[-1] % 9 == 0
                await pn.send(worker, "kept_bytes")
        assert 1 <= stats(here())["segments"] <= 3

    run(main, 60)


def test_unused_segments_are_dropped_at_both_ends() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await echoes(worker, 10)
        assert mapped() > 0
        drop_soon(here())
        await ask(worker, drop_soon)
        while await ask(worker, mapped) or mapped():
            gc.collect()
            await asyncio.sleep(0.01)
        await echoes(worker, 10)

    run(main)


def test_loans_are_given_back() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for _ in range(5):
            held = [await pn.send(worker, "make", SIZE, 1) for _ in range(20)]
            assert stats(here())["loans"] > 0
            held.clear()
            await pn.send(worker, "ping")
            await until(lambda: not stats(here())["loans"], "given back")
        assert (await ask(worker, stats))["segments"] <= 20

    run(main)


@pytest.mark.parametrize("end", ["sender", "receiver"])
def test_without_descriptors_messages_go_in_band(end: str) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        # Modules are files: what is needed is imported before.
        assert await pn.send(worker, "make", 1, 7) == b"\7"
        await pn.send(worker, "describe", memoryview(b"x"))
        before = await ask(worker, limit_descriptors)
        for _ in range(10):
            if end == "sender":
                found = await pn.send(worker, "make", SIZE, 7)
                assert found == b"\7" * SIZE
            else:
                found, _, _ = await pn.send(worker, "describe", view())
                assert len(found) == SIZE
        assert (await ask(worker, stats))["segments"] == 0
        await ask(worker, unlimit_descriptors, before)
        assert await ask(worker, mapped) == 0

    run(main)


def test_message_of_every_size_arrives() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        sizes = [2**n + d for n in range(14, 23) for d in (-1, 0, 1)]
        for _ in range(4):
            random.shuffle(sizes)
            for size in sizes:
                found, writable, _ = await pn.send(
                    worker, "describe", sent := view(size)
                )
                assert found == sent
                assert writable

    run(main, 60)


def test_pickles_lie_in_segments_too() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for _ in range(10):
            sent = [random.randbytes(SIZE), "text", {"k": 1}]
            assert await pn.send(worker, "echo", sent) == sent
        assert stats(here())["segments"] > 0
        await until(lambda: not stats(here())["loans"], "given back at once")

    run(main)


# --- by hand ---


def memfd(size: int = SIZE, *, sealed: bool = True) -> int:
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(fd, size)
    if sealed:
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


class Lender(RawLink):
    """A peer that lends segments, by hand."""

    def __init__(self) -> None:
        super().__init__(Port(pickle.loads))
        self.got: list[Any] = []
        made = _native.BaseCommand()
        made.name, made.ack, made.serial = "get", True, 0
        made.function = lambda request, *args: self.got.extend(args)
        self.port.table["get"] = made
        self.serial = 0
        self.heard()

    def word(self, word: int, id: int, size: int = 0, **fields: Any) -> None:
        self.say(SEGMENT, struct.pack("<QQ", word, size), id=id, **fields)

    def offer(self, id: int, fd: int, size: int = SIZE) -> None:
        self.serial += 1
        body = envelope(
            SEGMENT,
            struct.pack("<QQ", OFFERED, size),
            source=1,
            target=2,
            id=id,
            extension=descriptor(self.serial),
        )
        socket.send_fds(self.socket, [frame(body)], [fd])
        self.pump()

    def tell(self, id: int, used: int, size: int = SIZE) -> None:
        self.say(TELL, command=b"get", extension=in_segment(id, size, used))

    def heard(self) -> list[tuple[int, int]]:
        """(word, segment) of what the mailbox has said of segments."""
        self.mailbox.wait(0)
        self.mailbox._end_turn()
        found = b""
        with contextlib.suppress(BlockingIOError):
            found = self.socket.recv(1 << 16)
        return [
            (struct.unpack_from("<Q", said.payload)[0], said.id)
            for said in split(found)
            if said.kind == SEGMENT
        ]


@pytest.fixture
def lender() -> Iterator[Lender]:
    with Lender() as link:
        yield link


@pytest.fixture
def fd() -> Iterator[int]:
    made = memfd()
    yield made
    os.close(made)


def write(fd: int, value: object) -> int:
    """Put the arguments of a tell into a segment; how long they are."""
    pickled = pickle.dumps((value,))
    with mmap.mmap(fd, SIZE) as memory:
        memory[: len(pickled)] = pickled
    return len(pickled)


def test_segment_is_mapped_used_and_given_back(
    lender: Lender, fd: int
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    lender.offer(5, fd)
    assert lender.heard() == [(READY, 5)]
    assert len(os.listdir("/proc/self/fd")) == before
    for n in range(3):
        lender.tell(5, write(fd, n))
        assert lender.heard() == [(READY, 5)]
    lender.word(DROPPED, 5)
    assert lender.got == [0, 1, 2]
    assert not lender.lost
    lender.tell(5, 10)
    assert lender.lost


def test_lost_descriptor_is_a_refusal(lender: Lender) -> None:
    lender.word(OFFERED, 5, SIZE)
    assert lender.heard() == [(REFUSED, 5)]
    lender.word(OFFERED, 5, SIZE, extension=descriptor(99))
    assert not lender.lost or lender.heard() == [(REFUSED, 5)]


def test_too_many_segments_are_refused(lender: Lender, fd: int) -> None:
    for id in range(1, 70):
        lender.offer(id, fd)
    said = lender.heard()
    assert said.count((REFUSED, 69)) == 1
    assert len([word for word, _ in said if word == READY]) == 64
    assert not lender.lost


@pytest.mark.parametrize(
    "size, sealed", [(SIZE, False), (SIZE - 4096, True), (SIZE * 2, True)]
)
def test_what_could_be_cut_short_closes_the_link(
    lender: Lender, size: int, sealed: bool
) -> None:
    fd = memfd(size, sealed=sealed)
    lender.offer(5, fd)
    os.close(fd)
    assert lender.lost
    assert lender.mailbox.stats()["loans"] == 0


def test_same_segment_twice_closes_the_link(lender: Lender, fd: int) -> None:
    lender.offer(5, fd)
    assert not lender.lost
    lender.offer(5, fd)
    assert lender.lost


@pytest.mark.parametrize(
    "words",
    [
        [(READY, 5)],
        [(REFUSED, 5)],
        [(DROPPED, 5)],
        [(0, 5)],
        [(5, 5)],
        [(2**64 - 1, 5)],
    ],
)
def test_words_out_of_place_close_the_link(
    lender: Lender, words: list[tuple[int, int]]
) -> None:
    for word, id in words:
        lender.word(word, id)
    assert lender.lost


@pytest.mark.parametrize("payload", [b"", b"\2" + bytes(7), bytes(17)])
def test_words_of_another_length_close_the_link(
    lender: Lender, payload: bytes
) -> None:
    lender.say(SEGMENT, payload, id=5)
    assert lender.lost


@pytest.mark.parametrize(
    "id, size, used", [(6, SIZE, 10), (5, 2 * SIZE, SIZE + 1), (5, 10, 11)]
)
def test_message_in_no_such_memory_closes_the_link(
    lender: Lender, fd: int, id: int, size: int, used: int
) -> None:
    lender.offer(5, fd)
    lender.tell(id, used, size)
    assert lender.lost
    assert lender.got == []


def test_segment_is_not_used_twice_at_a_time(lender: Lender, fd: int) -> None:
    lender.offer(5, fd)
    used = write(fd, "x")
    two = envelope(
        TELL,
        source=1,
        target=2,
        command=b"get",
        extension=in_segment(5, SIZE, used),
    )
    lender.write(frame(two) * 2)
    assert lender.lost
    assert lender.got == ["x"]


def test_held_memory_outlives_the_mailbox(lender: Lender, fd: int) -> None:
    held: list[Any] = []
    pickled, sizes = _native.dump_parcel(
        (memoryview(bytearray(b"y" * 20_000)),),
        _pickling.dumps,
    )
    with mmap.mmap(fd, SIZE) as memory:
        memory[: len(pickled)] = pickled
    lender.offer(5, fd)
    told = in_segment(5, SIZE, len(pickled)) + struct.pack(
        "<BBHQ", 6, 0, 8, *sizes
    )
    lender.say(TELL, command=b"get", extension=told)
    held, lender.got = lender.got, held
    assert lender.mailbox.stats()["loans"] == 1
    assert (READY, 5) in lender.heard()
    lender.word(DROPPED, 5)
    assert lender.lost  # it is lent
    lender.close()
    assert bytes(held[0]) == b"y" * 20_000
    held[0][0] = 1
    held.clear()
    assert "/memfd:test" not in Path("/proc/self/maps").read_text()
