"""``Executor``: a ``concurrent.futures.Executor`` whose workers are actors."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import itertools
import sys
import threading
import weakref
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
)
from concurrent.futures import Future
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from ._amap import Mapping, check_count
from ._context import running_loop
from ._crew import Plan
from ._crew_hosts import Host, LoopHost, ThreadHost
from ._crew_work import Work
from ._native import usable_cpus
from ._progress import OnProgress
from .kinds import kind_name

__all__ = ["Executor"]

P = ParamSpec("P")
T = TypeVar("T")


class Executor(concurrent.futures.Executor):
    """Calls functions in actors; outlives any of them.

    with pn.Executor(4) as ex:
        print(ex.submit(pow, 2, 10).result())
        print(list(ex.map(abs, range(-9, 0))))

    *max_workers* actors at most, by default as many as there are usable
    processors, of the given *kind*; each begins with *initializer*
    ``(*initargs)`` and is replaced after *max_tasks_per_child* tasks. They
    are spawned as they are needed.

    Made where a loop runs it belongs to that loop: ``submit`` may be called
    in any thread, but the loop's own must await results, not wait for them;
    it ends with its actor. Made elsewhere it has a loop in a thread of its
    own.

    A worker that dies fails the tasks that it had begun, with ActorDown;
    those that it had not begun go to another, and one that replaces it is
    spawned. If none can be spawned, because the initializer raises, say, the
    tasks that wait fail with BrokenExecutor; later ones try anew.

    Raises ValueError or TypeError for what cannot be.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        kind: str = "process",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        max_tasks_per_child: int | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = usable_cpus()
        check_count("max_workers", max_workers)
        if max_tasks_per_child is not None:
            check_count("max_tasks_per_child", max_tasks_per_child)
        if initializer is not None and not callable(initializer):
            raise TypeError(
                f"initializer must be callable, not {initializer!r}"
            )
        self._plan = Plan(
            max_workers,
            kind_name(kind),
            initializer,
            tuple(initargs),
            max_tasks_per_child,
        )
        self._lock = threading.Lock()
        self._host: Host | None = None
        self._shut = False
        if running_loop() is not None:
            self._take_host(LoopHost(self._plan))

    def _take_host(self, host: Host) -> Host:
        self._host = host
        # Dropped without a word: what was submitted is done nevertheless.
        weakref.finalize(self, host.close).atexit = False
        return host

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Call ``fn(*args, **kwargs)`` in a worker; the future is its result.

        What it gives is awaited if it can be. It goes by name where the
        worker can import it, else by value. The future fails with what *fn*
        raised, the text of its traceback as the cause. TypeError for what
        cannot be called, RuntimeError after ``shutdown``.
        """
        _check_callable(fn)
        host = self._open_host()
        future: _Result[T] = _Result(host)
        host.put(Work(future, (fn, args, kwargs)))
        return future

    def _open_host(self) -> Host:
        host = self._host
        if host is None or self._shut:
            with self._lock:
                if self._shut:
                    raise RuntimeError(
                        "cannot schedule new futures after shutdown"
                    )
                host = self._host or self._take_host(ThreadHost(self._plan))
        return host

    def _submit_in_loop(
        self, fn: Callable[..., T], args: tuple[Any, ...]
    ) -> asyncio.Future[T]:
        """``submit`` for a loop, without a concurrent future if it can be."""
        host = self._open_host()
        if not host.on_loop():
            return asyncio.wrap_future(self.submit(fn, *args))
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        host.put(Work(future, (fn, args, {})))
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **options: Any,
    ) -> Iterator[T]:
        """As ``map(fn, *iterables)``, the calls made at once, in workers, in
        tasks of *chunksize* calls; results come in order.

        TimeoutError *timeout* seconds after the call if a result is not
        there. Not on the thread of the executor's own loop: see ``amap``.
        """
        check_count("chunksize", chunksize)
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **options)
        items = zip(*iterables, strict=False)
        size = min(chunksize, sys.maxsize)
        chunks = iter(lambda: list(itertools.islice(items, size)), [])
        results = super().map(
            functools.partial(_call_each, fn),
            chunks,
            timeout=timeout,
            **options,
        )
        return _flatten(results)

    def amap(
        self,
        fn: Callable[[Any], T],
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool = True,
        limit: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> AsyncIterator[T]:
        """Iterate over ``fn(item)`` for each of *items*, called in workers.

        Results come in the order of the items, or as they are done if not
        *ordered*. At most *limit* items, by default 16 for each worker, are
        taken ahead of whoever iterates. *on_progress* is called as
        ``f(done, total, "")``, total being None if *items* has no length.

        What *fn* or *items* raises leaves the iteration; then, and when it is
        left, what has not begun is cancelled. If ``shutdown`` cancels that,
        ``concurrent.futures.CancelledError`` leaves it.
        """
        if limit is None:
            limit = 16 * self._plan.size
        _check_callable(fn)
        submit = functools.partial(self._submit_in_loop, fn)
        return Mapping(submit, items, ordered, limit, on_progress).results()

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False
    ) -> None:
        """Take no more tasks; stop the workers once all tasks are done.

        With *cancel_futures* those that wait are cancelled. With *wait* it
        returns when everything has stopped, except on the thread of the
        executor's own loop: there ``async with`` waits.
        """
        with self._lock:
            self._shut = True
            host = self._host
        if host is not None:
            host.close(cancel_futures)
            if wait:
                host.join()

    async def __aenter__(self) -> Executor:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown(wait=False)
        if self._host is not None:
            await self._host.wait()


class _Result(Future[T]):
    """Refuses to be waited for where that would be for ever."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host = host

    def result(self, timeout: float | None = None) -> T:
        self._check()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._check()
        return super().exception(timeout)

    def _check(self) -> None:
        if not self.done() and self._host.on_loop():
            raise RuntimeError(
                "the executor works in this thread's loop, which must not "
                "block: await loop.run_in_executor(...) or "
                "asyncio.wrap_future(...)"
            )


def _check_callable(fn: Any) -> None:
    if not callable(fn):
        raise TypeError(f"a task is a function, not {fn!r}")


def _call_each(fn: Callable[..., T], chunk: list[tuple[Any, ...]]) -> list[T]:
    return [fn(*args) for args in chunk]


def _flatten(lists: Iterator[list[T]]) -> Iterator[T]:
    for each in lists:
        each.reverse()
        while each:
            yield each.pop()
