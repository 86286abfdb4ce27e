"""Streams spoken by hand: what breaks the rules of credit does no harm."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from actors_help import failure
from wire_help import (
    ASK,
    CANCEL,
    ERROR,
    GRANT,
    ITEM,
    REPLY,
    Port,
    RawLink,
    Said,
    envelope,
    frame,
    split,
    window,
)

from pulsar_native import _native
from pulsar_native.exceptions import ProtocolError

PEER, HERE = 1, 2


class StreamPort(Port):
    """Targets are numbers, failures LookupErrors; sources are kept."""

    def __init__(self) -> None:
        super().__init__(pickle.loads)
        self.sources: list[_native.Source] = []

    def resolve(self, target: int) -> tuple[int, None]:
        return target, None

    def load_error(self, *why: Any) -> LookupError:
        return LookupError(*why[:2])

    def drive(self, source: _native.Source, items: Any) -> Any:
        self.sources.append(source)
        return self.keep()

    async def keep(self) -> None:
        await asyncio.Event().wait()

    def start_task(self, awaitable: Any, context: Any) -> Any:
        return asyncio.Task(awaitable, context=context)


class Link(RawLink):
    """The mailbox, number 2, of a running loop, and its link to number 1."""

    def __init__(self) -> None:
        self.streams = StreamPort()
        super().__init__(self.streams)
        self.mailbox.attach(asyncio.get_running_loop())
        command = _native.BaseCommand()
        command.name, command.ack = "yields", True
        command.function = lambda request: iter(())
        self.streams.table["yields"] = command

    def close(self) -> None:
        for task in list(self.mailbox.tasks):
            task.cancel()
        super().close()

    def heard(self) -> list[Said]:
        """What the mailbox has said by now, but hello."""
        self.mailbox.flush()
        data = b""
        while True:
            try:
                data += self.socket.recv(1 << 20)
            except BlockingIOError:
                return [said for said in split(data) if said.kind != 1]

    def stream(self, items: int) -> tuple[_native.Stream[Any], int]:
        """Ask number 1 for a stream; the ask's id too."""
        self.heard()
        stream = self.mailbox.stream(PEER, "any", (), {}, items)
        (asked,) = self.heard()
        assert asked.kind == ASK
        return stream, asked.id

    def source(self, items: int, id: int = 7) -> _native.Source:
        """Number 1 asks for a stream."""
        self.say(
            ASK,
            pickle.dumps(()),
            id=id,
            command=b"yields",
            extension=window(items),
        )
        return self.streams.sources[-1]

    def item(self, id: int, value: object) -> None:
        self.say(ITEM, pickle.dumps(value), id=id)


def with_link(test: Callable[[Link], Any]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            with Link() as link:
                await asyncio.wait_for(test(link), 20)
                assert not link.lost

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


def grant(items: int) -> bytes:
    return struct.pack("<Q", items)


# --- the consumer ---


@with_link
async def test_the_ask_tells_the_window(link: Link) -> None:
    link.mailbox.stream(PEER, "any", (), {}, 513)
    link.mailbox.flush()
    assert window(513) in link.socket.recv(4096)


@with_link
async def test_the_consumer_grants_by_the_half(link: Link) -> None:
    stream, id = link.stream(4)
    for n in range(4):
        link.item(id, n)
    assert [await anext(stream), link.heard()] == [0, []]
    assert await anext(stream) == 1
    assert link.heard() == [Said(GRANT, HERE, PEER, id, grant(2))]
    assert [await anext(stream), await anext(stream)] == [2, 3]
    assert link.heard() == [Said(GRANT, HERE, PEER, id, grant(2))]
    link.say(REPLY, pickle.dumps(None), id=id)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert link.heard() == []


@with_link
async def test_more_items_than_were_granted_end_the_stream(link: Link) -> None:
    stream, id = link.stream(3)
    for n in range(5):
        link.item(id, n)
    assert link.heard() == [Said(CANCEL, HERE, PEER, id, b"")]
    assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ProtocolError):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


@with_link
async def test_items_that_nobody_waits_for_are_dropped(link: Link) -> None:
    stream, id = link.stream(3)
    for other in (0, id + 1, 2**64 - 1):
        link.item(other, "unasked")
    asked = link.mailbox.send(PEER, "any", (), {})
    (said,) = link.heard()
    link.item(said.id, "not of a stream")
    link.item(id, "right")
    assert await anext(stream) == "right"
    link.say(REPLY, pickle.dumps(1), id=said.id)
    assert await asked == 1
    await stream.aclose()
    assert link.heard() == [Said(CANCEL, HERE, PEER, id, b"")]
    link.item(id, "late")
    link.say(REPLY, pickle.dumps(None), id=id)


