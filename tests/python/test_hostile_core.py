"""What the core withstands: peers that say what they may not, and programs
that call back into it at the worst moment."""

from __future__ import annotations

import gc
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from test_mailbox import Failed, Loop, Port, World, double
from wire_help import (
    ASK,
    ERROR,
    HELLO,
    LINK,
    REPLY,
    TELL,
    Said,
    descriptor,
    envelope,
    frame,
    hello,
    in_segment,
    split,
)

from pulsar_native import _native


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


class Raw:
    """A node of our own making, linked to a mailbox."""

    def __init__(self, world: World, other: Any, number: int) -> None:
        self.world, self.number = world, number
        self.socket: socket.socket = world.raw(other, number)
        self.socket.setblocking(False)
        self.write(envelope(HELLO, hello(), source=number))

    def write(self, *bodies: bytes) -> None:
        for body in bodies:
            self.socket.sendall(frame(body))
        self.world.loop.run()

    def said(self) -> list[Said]:
        """What the mailbox has said since."""
        try:
            return split(self.socket.recv(1 << 16))
        except BlockingIOError:
            return []

    def is_open(self) -> bool:
        try:
            while self.socket.recv(1 << 16):
                pass
        except BlockingIOError:
            return True
        except ConnectionResetError:
            pass
        return False


# --- what an arbiter passes on ---


@pytest.mark.parametrize(
    "extension",
    [
        b"\x01",
        b"\x01\x00\x08\x00",
        struct.pack("<BBHQ", 1, 0, 8, 0),
        struct.pack("<BBHQ", 1, 0, 8, 5) * 2,
        descriptor(1),
        descriptor(2**64 - 1),
        in_segment(1, 1 << 16, 1 << 16),
    ],
)
@pytest.mark.parametrize("kind", [ASK, TELL, LINK])
def test_extension_that_cannot_be_relayed_ends_its_senders_link_alone(
    world: World, kind: int, extension: bytes
) -> None:
    arbiter, victim, _ = world.star()
    victim.command("double", double)
    hostile = Raw(world, arbiter, 9)
    hostile.write(
        envelope(
            kind,
            b"x",
            source=9,
            target=2,
            id=1,
            command=b"double",
            extension=extension,
        )
    )
    assert not hostile.is_open()
    assert not victim.port.heard("lost")
    assert world.result(arbiter.send(2, "double", 21)) == 42


def chunk(offset: int, size: int = 100_000, id: int = 1) -> bytes:
    return envelope(
        ASK,
        b"x" * 1000,
        source=9,
        target=2,
        id=id,
        command=b"" if offset else b"double",
        size=size,
        offset=offset,
    )


@pytest.mark.parametrize(
    "second",
    [chunk(0), chunk(500), chunk(2000), chunk(1000, size=99_999)],
    ids=["again", "back", "ahead", "other size"],
)
def test_relayed_chunks_out_of_order_hurt_nobody_else(
    world: World, second: bytes
) -> None:
    arbiter, victim, _ = world.star()
    victim.command("double", double)
    hostile = Raw(world, arbiter, 9)
    hostile.write(chunk(0), second)
    assert not victim.port.heard("lost")
    assert world.result(arbiter.send(2, "double", 21)) == 42


@pytest.mark.parametrize("kind", [ASK, TELL, REPLY])
def test_what_is_too_big_for_a_node_of_this_process_is_dropped_alone(
    world: World, kind: int
) -> None:
    arbiter, near = world.actor(1, message_bytes=2000), world.actor(3)
    near.command("double", double)
    for node in (arbiter, near):
        node.mailbox.enter(1)
    near.mailbox.connect_near(1, onward=True)
    arbiter.mailbox.connect_near(3)
    other = Raw(world, arbiter, 9)
    asked = near.send(9, "anything") if kind == REPLY else None
    for node in (arbiter, near):  # on one thread: nobody else wakes them
        while node.mailbox.wait(0):
            pass
    id = next((said.id for said in other.said() if said.kind == ASK), 5)
    big = b"x" * 5000
    other.write(
        envelope(kind, big, source=9, target=3, id=id, command=b"double")
    )
    while near.mailbox.wait(0):
        pass
    if kind == ASK:
        assert [(said.kind, said.id) for said in other.said()] == [(ERROR, 5)]
    elif asked is not None:
        with pytest.raises(Failed, match="too-big"):
            world.result(asked)
    assert other.is_open()


# --- programs ---


def test_mailbox_that_is_still_being_made_can_be_looked_at() -> None:
    seen: list[Any] = []

    class Peeping(Port):
        @property
        def dumps(self) -> Any:  # type: ignore[override]
            for made in gc.get_objects():
                if type(made) is _native.Mailbox and made.number == 77:
                    self.look(made)
            raise LookupError("no port")

        def look(self, mailbox: Any) -> None:
            seen.append(mailbox)
            assert mailbox.actor is None
            assert mailbox.cell(77) is None
            for use in (
                lambda: mailbox.tasks,
                lambda: mailbox.stats(),
                lambda: mailbox.send(1, "x", (), {}),
                lambda: mailbox.tell(1, "x", (), {}),
                lambda: mailbox.stream(1, "x", (), {}, 1),
                lambda: mailbox.enter(1),
                lambda: mailbox.become(3),
                lambda: mailbox.add_cell(),
            ):
                with pytest.raises(RuntimeError):
                    use()

    with pytest.raises(LookupError):
        _native.Mailbox(77, None, Peeping(Loop()))
    assert seen


