"""How many tasks a second does an executor of two processes do?

``pulsar_native.Executor`` beside ``ProcessPoolExecutor``, with one task in
flight and with 100: submitted from a thread that waits for results, and from
tasks of a loop by ``run_in_executor``. Rounds are interleaved, and each
measurement is a process of its own.

    python benchmarks/executor.py [--rounds 5] [--seconds 1.0] [--only loop-1]
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pulsar_native as pn

WORKERS = 2
WARM = 0.3  # seconds before the clock starts

Executor = concurrent.futures.Executor
Run = Callable[[Executor, float], tuple[int, float]]

PEERS: dict[str, Callable[[], Executor]] = {
    "pulsar_native": lambda: pn.Executor(WORKERS),
    "pulsar_native:own-thread": lambda: pn.Executor(WORKERS),
    "futures": lambda: concurrent.futures.ProcessPoolExecutor(WORKERS),
}


def add(a: int, b: int) -> int:
    return a + b


def check(found: int) -> None:
    if found != 3:
        raise RuntimeError(f"1 + 2 is not {found}")


# --- from a thread ---


def from_thread(inflight: int) -> Run:
    def run(ex: Executor, seconds: float) -> tuple[int, float]:
        waiting = deque(ex.submit(add, 1, 2) for _ in range(inflight))
        count = 0
        begin = time.perf_counter()
        while (now := time.perf_counter()) < begin + seconds:
            check(waiting.popleft().result())
            waiting.append(ex.submit(add, 1, 2))
            count += 1
        concurrent.futures.wait(waiting)
        return count, now - begin

    return run


# --- from a loop ---


async def ask(
    ex: Executor, inflight: int, seconds: float
) -> tuple[int, float]:
    loop = asyncio.get_running_loop()
    begin = time.perf_counter()
    count = 0

    async def one() -> None:
        nonlocal count
        while time.perf_counter() < begin + seconds:
            check(await loop.run_in_executor(ex, add, 1, 2))
            count += 1

    await asyncio.gather(*(one() for _ in range(inflight)))
    return count, time.perf_counter() - begin


async def amap(ex: Any, inflight: int, seconds: float) -> tuple[int, float]:
    begin = time.perf_counter()
    count = 0

    def items() -> Any:
        while time.perf_counter() < begin + seconds:
            yield 2

    async for found in ex.amap(add_one, items(), limit=inflight):
        check(found)
        count += 1
    return count, time.perf_counter() - begin


def add_one(x: int) -> int:
    return x + 1


CASES: dict[str, tuple[str, int]] = {
    "thread-1": ("submit, one in flight", 1),
    "thread-100": ("submit, 100 in flight", 100),
    "loop-1": ("run_in_executor, one in flight", 1),
    "loop-100": ("run_in_executor, 100 in flight", 100),
    "amap-100": ("amap, 100 in flight", 100),
}


def able(peer: str, case: str) -> bool:
    if case.startswith("amap"):
        return peer == "pulsar_native"
    return peer != "pulsar_native:own-thread" or case.startswith("loop")


def measure(peer: str, case: str, seconds: float) -> dict[str, float]:
    """Here; the rate, and the processor time a task in all processes."""
    inflight = CASES[case][1]
    make = PEERS[peer]
    if case.startswith("thread"):
        run = from_thread(inflight)
        with make() as ex:
            run(ex, WARM)
            begin = processor_time()
            count, took = run(ex, seconds)
            return rated(count, took, processor_time() - begin)
    ask_all = amap if case.startswith("amap") else ask

    async def main(given: Executor | None) -> dict[str, float]:
        ex = make() if given is None else given
        await ask_all(ex, inflight, WARM)
        begin = processor_time()
        count, took = await ask_all(ex, inflight, seconds)
        used = processor_time() - begin
        if given is None:
            ex.shutdown(wait=False)
        return rated(count, took, used)

    if peer == "pulsar_native":
        return asyncio.run(main(None))
    with make() as made:  # outside the loop
        return asyncio.run(main(made))


def rated(count: int, took: float, used: float) -> dict[str, float]:
    return {"rate": count / took, "cpu_us": used / count * 1e6}


def processor_time() -> float:
    """Seconds, of all processes of this session."""
    session = os.getsid(0)
    ticks = 0
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{int(name)}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except (ValueError, OSError):
            continue
        if int(fields[3]) == session:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure_apart(peer: str, case: str, seconds: float) -> dict[str, float]:
    """In a process of its own."""
    command = [sys.executable, __file__, "--measure", peer, case]
    done = subprocess.run(
        [*command, "--seconds", str(seconds)],
        stdout=subprocess.PIPE,
        check=True,
        start_new_session=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def show(case: str, rows: dict[str, list[dict[str, float]]]) -> None:
    print(f"\n{CASES[case][0]}")
    peers = [row["rate"] for row in rows.get("futures", ())]
    base = statistics.median(peers) if peers else 0.0
    for peer, found in rows.items():
        rates = sorted(row["rate"] for row in found)
        cpu = statistics.median(row["cpu_us"] for row in found)
        rate = statistics.median(rates)
        ratio = f"{rate / base:6.1f}x" if base else ""
        print(
            f"  {peer:26}{rate:9.0f}/s  {rates[0]:9.0f} to {rates[-1]:9.0f}"
            f"  CPU {cpu:7.1f} us {ratio}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        peer, case = options.measure
        print(json.dumps(measure(peer, case, options.seconds)))
        return
    print(
        f"Python {platform.python_version()}, pulsar_native {pn.__version__}, "
        f"{pn.usable_cpus()} cores, load {os.getloadavg()[0]:.2f}, "
        f"{WORKERS} workers, {options.rounds} rounds of {options.seconds} s"
    )
    for case in options.only.split(","):
        peers = [peer for peer in PEERS if able(peer, case)]
        rows: dict[str, list[dict[str, float]]] = {p: [] for p in peers}
        for turn in range(options.rounds):
            turned = peers[turn % len(peers) :] + peers[: turn % len(peers)]
            for peer in turned:
                rows[peer].append(measure_apart(peer, case, options.seconds))
        show(case, rows)


if __name__ == "__main__":
    main()
