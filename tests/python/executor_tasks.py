"""What the tests of the executor have its workers do."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

state: dict[str, Any] = {}


class OwnError(Exception):
    """Raised by tasks."""


class Unpicklable:
    """Cannot travel."""

    def __reduce__(self) -> Any:
        raise TypeError("stays here")


class KillsItsReader:
    """Ends the process that unpickles it, before any task begins."""

    def __reduce__(self) -> Any:
        return _kill_reader, ()


def _kill_reader() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def double(x: int) -> int:
    return 2 * x


def pid(*ignored: object) -> int:
    return os.getpid()


def thread(*ignored: object) -> int:
    return threading.get_ident()


def fail(text: str) -> None:
    raise OwnError(text)


def fail_at(x: int, at: int) -> int:
    if x == at:
        raise OwnError(f"at {x}")
    return x


def leave(code: int) -> None:
    sys.exit(code)


def die_at(x: int, at: int) -> int:
    if x == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def unpicklable() -> Any:
    return Unpicklable()


async def later(x: int) -> int:
    await asyncio.sleep(0)
    return x


def remember(key: str, value: Any) -> None:
    state[key] = value


def recall(key: str) -> Any:
    return state.get(key)


def refuse(text: str) -> None:
    raise OwnError(text)


def refuse_while(path: str) -> None:
    if Path(path).exists():
        raise OwnError("not yet")


def mark(path: str, x: int) -> int:
    """Leave a trace that this was called with *x*."""
    with open(path, "a") as file:
        file.write(f"{x}\n")
    return x


def wait_for(path: str, seconds: float = 20) -> str:
    """Until that file is there."""
    until = time.monotonic() + seconds
    while not Path(path).exists():
        if time.monotonic() > until:
            return "late"
        time.sleep(0.002)
    return "there"


def begin_and_wait(begun: str, path: str) -> int:
    """Say that it has begun, with its process, and wait for a file."""
    Path(begun).write_text(str(os.getpid()))
    wait_for(path)
    return os.getpid()


class RaisesInItsReader:
    """Fails where it is unpickled."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("cannot be read")