def test_table_that_holds_no_command_is_no_command(world: World) -> None:
    a, b = world.pair()
    a.port.table["double"] = object()
    b.command("double", double)
    assert world.result(a.send(2, "double", 21)) == 42


def test_limits_belong_to_the_loops_thread(world: World) -> None:
    a, b = world.pair()
    threads: list[int] = []
    b.command("note", lambda request: threads.append(threading.get_ident()))
    b.mailbox.cell(2).limit(max_inflight=1)

    async def wait(request: Any) -> None:
        await held

    held = world.loop.create_future()
    b.command("wait", wait)
    waiting, noted = a.send(2, "wait"), a.send(2, "note")
    world.loop.run()
    failures: list[BaseException] = []

    def elsewhere() -> None:
        try:
            b.mailbox.cell(2).limit(max_inflight=0)
        except RuntimeError as error:
            failures.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert failures and not threads
    held.set_result(None)
    world.result(waiting)
    world.result(noted)
    assert threads == [threading.get_ident()]


def test_raising_a_limit_runs_nothing_inside_a_command(world: World) -> None:
    a, b = world.pair()
    order: list[str] = []
    cell = b.mailbox.cell(2)
    assert cell is not None
    cell.limit(max_inflight=1)

    held = world.loop.create_future()

    async def hold(request: Any) -> None:
        await held
        cell.limit(max_inflight=0)
        order.append("hold goes on")

    b.command("hold", hold)
    b.command("note", lambda request: order.append("note"))
    asks = [a.send(2, "hold"), a.send(2, "note")]
    world.loop.run()
    held.set_result(None)
    for ask in asks:
        world.result(ask)
    assert order == ["hold goes on", "note"]


def test_cancel_on_a_closed_loop_raises_what_the_loop_raised(
    world: World,
) -> None:
    a, _ = world.pair()
    world.loop.closed = True
    other = a.send(2, "double", 1)
    other.add_done_callback(lambda done: None)
    with pytest.raises(RuntimeError, match="closed"):
        other.cancel()
    world.loop.closed = False


def test_callbacks_run_in_the_order_of_adding(world: World) -> None:
    a, _ = world.pair()
    order: list[int] = []
    for cancel in (True, False):
        future = a.send(2, "never")
        for i in range(3):
            future.add_done_callback(lambda _, i=i: order.append(i))
        if cancel:
            future.cancel()
        else:
            a.mailbox.fail(2, lambda ask: KeyError("gone"))
        world.loop.run()
    assert order == [0, 1, 2] * 2


def test_task_that_takes_no_callback_is_over(world: World) -> None:
    class Deaf:
        def done(self) -> bool:
            return False

        def add_done_callback(self, call: Any, **context: Any) -> None:
            raise LookupError("deaf")

    def start_deaf(awaitable: Any, context: Any) -> Any:
        awaitable.close()
        return Deaf()

    async def triple(request: Any, value: int) -> int:
        return 3 * value

    port = Port(world.loop)
    port.start_task = start_deaf  # type: ignore[method-assign]
    other = _native.Mailbox(4, None, port)
    other.attach(world.loop)  # type: ignore[arg-type]
    cell: Any = other.cell(4)
    cell.limit(max_inflight=1)
    command = _native.BaseCommand()
    command.name, command.function, command.ack = "triple", triple, True
    port.table["triple"] = command
    asks = [other.send(4, "triple", (n,), {}) for n in (1, 2)]
    for ask in asks:
        with pytest.raises(LookupError):
            world.result(ask)
    assert not cell.tasks
    assert cell.waiting == 0
    other.close()


def test_entering_again_after_a_failure_is_watched() -> None:
    loop = Loop()
    mailbox = _native.Mailbox(5, None, Port(loop))
    mailbox.attach(loop)  # type: ignore[arg-type]
    fd = mailbox.fileno()

    def watched() -> int:
        with open(f"/proc/self/fdinfo/{fd}") as info:
            return info.read().count("tfd:")

    before = watched()
    kept, none = os.dup(fd), os.open(os.devnull, os.O_RDONLY)
    os.dup2(none, fd)
    with pytest.raises(OSError):
        mailbox.enter(77)
    os.dup2(kept, fd)
    os.close(kept)
    os.close(none)
    mailbox.enter(77)
    assert watched() == before + 1
    mailbox.close()


# --- streams ---


def raw_stream(world: World) -> tuple[Any, Any, Raw, int]:
    """A mailbox, its stream from a node of our making, and the ask's id."""
    a = world.actor(1)
    hostile = Raw(world, a, 9)
    stream = a.mailbox.stream(9, "items", (), {}, 2)
    world.loop.run()
    id = next(said.id for said in hostile.said() if said.kind == ASK)
    return a, stream, hostile, id


def test_serialized_end_of_a_stream_is_its_end(world: World) -> None:
    _, stream, hostile, id = raw_stream(world)
    encoding = struct.pack("<BBHQ", 8, 0, 8, 1)
    end = envelope(REPLY, b"N", source=9, target=1, id=id, extension=encoding)
    hostile.write(end)
    step = stream.__anext__()
    with pytest.raises(StopAsyncIteration):
        step.send(None)


def test_stream_that_ends_while_it_begins_to_wait_is_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, stream, _, _ = raw_stream(world)
    steps = [stream.__anext__()]
    del stream

    def get_debug() -> bool:
        steps[0].close()
        a.mailbox.fail(None, lambda ask: KeyError("gone"))
        gc.collect()
        return False

    monkeypatch.setattr(world.loop, "get_debug", get_debug)
    with pytest.raises((RuntimeError, KeyError, StopAsyncIteration)):
        steps[0].send(None)
        steps[0].send(None)
