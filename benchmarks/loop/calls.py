"""What does an event loop cost a call, a timer, a future, a task?

    python benchmarks/loop/calls.py [--rounds N] [QUESTION ...]

The stock loop, ours, uvloop and rloop, those that are installed. Per second of
CPU time of the process, so that a busy machine disturbs less; medians of
interleaved rounds, and the ratio to the stock loop in the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import socket
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import pulsar_native as pn

Loop = asyncio.AbstractEventLoop
Question = Callable[[Loop], int]


def nothing() -> None:
    pass


def chain(loop: Loop) -> int:
    """call_soon, each from the one before"""
    left = 200_000

    def call() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(call)
        else:
            loop.stop()

    loop.call_soon(call)
    loop.run_forever()
    return 200_000


def batch(loop: Loop) -> int:
    """call_soon, 1000 a turn"""
    for _ in range(200):
        for _ in range(1000):
            loop.call_soon(nothing)
        loop.call_soon(loop.stop)
        loop.run_forever()
    return 200_000


def timers_1k(loop: Loop) -> int:
    """1000 timers fired, again and again"""
    return timers(loop, 1000, 50)


def timers_100k(loop: Loop) -> int:
    """100,000 timers fired"""
    return timers(loop, 100_000, 1)


def timers(loop: Loop, count: int, rounds: int) -> int:
    for _ in range(rounds):
        for n in range(count):
            loop.call_later((n * 7919 % count) / count / 100, nothing)
        loop.call_later(0.011, loop.stop)
        loop.run_forever()
    return count * rounds


def cancelled(loop: Loop) -> int:
    """call_later and cancel"""
    for _ in range(100):
        for _ in range(1000):
            loop.call_later(60, nothing).cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()
    return 100_000


def sleep_0(loop: Loop) -> int:
    """sleep(0), one task"""
    return sleeping(loop, 1, 100_000)


def sleep_0_100(loop: Loop) -> int:
    """sleep(0), 100 tasks"""
    return sleeping(loop, 100, 2000)


def sleeping(loop: Loop, tasks: int, each: int) -> int:
    async def sleep() -> None:
        for _ in range(each):
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(sleep() for _ in range(tasks)))

    loop.run_until_complete(main())
    return tasks * each


def futures(loop: Loop) -> int:
    """a future made, resolved, awaited"""

    async def main() -> None:
        for _ in range(50_000):
            future = loop.create_future()
            loop.call_soon(future.set_result, None)
            await future

    loop.run_until_complete(main())
    return 50_000


def tasks(loop: Loop) -> int:
    """create_task, awaited"""

    async def one() -> None:
        pass

    async def main() -> None:
        for _ in range(50_000):
            await asyncio.create_task(one())

    loop.run_until_complete(main())
    return 50_000


def threadsafe(loop: Loop) -> int:
    """call_soon_threadsafe, from the loop's own thread"""
    for _ in range(100):
        for _ in range(1000):
            loop.call_soon_threadsafe(nothing)
        loop.call_soon(loop.stop)
        loop.run_forever()
    return 100_000


def readers(loop: Loop) -> int:
    """a byte there and back, by add_reader"""
    pair = socket.socketpair()
    left = 50_000

    def read(mine: socket.socket) -> None:
        nonlocal left
        left -= 1
        if left:
            mine.send(mine.recv(1))
        else:
            loop.stop()

    for one in pair:
        one.setblocking(False)
        loop.add_reader(one.fileno(), read, one)
    pair[0].send(b"x")
    loop.run_forever()
    for one in pair:
        loop.remove_reader(one.fileno())
        one.close()
    return 50_000


def watch(loop: Loop) -> int:
    """add_reader and remove_reader"""
    one, other = socket.socketpair()
    fd = one.fileno()
    for _ in range(20_000):
        loop.add_reader(fd, nothing)
        loop.remove_reader(fd)
    one.close()
    other.close()
    return 20_000


def runs(loop: Loop) -> int:
    """run_until_complete"""

    async def one() -> None:
        pass

    for _ in range(5000):
        loop.run_until_complete(one())
    return 5000


QUESTIONS: dict[str, Question] = {
    question.__name__: question
    for question in (
        chain,
        batch,
        timers_1k,
        timers_100k,
        cancelled,
        sleep_0,
        sleep_0_100,
        futures,
        tasks,
        threadsafe,
        readers,
        watch,
        runs,
    )
}


def peers() -> dict[str, Callable[[], Loop]]:
    found: dict[str, Callable[[], Loop]] = {
        "stock": asyncio.SelectorEventLoop,
        "ours": pn.new_event_loop,
    }
    for name in ("uvloop", "rloop"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        found[name] = module.new_event_loop
    return found


def rate(question: Question, factory: Callable[[], Loop]) -> float:
    loop = factory()
    asyncio.set_event_loop(loop)
    start = time.process_time()
    count = question(loop)
    took = time.process_time() - start
    asyncio.set_event_loop(None)
    loop.close()
    return count / took


def told(value: float) -> str:
    return f"{value / 1e6:.2f}M" if value >= 1e6 else f"{value / 1e3:.0f}k"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("questions", nargs="*", choices=[[], *QUESTIONS])
    options = parser.parse_args()
    there = peers()
    versions = [f"CPython {sys.version.split()[0]}"]
    for name in there:
        if name in sys.modules:
            found = getattr(sys.modules[name], "__version__", "")
            versions.append(f"{name} {found}".strip())
    print(", ".join(versions), "- per CPU second, (ratio to stock)")
    for name in options.questions or QUESTIONS:
        question = QUESTIONS[name]
        rates: dict[str, list[float]] = {peer: [] for peer in there}
        for _ in range(options.rounds):
            for peer, factory in there.items():
                rates[peer].append(rate(question, factory))
        cells = []
        for peer, each in rates.items():
            ratio = statistics.median(
                mine / stock
                for mine, stock in zip(each, rates["stock"], strict=True)
            )
            middle = told(statistics.median(each))
            cells.append(f"{peer} {middle:>6} ({ratio:.2f})")
        print(f"{question.__doc__ or name:45} {'  '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
