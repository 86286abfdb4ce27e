"""The one stopwatch of every peer: closed-loop askers for a fixed time.

Runs on Python 3.6 too, so it uses nothing younger than that.
"""

import asyncio
import os
import time
from array import array

TICK = os.sysconf("SC_CLK_TCK")
EXPECTED = 3  # every ask is add(1, 2)


class WrongAnswer(Exception):
    """A peer answered something else than the sum."""


def percentile(ordered, share):
    """The nearest-rank percentile of a sorted sequence."""
    rank = int(share * len(ordered) + 0.5)
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def cpu_seconds(pids):
    """User and system time that the processes *pids* have used, in s."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


class Watch:
    """Collects laps; keeps those that end inside the measured window."""

    def __init__(self, options, pids):
        self.seconds = options["seconds"]
        self.pids = pids
        self.laps = array("d")
        self.asked = 0
        self.cpu = cpu_seconds(pids)
        self.begin = time.perf_counter() + options["warmup"]
        self.end = self.begin + self.seconds

    def result(self):
        """Rate in asks/s, latencies in microseconds, CPU time an ask."""
        cpu = cpu_seconds(self.pids) - self.cpu
        laps = sorted(self.laps)
        if not laps:
            raise RuntimeError("no ask was answered in the measured time")
        return {
            "rate": len(laps) / self.seconds,
            "count": len(laps),
            "p50_us": percentile(laps, 0.50) * 1e6,
            "p90_us": percentile(laps, 0.90) * 1e6,
            "p99_us": percentile(laps, 0.99) * 1e6,
            "cpu_us": cpu / self.asked * 1e6,
        }


async def closed_loop(ask, options, pids):
    """Let ``options["inflight"]`` tasks ask, each again when answered.

    *ask* is called without arguments and returns an awaitable of 3;
    *pids* are the processes whose CPU time is charged to the asks.
    """
    watch = Watch(options, pids)
    clock = time.perf_counter
    begin, end = watch.begin, watch.end

    async def asker():
        keep = watch.laps.append
        asked = 0
        start = clock()
        while start < end:
            answer = await ask()
            stop = clock()
            if answer != EXPECTED:
                raise WrongAnswer(answer)
            asked += 1
            if begin <= stop < end:
                keep(stop - start)
            start = stop
        watch.asked += asked

    await asyncio.gather(*[asker() for _ in range(options["inflight"])])
    return watch.result()


async def spawn_times(spawn, ask, options):
    """Time spawns: one after another, and ten at once.

    ``spawn(name)`` is awaited for a worker, ``ask(worker)`` for 3. Times
    are in milliseconds: until spawn resolves, until the first answer. With
    the option ``pause`` nothing is done so many seconds before each.
    """
    clock = time.perf_counter
    resolved, answered = [], []

    async def one(name):
        start = clock()
        worker = await spawn(name)
        middle = clock()
        if await ask(worker) != EXPECTED:
            raise WrongAnswer(name)
        return (middle - start) * 1e3, (clock() - start) * 1e3

    for number in range(options["spawns"] + 1):
        await asyncio.sleep(options.get("pause", 0))
        resolve, answer = await one(f"one{number}")
        resolved.append(resolve)
        answered.append(answer)
    start = clock()
    await asyncio.gather(*[one(f"ten{i}") for i in range(10)])
    together = (clock() - start) * 1e3
    return spawn_result(resolved, answered, together)


def spawn_result(resolved, answered, together):
    """The figures of a spawn case; the first spawn is told apart."""
    return {
        "first_ms": answered[0],
        "resolve_ms": percentile(sorted(resolved[1:]), 0.5),
        "answer_ms": percentile(sorted(answered[1:]), 0.5),
        "ten_ms": together,
    }
