"""Mailboxes over link pairs in one process: what they promise to the loop,
to the port and to each other, whatever these do in return."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pickle
import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any

import pytest

from pulsar_native import _native
from pulsar_native.exceptions import PulsarException

HELLO, NOTIFY, PEER = 1, 2, 5
ASK, TELL, REPLY, DEFINE, DOWN = 16, 17, 18, 21, 23

ENVELOPE = struct.Struct("<BBHHHQQQQQ")


class Loop:
    """As much of a loop as a mailbox needs; it runs when it is told to."""

    def __init__(self) -> None:
        self.ready: deque[tuple[Any, ...]] = deque()
        self.readers: dict[int, Callable[[], object]] = {}
        self.closed = False

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return self.closed

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)  # type: ignore[arg-type]

    def call_soon(
        self, call: Any, *args: Any, context: Context | None = None
    ) -> object:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.ready.append((call, args, context))
        return self

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Futures complain here of exceptions that nobody took."""

    def add_reader(self, fd: int, call: Callable[[], object]) -> None:
        self.readers[fd] = call

    def remove_reader(self, fd: int) -> bool:
        return self.readers.pop(fd, None) is not None

    def turn(self) -> bool:
        """One iteration that never sleeps; whether anything was done."""
        done = False
        for _ in range(len(self.ready)):
            call, args, context = self.ready.popleft()
            done = True
            if context is None:
                call(*args)
            else:
                context.run(call, *args)
        poll = select.poll()
        for fd in self.readers:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(0):
            done = True
            self.readers[fd]()
        return done

    def run(self) -> None:
        """Until nothing happens any more."""
        for _ in range(10000):
            if not self.turn():
                return
        raise AssertionError("the loop does not come to rest")


class Failed(Exception):
    """What the port below makes of a condition."""