@pytest.mark.parametrize(
    "payload", [b"", b"\x80", b"\x80\x05", b"\x01", b"no pickle", b"\xff" * 9]
)
def test_an_item_that_is_no_value_ends_the_stream(payload: bytes) -> None:
    @with_link
    async def run(link: Link) -> None:
        stream, id = link.stream(3)
        link.say(ITEM, payload, id=id)
        assert isinstance(await failure(anext(stream)), Exception)
        assert link.heard() == [Said(CANCEL, HERE, PEER, id, b"")]

    run()


@with_link
async def test_a_failure_comes_behind_the_items(link: Link) -> None:
    stream, id = link.stream(3)
    link.item(id, "first")
    link.say(ERROR, b"", id=id, command=b"odd")
    assert await anext(stream) == "first"
    with pytest.raises(LookupError):
        await anext(stream)


@with_link
async def test_the_end_of_the_mailbox_ends_its_streams(link: Link) -> None:
    stream, id = link.stream(3)
    link.item(id, "first")
    link.mailbox.fail(None, None)
    assert await anext(stream) == "first"
    with pytest.raises(asyncio.CancelledError):
        await anext(stream)


# --- the source ---


@with_link
async def test_the_source_stops_where_the_window_ends(link: Link) -> None:
    source = link.source(3)
    assert source.put("a") is True and source.put("b") is True
    waiting: Any = source.put("c")
    assert [said.kind for said in link.heard()] == [ITEM] * 3
    assert not waiting.done()
    link.say(GRANT, grant(1), id=7)
    assert waiting.done()
    assert isinstance(source.put("d"), asyncio.Future)


@with_link
async def test_grants_that_cannot_be_are_no_grants(link: Link) -> None:
    source = link.source(1)
    waiting: Any = source.put("a")
    for payload in (b"", b"\1", grant(1)[:7], grant(1) + b"\0", bytes(4096)):
        link.say(GRANT, payload, id=7)
    link.say(GRANT, grant(0), id=7)
    for id in (0, 6, 8, 2**64 - 1):
        link.say(GRANT, grant(1), id=id)
    assert not waiting.done()
    link.say(GRANT, grant(2**64 - 1), id=7)
    assert waiting.done()
    # More than was sent is no more than all of that.
    assert isinstance(source.put("b"), asyncio.Future)


@with_link
async def test_a_window_has_limits(link: Link) -> None:
    source = link.source(2**64 - 1)
    for n in range(65535):
        assert source.put(None) is not None
        if n % 1000 == 0:
            link.heard()
    assert isinstance(source.put(None), asyncio.Future)


@with_link
async def test_a_source_that_nobody_wants_raises(link: Link) -> None:
    source = link.source(8)
    assert source.put("a") is True
    link.say(CANCEL, id=7)
    with pytest.raises(asyncio.CancelledError):
        source.put("b")
    assert [said.kind for said in link.heard()] == [ITEM]


@with_link
async def test_a_source_whose_link_has_gone_raises(link: Link) -> None:
    source = link.source(8)
    link.mailbox.close()
    with pytest.raises(asyncio.CancelledError):
        source.put("b")


def test_random_words_of_streams_break_nothing() -> None:
    kinds = [ITEM, GRANT, CANCEL, REPLY, ERROR, ASK]
    payloads = [b"", grant(1), grant(2**63), pickle.dumps(3), b"\x80", b"\1"]

    @with_link
    async def run(link: Link) -> None:
        for _ in range(30):
            stream, id = link.stream(random.choice([1, 5]))
            asked = random.randrange(1, 20)
            link.source(random.choice([1, 5]), id=asked)
            for _ in range(20):
                link.write(
                    frame(
                        envelope(
                            random.choice(kinds),
                            random.choice(payloads),
                            source=PEER,
                            target=HERE,
                            id=random.choice([id, id, asked, asked, 0]),
                            command=random.choice([b"", b"yields", b"odd"]),
                            extension=random.choice([b"", window(2)]),
                        )
                    )
                )
                for source in link.streams.sources[-2:]:
                    if random.random() < 0.3:
                        with contextlib.suppress(asyncio.CancelledError):
                            source.put(random.random())
            await stream.aclose()
            await asyncio.sleep(0)

    run()
