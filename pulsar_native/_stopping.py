"""What the ends of actors of all kinds have in common."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Set
from typing import Any

from ._native import Cell
from .exceptions import HaltServer

__all__ = [
    "AT_ONCE",
    "LAST_WORDS",
    "cancel_commands",
    "close_server",
    "describe_end",
    "describe_fully",
    "finish_commands",
]

LAST_WORDS = 0.5  # seconds for the last bytes to leave
AT_ONCE = 0.25  # seconds within which several requests count as one
_NONE: frozenset[asyncio.Task[Any]] = frozenset()


def cancel_commands(cell: Cell, but: Set[asyncio.Task[Any]] = _NONE) -> None:
    """Cancel the commands of an actor that run as tasks; their askers hear
    of its end instead."""
    cell.ending = True
    if cell.busy:
        for task in list(cell.tasks):
            if task not in but:
                task.cancel()


async def finish_commands(
    cell: Cell, seconds: float, but: Set[asyncio.Task[Any]] = _NONE
) -> None:
    """Let commands that run finish, for so long; then cancel them."""
    if tasks := cell.tasks - but if cell.busy else None:
        await asyncio.wait(tasks, timeout=seconds)
        cancel_commands(cell)
        if cell.busy:
            await asyncio.wait(cell.tasks.copy(), timeout=LAST_WORDS)


def close_server(server: Any) -> None:
    """Close what an actor has in its ``servers``."""
    with contextlib.suppress(Exception):
        server.close()


def describe(error: BaseException) -> str:
    """One line."""
    text = str(error)
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def describe_end(error: BaseException) -> str:
    """What ends an actor: with its traceback, unless it asks for the end."""
    if isinstance(error, HaltServer | SystemExit | KeyboardInterrupt):
        return describe(error)
    return describe_fully(error)


def describe_fully(error: BaseException) -> str:
    """That line, and the traceback behind it."""
    text = "".join(traceback.format_exception(error))
    return f"{describe(error)}\n{text}"
