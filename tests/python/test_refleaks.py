"""Nothing is kept: every type gives back what it took, and no traffic leaves
objects, memory, descriptors or processes behind.

The long runs: ``pytest -m soak tests/python/test_refleaks.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import pickle
import resource
import signal
import sys
import time
import tracemalloc
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import actors_commands as commands
import pytest
import stream_commands  # noqa: F401  registers its commands
from actors_help import (
    SANITIZED,
    ask,
    children_of,
    failure,
    open_descriptors,
    run,
    start_fork_server,
    until,
)
from memory_probe import object_count, start_tracing, traced
from wire_help import ASK, TELL, Port, RawLink, envelope, frame, window

import pulsar_native as pn
from pulsar_native import _forkserver, _native, _pickling
from pulsar_native.arbiter import use_actor

HEAP_TYPES = sorted(
    (t for t in vars(_native).values() if isinstance(t, type)),
    key=lambda t: t.__name__,
)
REFUSALS = (TypeError, ValueError, AttributeError, BufferError)
kept_by_context: contextvars.ContextVar[Any] = contextvars.ContextVar("kept")
HAVE_GC = 1 << 14  # Py_TPFLAGS_HAVE_GC


# --- recipes: as many instances as asked for ---


class Task:
    """Stands for a task that is never done."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[..., Any]] = []

    def done(self) -> bool:
        return False

    def add_done_callback(self, callback: Callable[..., Any]) -> None:
        self.callbacks.append(callback)


class Endless:
    def __await__(self) -> Any:
        yield


TOLD = envelope(TELL, pickle.dumps(()), source=1, target=2, command=b"keep")


def served(
    count: int,
    function: Callable[..., Any],
    tasks: list[Task],
    body: bytes = TOLD,
    drive: Any = None,
) -> _native.Mailbox:
    """A mailbox that has run *function* so many times, as a tell."""

    def start_task(awaitable: Any, context: Any) -> Task:
        tasks.append(Task())
        return tasks[-1]

    port = Port(pickle.loads)
    port.start_task = start_task  # type: ignore[attr-defined]
    port.proxy = lambda number: SimpleNamespace()  # type: ignore[attr-defined]
    port.drive = drive  # type: ignore[attr-defined]
    made = _native.BaseCommand()
    made.name, made.ack, made.serial = "keep", True, 0
    made.function = function
    port.table["keep"] = made
    with RawLink(port) as link:
        link.write(frame(body) * count)
        assert not link.lost
    return link.mailbox


def cells(count: int) -> list[Any]:
    mailbox = _native.Mailbox(1, None, Port(pickle.loads))
    return [mailbox.add_cell() for _ in range(count)]


def requests(count: int) -> list[Any]:
    kept: list[Any] = []
    served(count, kept.append, [])
    for request in kept:
        assert request.actor is None
        assert request.caller is request.caller
    return kept


def repliers(count: int) -> list[Any]:
    tasks: list[Task] = []
    mailbox = served(count, lambda request: Endless(), tasks)
    found = [callback for task in tasks for callback in task.callbacks]
    for task in tasks:
        mailbox.tasks.discard(task)  # type: ignore[arg-type]
    return found


def sources(count: int) -> list[Any]:
    tasks: list[Task] = []
    found: list[Any] = []

    def drive(source: Any, items: Any) -> Any:
        found.append(source)
        return items

    body = envelope(
        ASK,
        pickle.dumps(()),
        source=1,
        target=2,
        id=1,
        command=b"keep",
        extension=window(5),
    )
    served(count, lambda request: iter(()), tasks, body, drive)
    return found


def streams(count: int) -> list[Any]:
    port = Port(pickle.loads)
    port.resolve = lambda target: (target, None)  # type: ignore[attr-defined]
    mailbox = _native.Mailbox(1, None, port)
    return [mailbox.stream(1, "any", (), {}, 1) for _ in range(count)]


def sinks(count: int) -> list[Any]:
    return [
        sink
        for stream in streams(count)
        for sink in gc.get_referents(stream)
        if isinstance(sink, _native.Sink)
    ]


