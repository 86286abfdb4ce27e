"""The peer pulsar 2.0.2 of death.py and restart.py.

An ask to an actor that is killed never fails there; what is measured is when
the arbiter forgets the actor, or when the next worker of a monitor answers.
Both are looked after every 5 s, so that what one meets depends on when in such
a period the process dies: it is killed at a random moment of it. Runs on
Python 3.6.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
import traceback

import pulsar
from pulsar.api import arbiter, send, spawn

QUESTION, COUNT = sys.argv[1], int(sys.argv[2])
del sys.argv[1:]  # pulsar looks at what is left
PERIOD = 5.0
moments = random.Random(5)


async def work(actor):
    """A command that ends with its actor only."""
    await asyncio.sleep(3600)


async def begin_to_kill(worker):
    """When the worker was killed."""
    info = await send(worker, "info")
    await asyncio.sleep(moments.uniform(0, PERIOD))
    begin = time.monotonic()
    os.kill(info["actor"]["process_id"], signal.SIGKILL)
    return begin


async def death(owner):
    """Until the arbiter has that actor no more."""
    worker = await spawn(name="worker")
    asked = asyncio.ensure_future(send(worker, "run", work))
    begin = await begin_to_kill(worker)
    while worker.aid in owner.managed_actors:
        await asyncio.sleep(0.001)
    seconds = time.monotonic() - begin
    asked.cancel()
    return seconds


async def next_worker(monitor, last):
    """The worker of a monitor, once it is up and is not *last*."""
    while True:
        for aid, worker in monitor.managed_actors.items():
            if aid != last and worker.mailbox is not None:
                await send(worker, "ping")
                return worker
        await asyncio.sleep(0.001)


async def restart(owner):
    """Until the next worker of the monitor has answered."""
    monitor = owner.registered.get("pool")
    if monitor is None:
        monitor = owner.add_monitor("pool", workers=1)
    worker = await next_worker(monitor, None)
    begin = await begin_to_kill(worker)
    await next_worker(monitor, worker.aid)
    return time.monotonic() - begin


async def job(owner):
    """Measure, report, end."""
    try:
        measure = {"death": death, "restart": restart}[QUESTION]
        times = [await measure(owner) for _ in range(COUNT)]
        result = {"times": times, "version": pulsar.__version__}
        print(json.dumps(result), flush=True)
    except Exception:
        traceback.print_exc()
    os.killpg(0, signal.SIGKILL)


def main():
    """Be the arbiter."""

    def start(owner, **kwargs):
        owner._loop.create_task(job(owner))

    arbiter(start=start, parse_console=False).start()


if __name__ == "__main__":
    main()
