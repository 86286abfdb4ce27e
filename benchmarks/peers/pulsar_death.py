"""The peer pulsar 2.0.2 of death.py: how long until an arbiter notices.

An ask to an actor that is killed never fails there; what is measured is when
the arbiter forgets the actor. Runs on Python 3.6; prints a list of seconds.
"""

import asyncio
import json
import os
import signal
import sys
import time

from pulsar.api import arbiter, send, spawn

COUNT = int(sys.argv.pop(1))  # pulsar looks at what is left


async def work(actor):
    """A command that ends with its actor only."""
    await asyncio.sleep(3600)


async def measure(owner):
    """From kill -9 to an arbiter without that actor, and its ask's state."""
    worker = await spawn(name="worker")
    asked = asyncio.ensure_future(send(worker, "run", work))
    pid = (await send(worker, "info"))["actor"]["process_id"]
    begin = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while worker.aid in owner.managed_actors:
        await asyncio.sleep(0.001)
    seconds = time.monotonic() - begin
    print("the ask has ended:", asked.done(), file=sys.stderr)
    return seconds


async def job(owner):
    """Measure, report, end."""
    times = [await measure(owner) for _ in range(COUNT)]
    print(json.dumps(times), flush=True)
    os.killpg(0, signal.SIGKILL)


def main():
    """Be the arbiter."""
    os.setpgrp()

    def start(owner, **kwargs):
        owner._loop.create_task(job(owner))

    arbiter(start=start, parse_console=False).start()


if __name__ == "__main__":
    main()