def frames(count: int) -> list[Any]:
    encoded = _native.FrameParser(1).encode("text")
    parser = _native.FrameParser(0)
    return [parser.decode(encoded) for _ in range(count)]


def channels(count: int) -> list[Any]:
    found = []
    for _ in range(count):
        channel = _native.ForkChannel(os.open("/dev/null", os.O_RDONLY))
        found.append(channel)
        channel.close()
    return found


def spinners(count: int) -> list[Any]:
    page = bytearray(4096)
    return [_native.Spinner(0, page, 1, 0.0) for _ in range(count)]


def memories(count: int) -> list[Any]:
    array = memoryview(bytearray(20000))
    payload, sizes = _native.dump_parcel([array], _pickling.dumps)
    return [
        _native.load_parcel(payload, sizes, pickle.loads)[0].obj
        for _ in range(count)
    ]


def ask_futures(count: int) -> list[Any]:
    loop = asyncio.new_event_loop()
    loop.close()
    return [_native.AskFuture(loop=loop) for _ in range(count)]


def mailboxes(count: int) -> list[Any]:
    port = Port(pickle.loads)
    return [_native.Mailbox(n + 1, None, port) for n in range(count)]


def with_descriptors(make: Callable[[], Any], count: int) -> list[Any]:
    """Each has a descriptor: more than a process may have by default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = min(max(soft, 4 * count), hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    try:
        return [make() for _ in range(count)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def handles(count: int) -> list[Any]:
    core = _native.LoopCore()
    found = [core.call_soon(print, n) for n in range(count)]
    found[0].cancel()
    return found


def timer_handles(count: int) -> list[Any]:
    core = _native.LoopCore()
    found = [core.call_later(n, print, n) for n in range(count)]
    found[0].cancel()
    return found


RECIPES: dict[str, Callable[[int], list[Any]]] = {
    "AskFuture": ask_futures,
    "BaseCommand": lambda n: [_native.BaseCommand() for _ in range(n)],
    "BaseProxy": lambda n: [
        _native.BaseProxy("aid", "name", i + 1) for i in range(n)
    ],
    "Cell": cells,
    "ForkChannel": channels,
    "Frame": frames,
    "FrameParser": lambda n: [_native.FrameParser(0) for _ in range(n)],
    "Handle": handles,
    "Lives": lambda n: [_native.Lives() for _ in range(n)],
    "LoopCore": lambda n: with_descriptors(_native.LoopCore, n),
    "Mailbox": mailboxes,
    "Memory": memories,
    "Recorder": lambda n: with_descriptors(_native.Recorder, n),
    "Replier": repliers,
    "Request": requests,
    "Restarts": lambda n: [
        _native.Restarts("one_for_one", 5, 10, 0.1, 30) for _ in range(n)
    ],
    "Sink": sinks,
    "Source": sources,
    "Scope": lambda n: [_native.Scope(1) for _ in range(n)],
    "Spinner": spinners,
    "Step": lambda n: [stream.__anext__() for stream in streams(n)],
    "Stream": streams,
    "TimerHandle": timer_handles,
}


def test_every_type_has_a_recipe() -> None:
    assert {t.__name__ for t in HEAP_TYPES} == set(RECIPES)


@pytest.mark.parametrize("cls", HEAP_TYPES, ids=lambda t: t.__name__)
def test_instances_give_back_their_type(cls: type) -> None:
    recipe = RECIPES[cls.__name__]
    recipe(2)
    gc.collect()
    before = sys.getrefcount(cls)
    made = recipe(1000)
    assert {type(one) for one in made} == {cls}
    assert sys.getrefcount(cls) >= before + 1000
    del made
    gc.collect()
    assert sys.getrefcount(cls) == before


@pytest.mark.parametrize("cls", HEAP_TYPES, ids=lambda t: t.__name__)
def test_instances_leave_no_objects(cls: type) -> None:
    recipe = RECIPES[cls.__name__]
    recipe(2)
    gc.collect()
    before = len(gc.get_objects())
    recipe(1000)
    gc.collect()
    assert len(gc.get_objects()) < before + 100


def test_failing_constructors_give_back_their_type() -> None:
    bad: dict[type, list[tuple[Any, ...]]] = {
        _native.BaseProxy: [(), (1, 2, 3), ("a", "b", 0, 4), ("a", "b", "c")],
        _native.ForkChannel: [(), (-1,), ("x",)],
        _native.FrameParser: [("x",), (99,)],
        _native.Mailbox: [
            (),
            (0, None, Port(pickle.loads)),
            (1, None, object()),
            (1, None, SimpleNamespace(**dict.fromkeys(["dumps"], 1))),
        ],
        _native.Restarts: [
            (),
            ("one_for_none", 5, 10, 0.1, 30),
            ("one_for_one", -1, 10, 0.1, 30),
            ("one_for_one", 5, 0, 0.1, 30),
            ("one_for_one", 5, 10, 0.1, 0.01),
        ],
        _native.Spinner: [
            (),
            (0, bytearray(1), 1, 0.0),
            (0, bytes(4096), 1, 0.0),
            (0, bytearray(4096), 1, 1.0),
        ],
    }
    for cls, calls in bad.items():
        gc.collect()
        before = sys.getrefcount(cls)
        for args in calls * 100:
            with pytest.raises(REFUSALS):
                cls(*args)
        gc.collect()
        assert sys.getrefcount(cls) == before, cls


# --- cycles ---


class Held:
    """What a cycle leads through; it has weak references."""


class HeldCall:
    """What is called, and has weak references."""

    def __call__(self) -> None:
        pass


class HeldText(str):
    """Text with attributes and weak references."""


class HeldPage(bytearray):
    """Memory with attributes and weak references."""


class HeldList(list[Any]):
    """A sized object that is in cycles."""


class HeldLoop:
    """As much of a loop as a mailbox needs."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def get_debug(self) -> bool:
        return False

    def call_soon(self, call: Any) -> object:
        self.calls.append(call)
        return self

    def add_reader(self, fd: int, call: Any) -> object:
        self.calls.append(call)
        return self


