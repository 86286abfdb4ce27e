"""How long is it from kill -9 to the first answer of the successor?

A supervised process is killed; the clock is read right before the signal and
when the next actor of its role has answered an ask. Beside what one writes
with the standard library: a process that is joined by its sentinel and made
again, and a ProcessPoolExecutor that has broken and is made again. Then other
packages in processes of their own: those that are installed, and pulsar 2.0.2
if --python36 names an interpreter that has it.

    python benchmarks/restart.py [--count 100] [--others NAMES]
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
import signal
import statistics
import sys
import time
from collections.abc import Callable
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


# --- pulsar_native: no backoff, so that it is not what is measured ---


def supervised(**params: Any) -> pn.Supervisor:
    return pn.supervisor(
        max_restarts=100_000, within=1.0, backoff=0.0, **params
    )


def pid_of(actor: Any) -> int:
    return os.getpid()


async def wait_once(actor: Any, pid: int) -> None:
    """A command that the first actor never ends."""
    if os.getpid() == pid:
        await asyncio.Event().wait()


async def ask_again(role: pn.Role, pid: int) -> float:
    """The ask that fails is sent again, by hand."""
    asked = pn.send(role, "run", wait_once, pid)
    await pn.send(role, "ping")
    begin = kill(pid)
    try:
        await asked
    except pn.ActorDown:
        await pn.send(role, "ping")
        return time.monotonic() - begin
    raise AssertionError("it answered")


async def retried(role: pn.Role, pid: int) -> float:
    asked = pn.send.options(retry=True)(role, "run", wait_once, pid)
    await pn.send(role, "ping")
    begin = kill(pid)
    await asked
    return time.monotonic() - begin


def in_role(measure: Callable[[Any, int], Any], **params: Any) -> Case:
    async def main(count: int) -> list[float]:
        times = []
        async with supervised() as sup:
            role = await sup.spawn(**params)
            for _ in range(count):
                pid = await pn.send(role, "run", pid_of)
                times.append(await measure(role, pid))
        return times

    return lambda count: asyncio.run(main(count))


async def _elsewhere(actor: Any, role: pn.Role, pid: int) -> float:
    return await retried(role, pid)


def elsewhere(count: int) -> list[float]:
    """Asked by another process."""

    async def main() -> list[float]:
        times = []
        async with supervised() as sup:
            role = await sup.spawn()
            asker = await pn.spawn()
            for _ in range(count):
                pid = await pn.send(role, "run", pid_of)
                answer = await pn.send(asker, "run", _elsewhere, role, pid)
                times.append(answer)
        return times

    return asyncio.run(main())


# --- others ---


def answer(pipe: Any) -> None:
    while True:
        pipe.send(pipe.recv())


def by_hand(method: str) -> Case:
    """multiprocessing: its sentinel, then another process and pipe."""
    context: Any = multiprocessing.get_context(method)

    def start() -> tuple[Any, Any]:
        ours, theirs = context.Pipe()
        process = context.Process(target=answer, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        ours.send(1)
        ours.recv()
        return process, ours

    def measure(count: int) -> list[float]:
        times = []
        process, pipe = start()
        for _ in range(count):
            begin = kill(process.pid)
            multiprocessing.connection.wait([process.sentinel])
            process.join()
            pipe.close()
            process, pipe = start()
            times.append(time.monotonic() - begin)
        process.kill()
        process.join()
        return times

    return measure


def pool(count: int) -> list[float]:
    """futures: the pool has broken, and another is made."""
    context = multiprocessing.get_context("forkserver")
    times = []
    executor = ProcessPoolExecutor(1, mp_context=context)
    for _ in range(count):
        pid = executor.submit(os.getpid).result()
        future = executor.submit(time.sleep, 3600)
        while not future.running():
            time.sleep(0.001)
        begin = kill(pid)
        try:
            future.result()
        except BrokenProcessPool:
            broken = executor
            executor = ProcessPoolExecutor(1, mp_context=context)
            executor.submit(os.getpid).result()
            times.append(time.monotonic() - begin)
            broken.shutdown()
    executor.shutdown()
    return times


CASES: dict[str, Case] = {
    "pulsar_native: process, asked again": in_role(ask_again),
    "pulsar_native: process, retry=True": in_role(retried),
    "pulsar_native: of another process": elsewhere,
    "pulsar_native: subprocess": in_role(ask_again, kind="subprocess"),
    "multiprocessing: fork": by_hand("fork"),
    "multiprocessing: forkserver": by_hand("forkserver"),
    "futures: another ProcessPoolExecutor": pool,
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
    parser.add_argument("--count", type=int, default=100)
    others.add_options(parser)
    options = parser.parse_args()
    print(
        f"pulsar_native {pn.__version__}, Python {platform.python_version()}, "
        f"{platform.release()}, {os.cpu_count()} CPUs; milliseconds"
    )
    for name, case in CASES.items():
        case(3)  # the servers' start is another question
        gc.collect()
        show(name, case(options.count))
    for title, times in others.rows("restart", options):
        show(title, times)


if __name__ == "__main__":
    main()
