"""How long is it from kill -9 to the news, for those who wait for an answer?

A process that works is killed; the clock, which all processes share, is read
right before the signal and when the waiting ends. Beside what the standard
library has (the sentinel of a multiprocessing process, the broken pool of
concurrent.futures) and a bare pidfd (the floor), other packages in processes
of their own: those that are installed, and pulsar 2.0.2 if --python36 names an
interpreter that has it.

    python benchmarks/death.py [--count 200] [--others NAMES]
                               [--python36 PATH]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import multiprocessing.connection
import os
import platform
import select
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

import others

import pulsar_native as pn

Case = Callable[[int], list[float]]


def kill(pid: int) -> float:
    """When the process was killed."""
    now = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return now


# --- pulsar_native ---


async def work(actor: Any, pid: int | None = None) -> None:
    """A command that ends with its actor only."""
    await asyncio.Event().wait()


async def wait_elsewhere(actor: Any, target: Any) -> float:
    """In another actor: when an ask of its own failed."""
    try:
        await pn.send(target, "run", work)
    except pn.ActorDown:
        return time.monotonic()
    raise AssertionError("it answered")


async def failed_ask(worker: Any) -> float:
    asked = pn.send(worker, "run", work)
    await pn.send(worker, "ping")
    begin = kill(worker.pid)
    try:
        await asked
    except pn.ActorDown:
        return time.monotonic() - begin
    raise AssertionError("it answered")


async def watched(worker: Any) -> float:
    future = pn.watch(worker)
    begin = kill(worker.pid)
    await future
    return time.monotonic() - begin


def in_actors(measure: Callable[[Any], Awaitable[float]]) -> Case:
    async def main(count: int) -> list[float]:
        times = []
        for _ in range(count):
            worker = await pn.spawn()
            times.append(await measure(worker))
            await worker.join()
        return times

    return lambda count: asyncio.run(main(count))


def elsewhere(count: int) -> list[float]:
    async def main() -> list[float]:
        asker = await pn.spawn()
        times = []
        for _ in range(count):
            worker = await pn.spawn()
            heard = pn.send(asker, "run", wait_elsewhere, worker)
            await pn.send(asker, "ping")
            await pn.send(worker, "ping")
            begin = kill(worker.pid)
            times.append(await heard - begin)
        return times

    return asyncio.run(main())


# --- others ---


def sleep() -> None:
    time.sleep(3600)


def pidfd(count: int) -> list[float]:
    times = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            sleep()
        fd = os.pidfd_open(pid)
        begin = kill(pid)
        select.select([fd], [], [])
        times.append(time.monotonic() - begin)
        os.waitpid(pid, 0)
        os.close(fd)
    return times


def sentinel(count: int) -> list[float]:
    context = multiprocessing.get_context("forkserver")
    times = []
    for _ in range(count):
        process = context.Process(target=sleep)
        process.start()
        assert process.pid is not None
        begin = kill(process.pid)
        multiprocessing.connection.wait([process.sentinel])
        times.append(time.monotonic() - begin)
        process.join()
    return times


def broken_pool(count: int) -> list[float]:
    context = multiprocessing.get_context("forkserver")
    times = []
    for _ in range(count):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            pid = pool.submit(os.getpid).result()
            future = pool.submit(sleep)
            while not future.running():
                time.sleep(0.001)
            begin = kill(pid)
            try:
                future.result()
            except BrokenProcessPool:
                times.append(time.monotonic() - begin)
    return times


CASES: dict[str, Case] = {
    "pulsar_native: ask fails": in_actors(failed_ask),
    "pulsar_native: ask of another fails": elsewhere,
    "pulsar_native: watch": in_actors(watched),
    "pidfd, bare": pidfd,
    "multiprocessing: sentinel": sentinel,
    "futures: BrokenProcessPool": broken_pool,
}


def show(name: str, seconds: list[float]) -> None:
    times = sorted(s * 1e3 for s in seconds)
    most = times[min(len(times) * 99 // 100, len(times) - 1)]
    print(
        f"{name:44} median {statistics.median(times):8.2f}   "
        f"least {times[0]:8.2f}   99 % {most:8.2f}   of {len(times)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    others.add_options(parser)
    options = parser.parse_args()
    print(
        f"pulsar_native {pn.__version__}, Python {platform.python_version()}, "
        f"{platform.release()}, {os.cpu_count()} CPUs; milliseconds"
    )
    gc.collect()
    for name, case in CASES.items():
        case(3)  # the servers' start is another question
        show(name, case(options.count))
    for title, times in others.rows("death", options):
        show(title, times)


if __name__ == "__main__":
    main()