def command_cycle() -> Any:
    held = Held()
    one = _native.BaseCommand()
    one.function = held  # type: ignore[assignment]
    held.one = one  # type: ignore[attr-defined]
    return held


def proxy_cycle() -> Any:
    aid, name = HeldText("aid"), HeldText("name")
    aid.one = name.one = _native.BaseProxy(  # type: ignore[attr-defined]
        aid, name, 1
    )
    return aid


def parser_cycle() -> Any:
    held = Held()
    held.one = _native.FrameParser(  # type: ignore[attr-defined]
        0, extensions=held, protocols=[held]
    )
    return held


def spinner_cycle() -> Any:
    page = HeldPage(4096)
    page.one = _native.Spinner(0, page, 1, 0.0)  # type: ignore[attr-defined]
    page.one.serve(0, lambda: page)  # type: ignore[attr-defined]
    return page


def mailbox_cycle() -> Any:
    held = Held()
    port = Port(pickle.loads)
    port.names["held"] = held  # type: ignore[assignment]
    one = _native.Mailbox(1, held, port)
    held.one = one  # type: ignore[attr-defined]
    return held


def attached_cycle() -> Any:
    loop = HeldLoop()
    port = Port(pickle.loads)
    port.resolve = lambda target: (2, None)  # type: ignore[attr-defined]
    port.define = lambda target, since: 0  # type: ignore[attr-defined]
    port.dumps = pickle.dumps  # type: ignore[attr-defined]
    one = _native.Mailbox(1, loop, port)
    ours, theirs = _native.link_pair()
    os.close(theirs)
    one.connect(2, ours)
    one.attach(loop)  # type: ignore[arg-type]
    spinner = _native.Spinner(one.fileno(), HeldPage(4096), 1, 0.0)
    one.linger(spinner, HeldList([one]))
    future = one.send("two", "ping", (bytes(10),), {})
    future.one = one  # type: ignore[attr-defined]
    return loop