class Port:
    """A port that records what it is told, and can be told to misbehave."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.table: dict[Any, Any] = {}
        self.names: dict[Any, Any] = {}
        self.told: list[tuple[Any, ...]] = []

    def dumps(self, value: object, buffers: list[memoryview]) -> bytes:
        return pickle.dumps(value, 5)

    def loads(self, data: Any) -> Any:
        return pickle.loads(data)

    def dump_error(self, error: BaseException) -> Any:
        return pickle.dumps(error)

    def load_error(self, source: int, condition: str, data: bytes) -> Any:
        if condition == "raised":
            return pickle.loads(data)
        return Failed(condition, data)

    def future(self, *, loop: Any) -> Any:
        return loop.create_future()

    def actor(self, cell: Any) -> Any:
        return None

    def progress(self, cell: Any, source: int, id: int) -> Any:
        return source, id

    def start_task(self, awaitable: Any, context: Context) -> Any:
        return asyncio.Task(
            awaitable,
            loop=self.loop,  # type: ignore[arg-type]
            context=context,
        )

    def lend(self, cell: Any, args: Any, kwargs: Any) -> Any:
        raise TypeError("nothing is lent")

    async def drive(self, source: Any, items: Any) -> None:
        items.close()

    async def defer(
        self, request: Any, command: Any, first: Any, args: Any, kwargs: Any
    ) -> Any:
        return request._call(command, first, args, kwargs)

    def control(self, *told: Any) -> None:
        self.told.append(("control", *told))

    def lost(self, *told: Any) -> None:
        self.told.append(("lost", *told))

    def fatal(self, cell: Any, error: BaseException) -> None:
        raise error

    def failed(self, cell: Any, error: BaseException) -> None:
        self.told.append(("failed", error))

    def resolve(self, target: Any) -> Any:
        return (target, None) if isinstance(target, int) else (0, target)

    def explain(self, number: int, name: str) -> Any:
        return "unknown-actor", (name or str(number)).encode()

    def doom(self, source: int, target: int, id: int) -> None:
        self.told.append(("doom", source, target, id))

    def define(self, target: int, since: int) -> Any:
        self.told.append(("define", target, since))
        return 7

    def introduce(self, target: int, source: int) -> None:
        self.told.append(("introduce", target, source))

    def proxy(self, number: int) -> Any:
        return number

    def heard(self, what: str) -> list[tuple[Any, ...]]:
        return [told[1:] for told in self.told if told[0] == what]


class Actor:
    """A mailbox with its port, and a command for everything called."""

    def __init__(self, loop: Loop, number: int, **limits: int) -> None:
        self.number = number
        self.port = Port(loop)
        self.mailbox = _native.Mailbox(number, self, self.port, **limits)
        self.mailbox.attach(loop)  # type: ignore[arg-type]

    def command(self, name: str, call: Any, **members: Any) -> Any:
        command = _native.BaseCommand()
        command.name, command.function, command.ack = name, call, True
        for member, value in members.items():
            setattr(command, member, value)
        self.port.table[name] = command
        return command

    def send(self, target: Any, command: Any, *args: Any, **kw: Any) -> Any:
        return self.mailbox.send(target, command, args, kw)

    def tell(self, target: Any, command: Any, *args: Any, **kw: Any) -> Any:
        return self.mailbox.tell(target, command, args, kw)

    def greet(self, other: int) -> None:
        self.mailbox.post(HELLO, other, self.mailbox.hello())


class World:
    """Actors on one loop."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.actors: list[Actor] = []
        self.sockets: list[socket.socket] = []

    def actor(self, number: int, **limits: int) -> Actor:
        self.actors.append(Actor(self.loop, number, **limits))
        return self.actors[-1]

    def link(self, a: Actor, b: Actor, *, onward: bool = False) -> None:
        """Both greet; b asks a for everybody else, if onward."""
        ours, theirs = _native.link_pair()
        a.mailbox.connect(b.number, ours)
        b.mailbox.connect(a.number, theirs, onward=onward)
        a.greet(b.number)
        b.greet(a.number)
        self.loop.run()
        a.port.told.clear()
        b.port.told.clear()

    def pair(self, **limits: int) -> tuple[Actor, Actor]:
        a, b = self.actor(1, **limits), self.actor(2, **limits)
        self.link(a, b)
        return a, b

    def star(self) -> tuple[Actor, Actor, Actor]:
        """An arbiter, and two actors that reach each other through it."""
        arbiter, *others = (self.actor(n) for n in (1, 2, 3))
        for other in others:
            self.link(arbiter, other, onward=True)
            arbiter.port.names[f"actor{other.number}"] = other.number
        return arbiter, others[0], others[1]

    def raw(self, a: Actor, number: int) -> socket.socket:
        """The far end of a link, for bytes that no mailbox sends."""
        ours, theirs = _native.link_pair()
        a.mailbox.connect(number, ours)
        self.sockets.append(socket.socket(fileno=theirs))
        return self.sockets[-1]

    def result(self, future: asyncio.Future[Any]) -> Any:
        self.loop.run()
        assert future.done(), "the ask was never answered"
        return future.result()

    def close(self) -> None:
        for actor in self.actors:
            actor.mailbox.fail(None, lambda ask: Failed("end of the test"))
            actor.mailbox.close()
        for each in self.sockets:
            each.close()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def unraised(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What went to sys.unraisablehook."""
    seen: list[Any] = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda args: seen.append(args.exc_value)
    )
    return seen


def double(request: Any, value: Any) -> Any:
    return value * 2


def frame(
    kind: int,
    source: int,
    target: int,
    payload: bytes = b"",
    *,
    id: int = 0,
    command: bytes = b"",
    name: bytes = b"",
    size: int | None = None,
    offset: int = 0,
) -> bytes:
    """One frame as it stands on a link."""
    body = ENVELOPE.pack(
        kind,
        1 if name else 0,
        len(command),
        len(name),
        0,
        source,
        target,
        id,
        len(payload) if size is None else size,
        offset,
    )
    body += command + name + payload
    if len(body) < 126:
        return bytes([0x82, len(body)]) + body
    return b"\x82\x7e" + len(body).to_bytes(2, "big") + body


# --- asks, tells and what goes wrong with them ---


@pytest.mark.parametrize("size", [0, 1, 5000, 9000, 40000, 3_000_000])
def test_ask_is_answered(world: World, size: int) -> None:
    a, b = world.pair()
    b.command("double", double)
    assert world.result(a.send(2, "double", b"x" * size)) == b"xx" * size


def test_ask_to_oneself_is_answered(world: World) -> None:
    a = world.actor(1)
    a.command("double", double)
    assert world.result(a.send(1, "double", 21)) == 42
    assert world.result(a.send(1, "double", b"x" * 100_000))


def test_keywords_reach_the_command(world: World) -> None:
    a, b = world.pair()
    b.command("seen", lambda request, *args, **kwargs: (args, kwargs))
    future = a.send(2, "seen", 1, *range(20), x=3)
    assert world.result(future) == ((1, *range(20)), {"x": 3})


def test_tell_is_accepted_at_once_and_runs(world: World) -> None:
    a, b = world.pair()
    seen: list[Any] = []
    b.command("note", lambda request, value: seen.append(value))
    future = a.tell(2, "note", 5)
    assert future.result() is None
    world.loop.run()
    assert seen == [5]


def test_coroutine_command_is_a_task_until_it_is_done(world: World) -> None:
    a, b = world.pair()
    gate = world.loop.create_future()

    async def wait(request: Any) -> Any:
        return await gate

    b.command("wait", wait)
    future = a.send(2, "wait")
    world.loop.run()
    assert len(b.mailbox.tasks) == 1 and not future.done()
    gate.set_result("open")
    assert world.result(future) == "open"
    assert not b.mailbox.tasks


def test_exception_of_a_command_reaches_the_asker(world: World) -> None:
    a, b = world.pair()
    b.command("fail", lambda request: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        world.result(a.send(2, "fail"))
    a.tell(2, "fail")
    world.loop.run()
    (failed,) = b.port.heard("failed")
    assert isinstance(failed[0], ZeroDivisionError)


def test_unknown_command_is_an_error_and_a_dead_letter(world: World) -> None:
    a, b = world.pair()
    with pytest.raises(Failed, match="unknown-command"):
        world.result(a.send(2, "nothing"))
    a.tell(2, "nothing")
    world.loop.run()
    assert b.mailbox.stats()["dead_letters"] == 1


def test_unknown_actor_is_an_error(world: World) -> None:
    a, _ = world.pair()
    with pytest.raises(Failed, match="unknown-actor"):
        world.result(a.send(9, "double", 1))


def test_name_with_a_zero_byte_is_told_whole(world: World) -> None:
    a, _ = world.pair()
    with pytest.raises(Failed) as caught:
        world.result(a.send("no\0body", "double", 1))
    assert caught.value.args == ("unknown-actor", b"no\0body")


def test_message_over_the_senders_limit_is_refused(world: World) -> None:
    a, b = world.pair(message_bytes=1000)
    b.command("big", lambda request: b"x" * 2000)
    with pytest.raises(PulsarException, match="over the limit"):
        world.result(a.send(2, "double", b"x" * 2000))
    with pytest.raises(PulsarException, match="over the limit"):
        world.result(a.send(2, "big"))


@pytest.mark.parametrize("size", [5000, 200_000])
def test_message_over_the_receivers_limit_fails_alone(
    world: World, size: int
) -> None:
    a, b = world.pair()
    b.command("double", double)
    b.mailbox.limit(1000, 100, 10_000_000)
    with pytest.raises(Failed, match="too-big"):
        world.result(a.send(2, "double", b"x" * size))
    assert world.result(a.send(2, "double", 1)) == 2


def test_reply_over_the_askers_limit_fails_the_ask(world: World) -> None:
    a, b = world.pair()
    b.command("big", lambda request: b"x" * 5000)
    a.mailbox.limit(1000, 100, 10_000_000)
    with pytest.raises(Failed, match="too-big"):
        world.result(a.send(2, "big"))


def test_full_outbox_refuses_asks(world: World) -> None:
    a, b = world.pair()
    b.command("double", double)
    a.mailbox.limit(1 << 20, 2, 1 << 20)
    fill = [a.mailbox.post(DEFINE, 2, b"x" * (1 << 20)) for _ in range(3)]
    assert all(fill)
    with pytest.raises(Failed, match="mailbox-full"):
        a.send(2, "double", 1).result()
    world.loop.run()
    assert world.result(a.send(2, "double", 1)) == 2


@pytest.mark.parametrize(
    "name", ["message_bytes", "outbox_messages", "outbox_bytes"]
)
def test_negative_limits_are_refused(world: World, name: str) -> None:
    with pytest.raises(ValueError, match="negative"):
        _native.Mailbox(1, None, Port(world.loop), **{name: -1})
    limits = {"message_bytes": 1, "outbox_messages": 1, "outbox_bytes": 1}
    limits[name] = -1
    with pytest.raises(ValueError, match="negative"):
        world.actor(1).mailbox.limit(*limits.values())


def test_number_zero_is_nobody(world: World) -> None:
    a = world.actor(1)
    with pytest.raises(ValueError):
        _native.Mailbox(0, None, a.port)
    ours, theirs = _native.link_pair()
    with pytest.raises(ValueError):
        a.mailbox.connect(0, ours)
    os.close(ours)
    os.close(theirs)


def test_another_thread_is_refused(world: World) -> None:
    a, _ = world.pair()
    raised: list[BaseException] = []

    def run() -> None:
        for call in (
            lambda: a.send(2, "double", 1),
            lambda: a.mailbox.post(NOTIFY, 2, b""),
            lambda: a.mailbox.disconnect(2),
            lambda: a.mailbox.wait(0),
        ):
            with pytest.raises(RuntimeError) as caught:
                call()
            raised.append(caught.value)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(raised) == 4


def test_closed_mailbox_refuses_everything(world: World) -> None:
    a, _ = world.pair()
    a.mailbox.close()
    a.mailbox.close()
    assert a.mailbox.closed and not world.loop.readers.get(-1)
    for call in (
        lambda: a.send(2, "double", 1),
        lambda: a.mailbox.post(NOTIFY, 2, b""),
        lambda: a.mailbox.attach(world.loop),
        a.mailbox.flush,
    ):
        with pytest.raises(RuntimeError):
            call()
    a.mailbox._on_ready()
    a.mailbox._end_turn()
    assert a.mailbox.stats()["links"] == 0


# --- control, names, relays ---


def test_hello_tells_who_is_there(world: World) -> None:
    a, b = world.actor(1), world.actor(2)
    ours, theirs = _native.link_pair()
    a.mailbox.connect(2, ours)
    b.mailbox.connect(1, theirs)
    b.greet(1)
    world.loop.run()
    ((kind, source, id, payload),) = a.port.heard("control")
    assert (kind, source, id) == (HELLO, 2, os.getpid())
    assert payload == b.mailbox.hello()


@pytest.mark.parametrize(
    "first",
    [
        frame(NOTIFY, 2, 1),
        frame(HELLO, 2, 1, b"x" * 32),
        frame(HELLO, 2, 1, b"PNAT"),
        frame(HELLO, 2, 1, b"PNAT\x09\x00" + b"\0" * 26),
        frame(99, 2, 1),
        b"\x82\x05short",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_wrong_hello_ends_the_link(world: World, first: bytes) -> None:
    a = world.actor(1)
    world.raw(a, 2).sendall(first)
    world.loop.run()
    ((number, status, _),) = a.port.heard("lost")
    assert number == 2 and status < 0
    assert not a.port.heard("control")
    assert a.mailbox.stats()["links"] == 1


def greeted(world: World, a: Actor, number: int = 2) -> socket.socket:
    far = world.raw(a, number)
    far.sendall(frame(HELLO, number, a.number, a.mailbox.hello()))
    world.loop.run()
    a.port.told.clear()
    return far


@pytest.mark.parametrize(
    "bad",
    [
        frame(TELL, 3, 1, pickle.dumps(()), command=b"double"),
        frame(TELL, 0, 1, pickle.dumps(()), command=b"double"),
        frame(PEER + 10, 2, 1),
        frame(DOWN, 2, 5),
        frame(22, 2, 5),
        frame(ASK, 2, 1, b"x" * 10, size=5),
        frame(ASK, 2, 1, b"x" * 10, size=50)
        + frame(ASK, 2, 1, b"x" * 10, size=50),
        b"\x02" + frame(NOTIFY, 2, 1)[1:],
    ],
)
def test_wrong_message_ends_the_link(world: World, bad: bytes) -> None:
    a = world.actor(1)
    far = greeted(world, a)
    far.sendall(bad)
    world.loop.run()
    assert [told[0] for told in a.port.heard("lost")] == [2]


def test_bytes_one_at_a_time_are_the_same(world: World) -> None:
    a = world.actor(1)
    seen: list[Any] = []
    a.command("note", lambda request, value: seen.append(value))
    far = greeted(world, a)
    payload = pickle.dumps((4,))
    data = frame(TELL, 2, 1, payload, command=b"note") * 2
    for i in range(len(data)):
        far.sendall(data[i : i + 1])
        world.loop.run()
    assert seen == [4, 4]


def test_answers_to_nothing_are_ignored(world: World) -> None:
    a = world.actor(1)
    far = greeted(world, a)
    far.sendall(frame(REPLY, 2, 1, b"junk", id=77))
    far.sendall(frame(19, 2, 1, b"junk", id=77, command=b"raised"))
    world.loop.run()
    assert a.port.told == []


def test_actors_talk_through_the_arbiter(world: World) -> None:
    arbiter, b, c = world.star()
    c.command("double", double)
    for size in (1, 100_000):
        assert world.result(b.send(3, "double", b"x" * size)) == b"xx" * size
    assert arbiter.port.heard("introduce") == [(3, 2)]
    assert arbiter.mailbox.peers(2) == [3]
    assert arbiter.mailbox.peers(3) == [2]
    assert arbiter.mailbox.peers(9) == []


def test_ask_to_a_name_is_bound_to_its_actor(world: World) -> None:
    _, b, c = world.star()
    gate = world.loop.create_future()

    async def wait(request: Any) -> Any:
        return await gate

    c.command("wait", wait)
    future = b.send("actor3", "wait")
    world.loop.run()
    assert b.mailbox.fail(2, lambda ask: Failed("other")) == 0
    assert b.mailbox.fail(3, lambda ask: Failed("down")) == 1
    with pytest.raises(Failed, match="down"):
        world.result(future)
    gate.set_result(None)
    world.loop.run()
    assert b.mailbox.stats()["pending"] == 0


def test_unknown_name_is_explained_by_the_arbiter(world: World) -> None:
    arbiter, b, _ = world.star()
    with pytest.raises(Failed) as caught:
        world.result(b.send("nobody", "double", 1))
    assert caught.value.args == ("unknown-actor", b"nobody")
    b.tell("nobody", "double", 1)
    world.loop.run()
    assert arbiter.mailbox.stats()["dead_letters"] == 1


def test_name_that_is_no_utf8_is_answered(
    world: World, unraised: list[Any]
) -> None:
    a = world.actor(1)
    far = greeted(world, a)
    ask = frame(ASK, 2, 1, b"x", id=5, command=b"c", name=b"\xff\xfe")
    far.sendall(ask)
    world.loop.run()
    answer = far.recv(10000, socket.MSG_DONTWAIT)
    assert b"unknown-actor" in answer
    assert unraised == []


def test_commands_are_defined_before_their_first_use(world: World) -> None:
    a, b = world.pair()
    command = a.command("double", double, serial=5)
    b.command("double", double)
    assert world.result(a.send(2, command, 1)) == 2
    assert world.result(a.send(2, "double", 1)) == 2
    assert a.port.heard("define") == [(2, 0)]
    command.serial = 8
    assert world.result(a.send(2, "double", 1)) == 2
    assert a.port.heard("define") == [(2, 0), (2, 7)]
    a.mailbox.know(2, 2**64 - 1)
    command.serial = 2**64 - 2
    for _ in range(100):
        a.mailbox.know(2, 2**64 - 1)
    assert world.result(a.send(2, "double", 1)) == 2
    assert len(a.port.heard("define")) == 2


def test_nothing_is_handled_between_hold_and_attach(world: World) -> None:
    a, b = world.pair()
    seen: list[Any] = []
    b.command("note", lambda request, value: seen.append(value))
    b.mailbox.hold()
    for i in range(3):
        a.tell(2, "note", i)
    for _ in range(20):
        world.loop.turn()
    assert seen == []
    b.mailbox.attach(world.loop)  # type: ignore[arg-type]
    world.loop.run()
    assert seen == [0, 1, 2]


def test_hold_inside_a_batch_keeps_the_rest(world: World) -> None:
    a, b = world.pair()
    seen: list[Any] = []

    def note(request: Any, value: Any) -> None:
        seen.append(value)
        b.mailbox.hold()

    b.command("note", note)
    for i in range(3):
        a.tell(2, "note", i)
    for _ in range(20):
        world.loop.turn()
    assert seen == [0]
    for expected in ([0, 1], [0, 1, 2]):
        b.mailbox.attach(world.loop)  # type: ignore[arg-type]
        for _ in range(20):
            world.loop.turn()
        assert seen == expected


def test_actor_becomes_another_number(world: World) -> None:
    arbiter, actor = world.actor(1), world.actor(50)
    ours, theirs = _native.link_pair()
    arbiter.mailbox.connect(2, ours)
    actor.mailbox.connect(1, theirs, onward=True)
    actor.mailbox.become(2)
    assert actor.mailbox.number == 2
    arbiter.greet(2)
    actor.greet(1)
    actor.command("double", double)
    assert world.result(arbiter.send(2, "double", 4)) == 8
    assert world.result(actor.send(2, "double", 4)) == 8
    for number in (0, 1, 2):
        with pytest.raises(ValueError):
            actor.mailbox.become(number)


def test_request_names_its_actor_and_caller(world: World) -> None:
    a, b = world.pair()
    seen: list[Any] = []

    def look(request: Any) -> None:
        seen.append((request.actor, request.caller, request.connection))

    b.command("look", look)
    world.result(a.send(2, "look"))
    world.result(b.send(2, "look"))
    assert seen == [(b, 1, b.mailbox), (b, 2, None)]


def test_wait_without_a_loop_handles_what_comes(world: World) -> None:
    a, b = world.pair()
    seen: list[Any] = []
    b.command("note", lambda request, value: seen.append(value))
    assert b.mailbox.wait(0) is False
    assert b.mailbox.wait(-1.5) is False
    assert b.mailbox.wait(float("nan")) is False
    a.tell(2, "note", 1)
    assert a.mailbox.flush()
    for seconds in (0, 5, 1e300):
        if seconds:
            a.tell(2, "note", seconds)
            a.mailbox.flush()
        assert b.mailbox.wait(seconds) is True
    assert seen == [1, 5, 1e300]


@pytest.mark.parametrize("kind", [0, 15, 29, 40, 255])
def test_post_refuses_kinds_that_nobody_knows(world: World, kind: int) -> None:
    a, b = world.pair()
    b.command("double", double)
    a.command("double", double)
    for target in (1, 2):
        with pytest.raises(ValueError):
            a.mailbox.post(kind, target, b"")
        assert world.result(a.send(target, "double", 1)) == 2


def test_post_for_somebody_else_to_oneself_harms_no_ask(
    world: World, unraised: list[Any]
) -> None:
    a = world.actor(1)
    a.command("double", double)
    a.mailbox.post(NOTIFY, 1, b"", source=9)
    assert world.result(a.send(1, "double", 1)) == 2


# --- what ends ---


def test_end_of_a_link_is_told_behind_its_messages(world: World) -> None:
    a, b = world.pair()
    seen: list[Any] = []
    b.command("note", lambda request, value: seen.append(value))
    for i in range(5):
        a.tell(2, "note", i)
    a.mailbox.flush()
    a.mailbox.close()
    world.loop.run()
    assert seen == list(range(5))
    ((number, status, text),) = b.port.heard("lost")
    assert (number, text) == (1, "closed") and status < 0


def test_disconnect_is_not_told(world: World) -> None:
    a, b = world.pair()
    a.mailbox.disconnect(2)
    a.mailbox.disconnect(2)
    a.mailbox.disconnect(99)
    world.loop.run()
    assert a.port.heard("lost") == []
    assert [told[0] for told in b.port.heard("lost")] == [1]


@pytest.mark.parametrize("method", ["close", "forget", "disconnect"])
@pytest.mark.parametrize("size", [1, 6000, 100_000])
def test_mailbox_ends_inside_a_command(
    world: World, method: str, size: int
) -> None:
    a, b = world.pair()

    def end(request: Any, payload: bytes) -> bytes:
        if method == "disconnect":
            b.mailbox.disconnect(1)
        else:
            getattr(b.mailbox, method)()
        return payload

    b.command("end", end)
    futures = [a.send(2, "end", b"x" * size) for _ in range(3)]
    world.loop.readers = {
        fd: call for fd, call in world.loop.readers.items() if fd >= 0
    }
    for _ in range(100):
        world.loop.turn()
        if a.port.heard("lost"):
            break
    assert [told[0] for told in a.port.heard("lost")] == [2]
    assert not any(future.done() for future in futures)
    assert b.mailbox.closed is (method != "disconnect")


@pytest.mark.parametrize("method", ["close", "forget", "disconnect"])
def test_descriptors_are_closed_at_once_inside_a_command(
    world: World, method: str
) -> None:
    """A command that forks must not keep its parent's links open."""
    a = world.actor(1)
    far = greeted(world, a)
    seen: list[bytes] = []

    def end(request: Any) -> None:
        getattr(a.mailbox, method)(*((2,) if method == "disconnect" else ()))
        seen.append(far.recv(100, socket.MSG_DONTWAIT))

    a.command("end", end)
    ask = frame(ASK, 2, 1, pickle.dumps(()), id=1, command=b"end")
    far.sendall(ask)
    world.loop.turn()
    assert seen == [b""]


def test_mailbox_ends_inside_a_coroutine_command(world: World) -> None:
    a, b = world.pair()

    async def end(request: Any) -> None:
        b.mailbox.close()

    b.command("end", end)
    future = a.send(2, "end")
    world.loop.run()
    assert not future.done() and not b.mailbox.tasks


@pytest.mark.parametrize("where", ["lost", "control", "introduce"])
@pytest.mark.parametrize("method", ["close", "forget"])
def test_mailbox_ends_inside_the_port(
    world: World, where: str, method: str
) -> None:
    arbiter, b, c = world.star()
    c.command("double", double)

    def end(*told: Any) -> None:
        getattr(arbiter.mailbox, method)()

    other = _native.Mailbox(1, None, arbiter.port)
    other.close()
    for actor in (arbiter, b, c):
        actor.mailbox.close()
    world.actors.clear()
    world.loop.readers.clear()
    arbiter = world.actor(1)
    setattr(arbiter.port, where, end)
    # The mailbox has taken the callables at its making: make it again.
    arbiter.mailbox.close()
    arbiter.mailbox = _native.Mailbox(1, arbiter, arbiter.port)
    arbiter.mailbox.attach(world.loop)  # type: ignore[arg-type]
    far = world.raw(arbiter, 2)
    near = world.raw(arbiter, 3)
    hello = arbiter.mailbox.hello()
    near.sendall(frame(HELLO, 3, 1, hello))
    far.sendall(
        frame(HELLO, 2, 1, hello)
        + frame(ASK, 2, 3, pickle.dumps((1,)), id=1, command=b"double")
        + frame(NOTIFY, 2, 1)
    )
    if where == "lost":
        far.close()
    for _ in range(10):
        world.loop.readers.pop(-1, None)
        if arbiter.mailbox.closed:
            break
        world.loop.turn()
    assert arbiter.mailbox.closed


def test_all_links_end_inside_the_loss_of_one(world: World) -> None:
    a = world.actor(1)
    fars = [greeted(world, a, number) for number in range(2, 12)]
    told = a.port.told

    def lost(number: int, *rest: Any) -> None:
        told.append(("lost", number))
        for other in range(2, 12):
            a.mailbox.disconnect(other)
        a.mailbox._on_ready()
        a.mailbox._end_turn()

    again(a, lost=lost)
    for number, far in enumerate(fars, 2):
        far.close()
        ours, theirs = _native.link_pair()
        a.mailbox.connect(number, ours)
        os.close(theirs)
    a.mailbox._on_ready()
    world.loop.run()
    assert len(a.port.heard("lost")) == 1
    assert a.mailbox.stats()["links"] == 1


def again(actor: Actor, **calls: Any) -> None:
    """Replace the actor's mailbox by one whose port has these callables."""
    loop = actor.port.loop
    for name, call in calls.items():
        setattr(actor.port, name, call)
    actor.mailbox.close()
    actor.mailbox = _native.Mailbox(actor.number, actor, actor.port)
    actor.mailbox.attach(loop)  # type: ignore[arg-type]


def test_asks_fail_in_the_order_of_asking(world: World) -> None:
    a, _ = world.pair()
    futures = [a.send(2, "double", i) for i in range(50)]
    made = iter(range(50))
    assert a.mailbox.fail(2, lambda ask: Failed(next(made))) == 50
    assert [future.exception().args[0] for future in futures] == list(
        range(50)
    )


def test_asks_fail_by_what_make_raises(world: World) -> None:
    a, _ = world.pair()
    future = a.send(2, "double", 1)
    assert a.mailbox.fail(None, lambda ask: 1 / 0) == 1  # type: ignore
    with pytest.raises(ZeroDivisionError):
        future.result()
    future = a.send(2, "double", 1)
    assert a.mailbox.fail(2, lambda ask: 5) == 1  # type: ignore
    with pytest.raises(TypeError):
        future.result()


def test_failing_asks_may_ask_and_fail_again(world: World) -> None:
    a, _ = world.pair()
    futures = [a.send(2, "double", 1) for _ in range(20)]

    def make(ask: int) -> Failed:
        a.mailbox.fail(2, lambda ask: Failed("inner"))
        futures.append(a.send(2, "double", 1))
        return Failed("outer")

    a.mailbox.fail(2, make)
    assert all(future.done() for future in futures[:20])
    a.mailbox.fail(None, lambda ask: Failed("last"))
    assert all(future.done() for future in futures)


# --- loops ---


def test_closed_loop_fails_what_needs_it(world: World) -> None:
    a, _ = world.pair()
    a.send(2, "double", 1)
    world.loop.closed = True
    futures = [a.send(2, "double", i) for i in range(3)]
    futures.append(a.send(1, "double", 1))
    assert isinstance(futures[-1].exception(), RuntimeError)
    a.mailbox.close()


def test_mailbox_moves_to_another_loop(world: World) -> None:
    a, b = world.pair()
    b.command("double", double)
    lost = [a.send(2, "double", i) for i in range(3)]
    old = world.loop
    old.ready.clear()
    world.loop = Loop()
    for actor in (a, b):
        actor.mailbox.attach(world.loop)  # type: ignore[arg-type]
        actor.port.loop = world.loop
    assert not old.readers
    assert world.result(a.send(2, "double", 4)) == 8
    assert [each.result() for each in lost] == [0, 2, 4]


def test_failed_attach_changes_nothing(world: World) -> None:
    a, b = world.pair()
    b.command("double", double)
    with pytest.raises(AttributeError):
        a.mailbox.attach(object())  # type: ignore[arg-type]
    assert world.result(a.send(2, "double", 4)) == 8


def test_loop_that_attaches_while_it_is_attached(world: World) -> None:
    a, _ = world.pair()

    class Nested(Loop):
        def __getattribute__(self, name: str) -> Any:
            if name == "call_soon" and not vars(self).get("nested"):
                vars(self)["nested"] = True
                a.mailbox.attach(Loop())  # type: ignore[arg-type]
                a.mailbox.attach(world.loop)  # type: ignore[arg-type]
            return super().__getattribute__(name)

    for _ in range(3):
        a.mailbox.attach(Nested())  # type: ignore[arg-type]
    gc.collect()
    a.mailbox.attach(world.loop)  # type: ignore[arg-type]


def test_call_soon_may_call_at_once(world: World) -> None:
    a, b = world.pair()
    b.command("double", double)

    class Eager(Loop):
        def call_soon(self, call: Any, *args: Any, context: Any = None) -> Any:
            if context is None:
                return call(*args)
            return super().call_soon(call, *args, context=context)

    eager = Eager()
    a.mailbox.attach(eager)  # type: ignore[arg-type]
    a.port.loop = eager
    futures = [a.send(2, "double", i) for i in range(4)]
    for _ in range(10):
        world.loop.run()
        eager.run()
    assert [future.result() for future in futures] == [0, 2, 4, 6]


def test_nested_turns_inside_a_command_do_nothing(world: World) -> None:
    a, b = world.pair()
    depth: list[int] = []

    def nest(request: Any, level: int) -> int:
        depth.append(level)
        b.mailbox._on_ready()
        b.mailbox._end_turn()
        b.mailbox.flush()
        b.mailbox.wait(0)
        return level

    b.command("nest", nest)
    futures = [a.send(2, "nest", i) for i in range(20)]
    world.loop.run()
    assert [future.result() for future in futures] == depth == list(range(20))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop_leaves_the_mailbox_whole(
    world: World, kind: type[BaseException]
) -> None:
    a, b = world.pair()

    def stop(request: Any) -> None:
        raise kind

    b.command("stop", stop)
    b.command("double", double)
    a.send(2, "stop")
    future = a.send(2, "double", 1)
    with pytest.raises(kind):
        world.loop.run()
    assert world.result(future) == 2


def test_loss_while_the_loop_is_being_ended(
    world: World, unraised: list[Any]
) -> None:
    """A link that fails behind the command that ends the loop."""
    a = world.actor(1)
    a.command("stop", lambda request: sys.exit(3))
    far = greeted(world, a)
    others = [greeted(world, a, number) for number in range(3, 10)]
    for number, other in enumerate(others, 3):
        while a.mailbox.stats()["queued_bytes"] < 3_000_000 * (number - 2):
            a.mailbox.post(DEFINE, number, b"x" * 1_000_000)
        other.setblocking(False)
    world.loop.run()
    for other in others:
        for _ in range(100):
            try:
                other.recv(1_000_000)
            except BlockingIOError:
                break
    far.sendall(frame(TELL, 2, 1, pickle.dumps(()), command=b"stop"))
    with pytest.raises(SystemExit):
        for _ in range(10):
            world.loop.turn()
    assert unraised == []


def test_descriptor_closed_behind_our_back_ends_the_link(
    world: World,
) -> None:
    a = world.actor(1)
    ours, theirs = _native.link_pair()
    world.sockets.append(socket.socket(fileno=theirs))
    kept = os.dup(ours)  # so that the kernel still watches it
    a.mailbox.connect(2, ours)
    world.sockets[-1].sendall(frame(HELLO, 2, 1, a.mailbox.hello()))
    world.loop.run()
    os.close(ours)
    a.mailbox.post(DEFINE, 2, b"x")
    a.mailbox.flush()
    assert [told[0] for told in a.port.heard("lost")] == [2]
    world.sockets[-1].sendall(frame(NOTIFY, 2, 1))
    a.mailbox._on_ready()
    a.mailbox._on_ready()
    os.close(kept)


def test_no_descriptors_left_is_an_error(world: World) -> None:
    import resource

    a = world.actor(1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
    try:
        with pytest.raises(OSError):
            _native.link_pair()
        with pytest.raises(OSError):
            mailbox = _native.Mailbox(5, None, a.port)
            mailbox.attach(world.loop)  # type: ignore[arg-type]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    a.command("double", double)
    assert world.result(a.send(1, "double", 1)) == 2


# --- hostile ports, commands and values ---


def boom(*args: Any) -> Any:
    raise ValueError("boom")


def wrong(*args: Any) -> Any:
    return 5


CALLABLES = [
    "dumps",
    "loads",
    "dump_error",
    "load_error",
    "start_task",
    "control",
    "lost",
    "fatal",
    "failed",
    "resolve",
    "explain",
    "doom",
    "define",
    "introduce",
    "proxy",
]


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("call", [boom, wrong], ids=["raises", "wrong"])
@pytest.mark.parametrize("name", CALLABLES)
def test_every_ask_is_answered_whatever_the_port_does(
    world: World, unraised: list[Any], name: str, call: Any
) -> None:
    async def later(request: Any, *args: Any) -> Any:
        return args

    def fail(request: Any) -> None:
        raise ZeroDivisionError

    def stop(request: Any) -> None:
        raise KeyboardInterrupt

    arbiter, b, c = (world.actor(n) for n in (1, 2, 3))
    for actor in (arbiter, b, c):
        again(actor, **{name: call})
        actor.command("double", double)
        actor.command("later", later, serial=1)
        actor.command("fail", fail)
        actor.command("stop", stop)
        actor.command("set", lambda request: {object})
    world.link(arbiter, b, onward=True)
    world.link(arbiter, c, onward=True)
    arbiter.port.names["actor3"] = 3
    futures: list[Any] = []
    for target in (1, 2, 3, 99, "actor3", "nobody"):
        for command in ("double", "later", "fail", "set", "nothing"):
            args = (object(),) if command == "later" else ()
            if command == "double":
                args = ([1],)
            try:
                futures.append(b.send(target, command, *args))
                b.tell(target, command, *args).exception()
            except (ValueError, TypeError, SystemError):
                assert name == "resolve"
            world.loop.run()
    for future in futures:
        assert future.done(), "an ask was left without an answer"
        future.exception()
    with contextlib.suppress(
        KeyboardInterrupt, ValueError, TypeError, SystemError
    ):
        c.tell(3, "stop")
        world.loop.run()
    c.mailbox.close()
    world.loop.run()
    assert None not in unraised


def test_names_that_are_no_numbers_are_nobodys(world: World) -> None:
    arbiter, b, _ = world.star()
    arbiter.port.names.update(text="x", negative=-1, huge=2**70)
    for name in ("text", "negative", "huge"):
        with pytest.raises(Failed, match="unknown-actor"):
            world.result(b.send(name, "double", 1))


def test_conditions_that_are_no_text(
    world: World, unraised: list[Any]
) -> None:
    arbiter, b, _ = (world.actor(n) for n in (1, 2, 3))
    again(arbiter, explain=lambda number, name: ("\ud800", b""))
    world.link(arbiter, b, onward=True)
    for _ in range(2):
        with pytest.raises(Failed):
            world.result(b.send(9, "double", 1))


def test_commands_without_name_or_function(world: World) -> None:
    a, b = world.pair()
    empty = _native.BaseCommand()
    with pytest.raises((TypeError, AttributeError)):
        a.send(2, empty)
    empty.name = 5  # type: ignore[assignment]
    with pytest.raises(TypeError):
        world.result(a.send(2, empty))
    empty.name = "empty"
    b.port.table["empty"] = empty
    with pytest.raises((TypeError, AttributeError)):
        world.result(a.send(2, "empty"))
    b.port.table["empty"] = 5
    with pytest.raises(Failed, match="unknown-command"):
        world.result(a.send(2, "empty"))


def test_command_loses_its_function_while_it_is_looked_at(
    world: World,
) -> None:
    a, b = world.pair()

    class Hostile(_native.BaseCommand):
        def __hash__(self) -> int:
            self.function = double
            gc.collect()
            return 1

        def __eq__(self, other: object) -> bool:
            return self is other

    def slow(request: Any, value: Any) -> Any:
        begin = time.perf_counter()
        while time.perf_counter() - begin < 0.0007:
            pass
        return value

    b.command("slow", slow)
    hostile = Hostile()
    hostile.name, hostile.ack = "hostile", True
    hostile.function = lambda request, value: value
    b.port.table["hostile"] = hostile
    futures = [a.send(2, "slow", 1), a.send(2, "hostile", 2)]
    futures += [a.send(2, "slow", 1), a.send(2, "hostile", 2)]
    for future in futures:
        assert world.result(future) in (1, 2, 4)


def test_arguments_vanish_while_the_command_runs(world: World) -> None:
    a, b = world.pair()
    kept: list[Any] = []

    def loads(data: Any) -> Any:
        value = pickle.loads(data)
        if type(value) is list:
            kept.append(value)
        return value

    again(b, loads=loads)
    a.mailbox.disconnect(2)
    world.link(a, b)

    def clear(request: Any, *args: Any, **kwargs: Any) -> Any:
        kept[0].clear()
        gc.collect()
        return args, kwargs

    class Native:
        """A callable that holds nothing while it runs."""

        def __call__(self, request: Any, first: Any, **kwargs: Any) -> Any:
            return clear(request, first, **kwargs)

    b.command("clear", Native())
    future = a.send(2, "clear", ["a" * 100], key=["b" * 100])
    assert world.result(future) == ((["a" * 100],), {"key": ["b" * 100]})


class Gift(bytes):
    """Bytes that run code when they are given back."""

    ends: Callable[[], object] | None = None

    def __del__(self) -> None:
        if Gift.ends is not None:
            Gift.ends()


def test_payload_must_be_bytes_and_nothing_more(world: World) -> None:
    a, b = world.pair()
    Gift.ends = lambda: a.mailbox.disconnect(2)
    try:
        with pytest.raises(TypeError):
            a.mailbox.post(DEFINE, 2, Gift(b"x" * 100_000))
        again(b, dumps=lambda value: Gift(pickle.dumps(value)))
        a.mailbox.disconnect(2)
        world.link(a, b)
        future = b.send(1, "double", object())
        assert isinstance(future.exception(), TypeError)
    finally:
        Gift.ends = None


def test_lent_bytes_are_not_reachable_from_a_failure(world: World) -> None:
    a, b = world.pair()

    def loads(data: Any) -> Any:
        if len(data) > 5000:
            raise ValueError("no")
        return pickle.loads(data)

    again(a, loads=loads)
    b.mailbox.disconnect(1)
    world.link(a, b)
    b.command("double", double)
    future = a.send(2, "double", b"x" * 20_000)
    world.loop.run()
    error = future.exception()
    assert isinstance(error, ValueError)
    traceback = error.__traceback__
    while traceback is not None:
        data = traceback.tb_frame.f_locals.get("data")
        if isinstance(data, memoryview):
            with pytest.raises(ValueError):
                bytes(data)
        traceback = traceback.tb_next


class Closer:
    """Closes a mailbox when it is pickled, unpickled or collected."""

    when = ""
    mailbox: Any = None

    def __reduce__(self) -> Any:
        if Closer.when == "dumps":
            Closer.mailbox.close()
        return Closer._make, ()

    @staticmethod
    def _make() -> Closer:
        if Closer.when == "loads":
            Closer.mailbox.close()
        return Closer()

    def __del__(self) -> None:
        if Closer.when == "del" and Closer.mailbox is not None:
            Closer.mailbox.close()


@pytest.mark.parametrize("when", ["dumps", "loads", "del"])
@pytest.mark.parametrize("whose", [0, 1])
@pytest.mark.parametrize("padding", [0, 100_000])
def test_mailbox_ends_while_values_travel(
    world: World, when: str, whose: int, padding: int
) -> None:
    a, b = world.pair()
    b.command("echo", lambda request, *values: values)
    Closer.mailbox = (a, b)[whose].mailbox
    try:
        Closer.when = when
        future = a.send(2, "echo", Closer(), b"x" * padding)
        for _ in range(50):
            world.loop.readers.pop(-1, None)
            world.loop.turn()
        if future.done():
            future.exception()
    finally:
        Closer.when, Closer.mailbox = "", None


def test_done_callbacks_may_end_everything(world: World) -> None:
    a, b = world.pair()
    b.command("double", double)
    futures = [a.send(2, "double", i) for i in range(10)]

    def end(future: Any) -> None:
        a.mailbox.fail(None, lambda ask: Failed("inside"))
        a.mailbox.close()

    futures[5].add_done_callback(end)
    for _ in range(50):
        world.loop.turn()
        if a.mailbox.closed:
            break
    assert a.mailbox.closed and all(future.done() for future in futures)


# --- memory ---


def test_mailboxes_in_cycles_are_collected(world: World) -> None:
    kinds = [_native.Mailbox, _native.BaseCommand, _native.BaseProxy]
    requests: list[Any] = []
    a, b = world.pair()
    b.command("request", lambda request: requests.append(type(request)))
    world.result(a.send(2, "request"))
    kinds += requests

    def rounds() -> None:
        for _ in range(20):
            inner = World()
            c, d = inner.pair()
            kept: list[Any] = []
            d.command("keep", lambda request, *a, kept=kept: kept.append(a))
            c.command("keep", lambda request, kept=kept: kept.append(request))
            c.send(2, "keep", 1, [2])
            c.send(1, "keep")
            inner.loop.run()
            c.send(2, "keep", 1, [2])
            c.send(2, "nobody", b"x" * 100_000)
            _native.BaseProxy("aid", "name", 4)
            del inner, c, d

    def count() -> tuple[list[int], int, int]:
        for _ in range(3):
            gc.collect()
        alive = sum(isinstance(o, _native.Mailbox) for o in gc.get_objects())
        return (
            [sys.getrefcount(kind) for kind in kinds],
            alive,
            len(os.listdir("/proc/self/fd")),
        )

    rounds()
    before = count()
    rounds()
    assert count() == before


def test_closed_mailboxes_leave_no_objects_behind() -> None:
    def rounds(n: int) -> None:
        for _ in range(n):
            world = World()
            a, b = world.pair()
            b.command("double", double)
            future = a.send(2, "double", [1])
            assert world.result(future) == [1, 1]
            world.close()

    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    rounds(3)
    before = objects()
    rounds(30)
    assert objects() - before < 30


def test_allocations_that_fail_are_survived(
    world: World, unraised: list[Any]
) -> None:
    testing = pytest.importorskip("_testcapi")
    a, b = world.pair()
    b.command("double", double)
    a.command("double", double)
    loop = world.loop
    for start in range(1, 400):
        futures = []
        testing.set_nomemory(start, start + 1)
        try:
            futures.append(a.mailbox.send(2, "double", (1,), {}))
            futures.append(a.mailbox.send(1, "double", (1,), {}))
            for _ in range(4):
                loop.turn()
        except MemoryError:
            pass
        finally:
            testing.remove_mem_hooks()
        loop.run()
        # A reply for which there was no memory at all may be lost.
        a.mailbox.fail(None, lambda ask: Failed("lost"))
        assert all(future.done() for future in futures)
        for future in futures:
            future.exception()
    for error in unraised:
        assert not isinstance(error, SystemError)
    assert world.result(a.send(2, "double", 4)) == 8
