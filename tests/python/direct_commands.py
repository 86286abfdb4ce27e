"""What actors that talk with each other run in the tests of direct links.

No test module, so that actors import it without pytest.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pulsar_native as pn


def _taken() -> dict[str, list[Any]]:
    actor = pn.get_actor()
    assert actor is not None
    taken: dict[str, list[Any]] = actor.extra.setdefault("taken", {})
    return taken


@pn.command()
def take(request: Any, number: int, payload: bytes = b"") -> int:
    """Keep the number under its sender; the answer is the payload's size."""
    _taken().setdefault(request.caller.aid, []).append(number)
    return len(payload)


@pn.command()
def taken(request: Any, aid: str) -> list[int]:
    """The numbers that came from *aid*, in the order of their coming."""
    return _taken().get(aid, [])


@pn.command()
def stats(request: Any) -> dict[str, int]:
    """Of the mailbox."""
    found: dict[str, int] = request.actor.mailbox.stats()
    return found


@pn.command()
async def say(
    request: Any, other: Any, first: int, count: int, size: int = 0
) -> None:
    """Tell *other* so many numbers, each with *size* bytes."""
    payload = bytes(size)
    for number in range(first, first + count):
        await pn.tell(other, "take", number, payload)
        if number % 100 == 0:
            await asyncio.sleep(0)


@pn.command()
async def ask_on(request: Any, other: Any, count: int) -> list[int]:
    """Ask *other* one thing behind the other; the answers."""
    return [
        await pn.send(other, "take", number, bytes(number))
        for number in range(count)
    ]


@pn.command()
async def ask_and_mark(
    request: Any, other: Any, count: int, mark: str
) -> None:
    """The same, and leave a file."""
    for number in range(count):
        await pn.send(other, "take", number)
    with open(mark, "w"):
        pass


@pn.command()
async def ask_many(
    request: Any, other: Any, first: int, count: int
) -> tuple[int, int]:
    """Ask *other* all at once: how many answers came, and how many were lost
    with a link."""
    asks = []
    for number in range(first, first + count):
        asks.append(pn.send(other, "take", number))
        if number % 20 == 0:
            await asyncio.sleep(0)
    ends = await asyncio.gather(*asks, return_exceptions=True)
    lost = [end for end in ends if isinstance(end, pn.ActorDown)]
    assert all("link" in end.reason for end in lost), lost
    return ends.count(0), len(lost)


@pn.command()
def break_direct_link(request: Any) -> None:
    """Shut this process's direct links down, if there are any."""
    links = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            end = socket.socket(fileno=os.dup(int(name)))
            size = end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            if size == 2 * 80 * 1024:  # the kernel doubles what a link asks
                links.append((int(name), end))
            else:
                end.close()
    links.sort(key=lambda found: found[0])
    for _, end in links[1:]:  # the first is the arbiter's
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    for _, end in links:
        end.close()


@pn.command()
def limit_descriptors(request: Any, limit: int) -> None:
    """Lower what this process may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


@pn.command()
async def ask_until_down(request: Any, other: Any) -> tuple[int, Any]:
    """Ask, many at a time, until *other* is down: how many were answered,
    and how it ended for all others, if for all the same."""
    answered, ends = 0, set()
    while not ends:
        asks = [pn.send(other, "take", number) for number in range(50)]
        for end in await asyncio.gather(*asks, return_exceptions=True):
            if end == 0:
                answered += 1
            else:
                assert isinstance(end, pn.ActorDown), repr(end)
                ends.add((end.aid, end.reason, end.signal))
    return answered, ends


@pn.command()
async def fate(request: Any, other: Any) -> tuple[str, int | None]:
    """Ask what is never answered: why."""
    try:
        await pn.send(other, "wait_for_ever")
    except pn.ActorDown as error:
        return error.reason, error.signal
    raise AssertionError("answered")


@pn.command()
async def wait_for_ever(request: Any) -> None:
    """Never ends by itself."""
    await asyncio.Event().wait()


@contextlib.contextmanager
def no_free_descriptors() -> Iterator[None]:
    """Let this process open none in the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/dev/null", os.O_RDONLY)  # the lowest number
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


_block = contextlib.ExitStack()


@pn.command()
def forbid_descriptors(request: Any, forbid: bool) -> None:
    """Let this process open none from now on, or as before."""
    if forbid:
        _block.enter_context(no_free_descriptors())
    else:
        _block.close()


@pn.command()
def die(request: Any) -> None:
    """At once."""
    os.kill(os.getpid(), signal.SIGKILL)