def ask_future_cycle() -> Any:
    held = Held()
    future = _native.AskFuture(loop=HeldLoop())  # type: ignore[arg-type]
    context = contextvars.copy_context()
    context.run(kept_by_context.set, held)
    future.add_done_callback(lambda done: held, context=context)
    held.one = future  # type: ignore[attr-defined]
    return held


def cell_cycle() -> Any:
    held = Held()
    held.one = _native.Mailbox(1, None, Port(pickle.loads)).add_cell()  # type: ignore[attr-defined]
    held.one.instance = held  # type: ignore[attr-defined]
    return held


def scope_cycle() -> Any:
    kept: list[Any] = []
    held = Held()
    served(1, lambda request: kept.extend((request, _native.Scope(1))), [])
    held.one = kept.pop()  # type: ignore[attr-defined]
    kept.pop().caller.held = held
    return held


def request_cycle() -> Any:
    kept: list[Any] = []
    held = Held()
    served(1, kept.append, [])
    held.one = kept.pop()  # type: ignore[attr-defined]
    held.one.caller.held = held  # type: ignore[attr-defined]
    return held


def replier_cycle() -> Any:
    tasks: list[Task] = []
    mailbox = served(1, lambda request: Endless(), tasks)
    assert mailbox.tasks == set(tasks)
    return tasks.pop()


def source_cycle() -> Any:
    held = Held()
    held.one = sources(1).pop()  # type: ignore[attr-defined]
    (request,) = (
        one
        for one in gc.get_referents(held.one)  # type: ignore[attr-defined]
        if isinstance(one, _native.Request)
    )
    request.caller.held = held  # type: ignore[attr-defined]
    return held


def stream_cycle(cls: type) -> Any:
    port = Port(pickle.loads)
    port.resolve = lambda target: (target, None)  # type: ignore[attr-defined]
    mailbox = _native.Mailbox(1, None, port)
    held = HeldCall()
    stream = mailbox.stream(1, "any", (), {}, 1, held)
    candidates = [stream, stream.__anext__(), *gc.get_referents(stream)]
    (held.one,) = (  # type: ignore[attr-defined]
        one for one in candidates if type(one) is cls
    )
    return held


def handle_cycle(make: Callable[[Any, Any], Any]) -> Held:
    """Through a handle's callback, and through its loop."""
    held = Held()
    core = _native.LoopCore()
    context = contextvars.copy_context()
    context.run(kept_by_context.set, held)
    held.one = make(core, lambda: held)  # type: ignore[attr-defined]
    core.call_soon(print, held, context=context)
    return held


def loop_cycle() -> Held:
    held = Held()
    core = _native.LoopCore()
    held.one = core  # type: ignore[attr-defined]
    core.call_soon(print, held)
    core.call_later(5, print, held)
    reader, writer = os.pipe()
    core._add_reader(reader, print, held)
    core._add_writer(writer, print, held)
    os.close(reader)
    os.close(writer)
    return held


CYCLES: dict[str, list[Callable[[], Any]]] = {
    "AskFuture": [ask_future_cycle],
    "BaseCommand": [command_cycle],
    "BaseProxy": [proxy_cycle],
    "FrameParser": [parser_cycle],
    "Cell": [cell_cycle],
    "Handle": [lambda: handle_cycle(lambda core, c: core.call_soon(c))],
    "LoopCore": [loop_cycle],
    "Mailbox": [mailbox_cycle, attached_cycle],
    "Replier": [replier_cycle],
    "Request": [request_cycle],
    "Scope": [scope_cycle],
    "Sink": [lambda: stream_cycle(_native.Sink)],
    "Source": [source_cycle],
    "Spinner": [spinner_cycle],
    "Step": [lambda: stream_cycle(_native.Step)],
    "Stream": [lambda: stream_cycle(_native.Stream)],
    "TimerHandle": [lambda: handle_cycle(lambda core, c: core.call_at(1, c))],
}


