"""The worker of an executor: what lives in its actor, and how much it began.

A page of memory, a number for each worker, tells what a worker that has died
had begun: those of its tasks that it had not can go to another one. The number
is 0 until the worker has found the page, then 1 and its tasks.
"""

from __future__ import annotations

import asyncio
import importlib
import mmap
import os
import sys
from collections.abc import Callable
from typing import Any

from . import _pickling
from ._crew_names import Sent
from .commands import command

__all__ = ["Hand", "Page", "Pickled", "Raised"]

_WIDTH = 8  # bytes of a number
_SMALL = frozenset({type(None), bool, int, float, complex, str, bytes})


class Page:
    """The executor's side: how many tasks each worker has begun.

    Without memfd, or where the workers cannot open it, nothing is known.
    """

    def __init__(self, slots: int) -> None:
        self._free = list(range(slots))
        self._fd = -1
        self._map: mmap.mmap | None = None
        try:
            self._fd = os.memfd_create("pulsar_native-begun", os.MFD_CLOEXEC)
            os.ftruncate(self._fd, slots * _WIDTH)
            self._map = mmap.mmap(self._fd, slots * _WIDTH)
        except OSError:
            self.close()

    @property
    def path(self) -> str | None:
        """Where other processes of this user find it."""
        if self._fd < 0:
            return None
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def take(self) -> int:
        """A slot for a new worker, at 0."""
        slot = self._free.pop()
        if self._map is not None:
            self._map[slot * _WIDTH : (slot + 1) * _WIDTH] = bytes(_WIDTH)
        return slot

    def give_back(self, slot: int) -> None:
        """The worker of that slot has ended."""
        self._free.append(slot)

    def begun(self, slot: int) -> int | None:
        """How many tasks the worker of that slot has begun, if it can tell."""
        if self._map is None:
            return None
        data = self._map[slot * _WIDTH : (slot + 1) * _WIDTH]
        told = int.from_bytes(data, sys.byteorder)
        return told - 1 if told else None

    def close(self) -> None:
        """Let go of the memory. More than one call does no harm."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Pickled:
    """One of several results, pickled where a failure is its own."""

    def __init__(self, pickled: bytes) -> None:
        self.pickled = pickled

    def __reduce__(self) -> Any:
        return Pickled, (self.pickled,)


class Raised:
    """The result of a task that raised what would end the actor."""

    def __init__(self, pickled: bytes) -> None:
        self.pickled = pickled

    def __reduce__(self) -> Any:
        return Raised, (self.pickled,)

    def error(self) -> BaseException:
        """What it raised."""
        return _pickling.loads_exception(self.pickled)


class Hand:
    """The object of a worker's actor.

    *page* is the path of the executor's page, or None; *slot* this worker's
    number in it.
    """

    def __init__(
        self,
        page: str | None,
        slot: int,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
    ) -> None:
        self._told = 1  # and one more for each task that was begun
        self._slot = slot
        self._known: dict[str | int, Callable[..., Any]] = {}
        self._pickled: dict[int, bytes] = {}
        self._page = None if page is None else _open(page)
        if self._page is not None:
            self._page[slot] = 1
        if initializer is not None:
            initializer(*initargs)

    @command()
    def work(
        self,
        function: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Call it, or what is found there; what it gives is awaited if it can
        be."""
        self._count()
        try:
            result = self._function(function)(*args, **kwargs)
        except Exception:
            raise
        except BaseException as error:
            return Raised(_pickling.dumps_exception(error))
        if hasattr(result, "__await__"):
            return _awaited(result)
        return result

    def _function(self, sent: Any) -> Callable[..., Any]:
        """What was sent as _crew_names.py says."""
        if type(sent) is tuple:
            key, pickled = sent
            self._pickled[key] = pickled
            sent = key
        if not isinstance(sent, str | int):
            return sent  # type: ignore[no-any-return]
        return self._known.get(sent) or self._find(sent)

    def _find(self, sent: str | int) -> Callable[..., Any]:
        if isinstance(sent, int):
            found: Any = _pickling.loads(self._pickled[sent])
        else:
            module, _, name = sent.partition(":")
            found = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        self._known[sent] = found
        return found  # type: ignore[no-any-return]

    def _count(self) -> None:
        self._told += 1
        if self._page is not None:
            self._page[self._slot] = self._told

    @command()
    def together(self, calls: list[Sent]) -> Any:
        """Several at once: the results, or what stands for them."""
        results: list[Any] = []
        waits = False
        for function, args, kwargs in calls:
            self._count()
            try:
                result = self._function(function)(*args, **kwargs)
            except BaseException as error:
                result = Raised(_pickling.dumps_exception(error))
            else:
                if type(result) not in _SMALL:
                    if hasattr(result, "__await__"):
                        waits = True
                    else:
                        result = _packed(result)
            results.append(result)
        return _all_awaited(results) if waits else results


def _open(path: str) -> memoryview | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return memoryview(mmap.mmap(fd, 0)).cast("Q")
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)


def _packed(result: Any) -> Pickled | Raised:
    try:
        return Pickled(_pickling.dumps(result))
    except Exception as error:
        return Raised(_pickling.dumps_exception(error))


async def _awaited(awaitable: Any) -> Any:
    try:
        return await awaitable
    except (SystemExit, KeyboardInterrupt) as error:
        return Raised(_pickling.dumps_exception(error))


async def _all_awaited(results: list[Any]) -> list[Any]:
    """Those results, what can be awaited replaced by what it gives."""

    async def settle(at: int) -> None:
        try:
            results[at] = _packed(await results[at])
        except BaseException as error:
            results[at] = Raised(_pickling.dumps_exception(error))

    await asyncio.gather(
        *(
            settle(at)
            for at, result in enumerate(results)
            if hasattr(result, "__await__")
        )
    )
    return results
