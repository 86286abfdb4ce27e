"""Commands, and functions for the command ``run``, in the tests of actors.

No test module, so that actors import it without pytest.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
import threading
import time
from typing import Any

import pulsar_native as pn


class Odd(Exception):
    """An exception of its own type, with something in it."""

    def __init__(self, text: str, extra: object = None) -> None:
        super().__init__(text)
        self.extra = extra


class Picky(Exception):
    """Cannot be made from its own ``args``."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Locked(Exception):
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("locked", threading.Lock())


class End(BaseException):
    """What ends an actor without being one of the usual ones."""


class Explodes:
    """Pickles well, and cannot be unpickled."""

    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> None:
    raise LookupError("boom in unpickling")


@pn.command()
def add(request: Any, a: Any, b: Any = 1) -> Any:
    return a + b


@pn.command()
def keywords(request: Any, /, *args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@pn.command()
def CamelCase(request: Any) -> str:
    return "camel"


@pn.command()
def fails(request: Any, kind: type[BaseException], *args: Any) -> None:
    raise kind(*args)


@pn.command()
async def fails_later(
    request: Any, kind: type[BaseException], *args: Any
) -> None:
    await asyncio.sleep(0)
    raise kind(*args)


@pn.command()
async def fails_at_once(
    request: Any, kind: type[BaseException], *args: Any
) -> None:
    raise kind(*args)


@pn.command()
async def nap(request: Any, seconds: float, value: Any = None) -> Any:
    await asyncio.sleep(seconds)
    return value


@pn.command()
def block(request: Any, seconds: float) -> None:
    time.sleep(seconds)


@pn.command()
def unpicklable(request: Any) -> Any:
    return threading.Lock()


@pn.command()
def result_explodes(request: Any) -> Any:
    return Explodes()


@pn.command()
def size(request: Any, data: Any) -> int:
    return len(data)


@pn.command()
def data(request: Any, count: int) -> bytes:
    return b"x" * count


heard: list[Any] = []


@pn.command(ack=False)
def hear(request: Any, what: Any) -> Any:
    heard.append(what)
    return threading.Lock()  # nobody gets it


@pn.command()
def heard_so_far(request: Any) -> list[Any]:
    return heard


@pn.command()
async def hear_later(request: Any, what: Any) -> None:
    heard.append(what)
    await asyncio.sleep(0)


@pn.command()
def caller(request: Any) -> Any:
    return request.caller


@pn.command()
async def pass_on(
    request: Any, target: Any, command: str, /, *args: Any, **kwargs: Any
) -> Any:
    return await pn.send(target, command, *args, **kwargs)


@pn.command()
async def ping_often(request: Any, target: Any, count: int) -> int:
    got = await asyncio.gather(
        *(pn.send(target, "add", n, 1) for n in range(count))
    )
    assert got == [n + 1 for n in range(count)]
    return count


@pn.command()
async def pass_on_failure(
    request: Any, target: Any, command: str, *args: Any
) -> tuple[str, str]:
    try:
        await pn.send(target, command, *args)
    except Exception as error:
        return type(error).__name__, str(error)
    return "", ""


@pn.command()
def awaitable_result(request: Any, value: Any) -> Any:
    future = asyncio.get_running_loop().create_future()
    future.get_loop().call_soon(future.set_result, value)
    return future


# --- for the command ``run`` ---


def pid(actor: Any) -> int:
    return os.getpid()


def get(actor: Any, name: str) -> Any:
    return getattr(actor, name)


def kill_self(actor: Any, sig: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), sig)


def exit_at_once(actor: Any, code: int) -> None:
    os._exit(code)


def ignore_sigterm(actor: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def close_link(actor: Any) -> None:
    """Close the descriptor of this actor's only socket."""
    os.close(link_descriptor())


def close_links(actor: Any) -> None:
    """The same for all: that to the arbiter, and direct ones."""
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if _is_link(fd):
            os.close(fd)


def link_descriptor() -> int:
    for name in os.listdir("/proc/self/fd"):
        if _is_link(int(name)):
            return int(name)
    raise AssertionError("no link")


def _is_link(fd: int) -> bool:
    try:
        copy = os.dup(fd)
        if not stat.S_ISSOCK(os.fstat(copy).st_mode):
            os.close(copy)
            return False
    except OSError:
        return False
    with socket.socket(fileno=copy) as file:
        size = file.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        return size == 2 * 80 * 1024  # the kernel doubles what a link asks


def write(actor: Any, text: str) -> None:
    print(text, file=sys.stderr, flush=True)