def test_every_collected_type_has_a_cycle() -> None:
    assert {t.__name__ for t in HEAP_TYPES if t.__flags__ & HAVE_GC} == set(
        CYCLES
    )


@pytest.mark.parametrize("cls", HEAP_TYPES, ids=lambda t: t.__name__)
def test_types_visit_themselves(cls: type) -> None:
    for one in RECIPES[cls.__name__](2):
        assert gc.is_tracked(one) == bool(cls.__flags__ & HAVE_GC)
        if gc.is_tracked(one):
            assert cls in gc.get_referents(one)


@pytest.mark.parametrize("make", [m for some in CYCLES.values() for m in some])
def test_cycles_are_collected(make: Callable[[], Any]) -> None:
    gc.collect()
    descriptors = len(open_descriptors())
    references = [weakref.ref(make()) for _ in range(20)]
    gc.collect()
    assert [r() for r in references] == [None] * 20
    assert len(open_descriptors()) == descriptors


# --- traffic ---


def resident(pid: int) -> int:
    """Bytes of memory that a process occupies."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


async def ask_often(target: Any, count: int, window: int = 100) -> None:
    """*count* asks, *window* of them under way at once."""
    for first in range(0, count, window):
        many = range(first, min(first + window, count))
        assert await asyncio.gather(
            *(pn.send(target, "add", n, 1) for n in many)
        ) == [n + 1 for n in many]


async def tell_often(target: Any, count: int) -> None:
    for n in range(count):
        await pn.tell(target, "add", n, 1)
    await pn.send(target, "ping")


async def fail_often(target: Any, count: int) -> None:
    for _ in range(count // 10):
        found = await asyncio.gather(
            *(
                pn.send(target, "fails", commands.Odd, "odd", bytes(100))
                for _ in range(6)
            ),
            pn.send(target, "no_such_command"),
            pn.send("nobody", "ping"),
            pn.send(target, "unpicklable"),
            pn.send(target, "fails_later", ValueError, "later"),
            return_exceptions=True,
        )
        assert all(isinstance(one, Exception) for one in found)


async def send_large(target: Any, count: int) -> None:
    for _ in range(count // 20):
        assert len(await pn.send(target, "echo", bytes(300_000))) == 300_000


async def cancel_often(target: Any, count: int) -> None:
    mailbox = use_actor().mailbox
    for _ in range(count // 10):
        asked = [pn.send(target, "nap", 0.0) for _ in range(10)]
        for one in asked:
            one.cancel()
        assert not mailbox.stats()["pending"]
        assert await pn.send(target, "ping") == "pong"


async def ask_itself(target: Any, count: int) -> None:
    for n in range(count):
        assert await pn.send("arbiter", "add", n, 1) == n + 1


async def run_functions(target: Any, count: int) -> None:
    for _ in range(count // 5):
        await ask(target, commands.pid)
        await ask(target, lambda actor: [actor.aid])


async def coroutines(target: Any, count: int) -> None:
    for _ in range(count // 10):
        await asyncio.gather(
            *(pn.send(target, "nap", 0.0, n) for n in range(10))
        )


async def stream_often(target: Any, count: int) -> None:
    for _ in range(count // 100):
        got = [n async for n in pn.stream(target, "numbers", 150)]
        assert len(got) == 150
        async for n in pn.stream(target, "numbers", 10**9):
            if n == 100:
                break
        for name in ("odd_item", "ping", "no_such_command"):
            stream = pn.stream(target, name, "")
            with contextlib.suppress(Exception):
                async for _ in stream:
                    pass
        asked = [
            asyncio.ensure_future(
                anext(pn.stream(target, "stops_and_waits", 0, ""))
            )
            for _ in range(5)
        ]
        await asyncio.sleep(0)
        for one in asked:
            one.cancel()
        del asked
        await asyncio.sleep(0)
    await pn.send(target, "ping")


TRAFFIC = [
    ask_often,
    tell_often,
    fail_often,
    send_large,
    cancel_often,
    ask_itself,
    run_functions,
    coroutines,
    stream_often,
]


@pytest.mark.parametrize("traffic", TRAFFIC)
@pytest.mark.usefixtures("nothing_left")
def test_traffic_leaves_no_objects(
    traffic: Callable[[Any, int], Awaitable[None]],
) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await traffic(worker, 200)
        here, there = object_count(), await ask(worker, object_count)
        await traffic(worker, 2000)
        assert object_count() < here + 150
        assert await ask(worker, object_count) < there + 150

    run(main)


async def settle(worker: Any) -> None:
    """Let what one end collects end at the other, a few times."""
    for _ in range(3):
        traced()
        await ask(worker, traced)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("traffic", TRAFFIC)
def test_traffic_leaves_no_memory(
    traffic: Callable[[Any, int], Awaitable[None]],
) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await traffic(worker, 200)
        await ask(worker, start_tracing)
        tracemalloc.start()
        try:
            await traffic(worker, 200)
            await settle(worker)
            here, there = traced(), await ask(worker, traced)
            await traffic(worker, 1000)
            await settle(worker)
            assert traced() < here + 60_000
            assert await ask(worker, traced) < there + 60_000
        finally:
            tracemalloc.stop()

    run(main)


async def relay_often(one: Any, other: Any, count: int) -> None:
    assert await pn.send(one, "ping_often", other, count) == count


@pytest.mark.usefixtures("nothing_left")
def test_what_passes_the_arbiter_leaves_nothing_there() -> None:
    async def main() -> None:
        one, other = await pn.spawn(), await pn.spawn()
        await relay_often(one, other, 200)
        here = object_count()
        tracemalloc.start()
        try:
            await relay_often(one, other, 200)
            memory = traced()
            for _ in range(10):
                await relay_often(one, other, 200)
            assert traced() < memory + 60_000
        finally:
            tracemalloc.stop()
        assert object_count() < here + 150

    run(main)


async def spawn_and_kill(rounds: int, width: int = 1) -> None:
    """Spawn, ask, kill while an ask waits; everything hears of it."""
    for _ in range(rounds):
        workers = await asyncio.gather(*(pn.spawn() for _ in range(width)))
        waiting = [pn.send(w, "nap", 60.0) for w in workers]
        for worker in workers:
            assert await pn.send(worker, "add", 1, 1) == 2
            worker.kill()
        for one in waiting:
            assert isinstance(await failure(one), pn.ActorDown)
        for worker in workers:
            await worker.join(10)


async def spawn_and_stop(rounds: int) -> None:
    for _ in range(rounds):
        worker = await pn.spawn(name="worker", start=[commands.pid])
        pn.tell(worker, "stop")
        await worker.join(10)


async def fail_to_spawn(rounds: int) -> None:
    hook = commands.write  # lacks an argument
    for _ in range(rounds):
        error = await failure(pn.spawn(start=hook))
        assert isinstance(error, pn.ActorStartError)


@pytest.mark.parametrize(
    "rounds", [spawn_and_kill, spawn_and_stop, fail_to_spawn]
)
@pytest.mark.usefixtures("nothing_left")
def test_lives_leave_no_objects(
    rounds: Callable[[int], Awaitable[None]],
) -> None:
    async def main() -> None:
        await rounds(5)
        descriptors, objects = len(open_descriptors()), object_count()
        await rounds(25)
        # Of each ended actor a line is kept, to say why asks to it fail.
        assert object_count() < objects + 25 * 8
        assert len(open_descriptors()) <= descriptors

    run(main)


def test_loops_leave_no_objects() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await ask_often(worker, 10)

    for _ in range(3):
        run(main)
    descriptors, objects = len(open_descriptors()), object_count()
    arbiters = sum(isinstance(o, pn.Arbiter) for o in gc.get_objects())
    for _ in range(10):
        run(main)
    assert object_count() < objects + 100
    assert len(open_descriptors()) <= descriptors
    assert sum(isinstance(o, pn.Arbiter) for o in gc.get_objects()) <= arbiters


def test_loops_dropped_without_a_word_leave_no_descriptors() -> None:
    def drop_one() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(use())
        loop.close()

    async def use() -> None:
        await ask_often(await pn.spawn(), 10)

    start_fork_server()
    drop_one()
    gc.collect()
    descriptors, objects = len(open_descriptors()), object_count()
    for _ in range(5):
        drop_one()
    assert object_count() < objects + 100
    assert len(open_descriptors()) <= descriptors


# --- long runs ---


def figures(workers: dict[str, int]) -> dict[str, Any]:
    """Of this process, the fork server, and its children."""
    server = _forkserver.server_pid()
    assert server is not None
    pids = {"here": os.getpid(), "server": server} | workers
    return {
        "resident": {name: resident(pid) for name, pid in pids.items()},
        "descriptors": {
            name: len(os.listdir(f"/proc/{pid}/fd"))
            for name, pid in pids.items()
        },
        "zombies": sum(
            state == "Z"
            for pid in (os.getpid(), server)
            for state in children_of(pid).values()
        ),
    }


def report(what: str, before: Any, after: Any, seconds: float) -> None:
    print(f"\n{what}, {seconds:.1f} s")
    for key in before:
        print(f"  {key}: {before[key]} -> {after[key]}")


def check_growth(before: Any, after: Any, allowed: int) -> None:
    for name, size in before["resident"].items():
        assert after["resident"][name] < size + allowed, name
    for name, count in before["descriptors"].items():
        assert after["descriptors"][name] <= count, name
    assert after["zombies"] == 0


async def asks_in_numbers(count: int, allowed: int) -> None:
    worker = await pn.spawn()
    await ask_often(worker, 10_000)
    gc.collect()
    objects, there = object_count(), await ask(worker, object_count)
    before = figures({"worker": worker.pid})
    began = time.monotonic()
    await ask_often(worker, count)
    seconds = time.monotonic() - began
    gc.collect()
    after = figures({"worker": worker.pid})
    report(f"{count} asks", before, after, seconds)
    check_growth(before, after, allowed)
    assert object_count() < objects + 150
    assert await ask(worker, object_count) < there + 150


@pytest.mark.usefixtures("nothing_left")
def test_100_000_asks_leave_nothing() -> None:
    # The sanitizer keeps freed memory for a while.
    allowed = 2**30 if SANITIZED else 2**22
    run(lambda: asks_in_numbers(100_000, allowed), 120)


@pytest.mark.soak
@pytest.mark.usefixtures("nothing_left")
def test_1_000_000_asks_leave_nothing() -> None:
    allowed = 2**30 if SANITIZED else 2**22
    run(lambda: asks_in_numbers(1_000_000, allowed), 1200)


@pytest.mark.soak
@pytest.mark.usefixtures("nothing_left")
def test_1_000_lives_leave_nothing() -> None:
    async def main() -> None:
        # Ends of the last thousand actors are remembered, then no more.
        await spawn_and_kill(275, 4)
        objects = object_count()
        before = figures({})
        began = time.monotonic()
        await spawn_and_kill(250, 4)
        seconds = time.monotonic() - began
        await until(lambda: figures({})["zombies"] == 0, "zombies are reaped")
        after = figures({})
        report("1000 lives", before, after, seconds)
        check_growth(before, after, 2**30 if SANITIZED else 2**22)
        assert object_count() < objects + 150

    start_fork_server()
    run(main, 1200)


def test_a_killed_fork_server_leaves_nothing() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        server = _forkserver.server_pid()
        assert server is not None
        os.kill(server, signal.SIGKILL)
        await worker.join(10)
        await pn.spawn()

    run(main)
    descriptors = len(open_descriptors())
    for _ in range(3):
        run(main)
    assert len(open_descriptors()) <= descriptors
    assert "Z" not in children_of(os.getpid()).values()
