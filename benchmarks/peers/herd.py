"""What many actors in one process cost: memory, making them, asking each.

The same function measures every peer: ``make(number)`` gives an actor,
``ask(actor)`` its answer to add(1, 2), and what keeps them alive is the list.
"""

import asyncio
import gc
import os
import platform
import time
from importlib.metadata import version

from stopwatch import EXPECTED, WrongAnswer

PAGE = os.sysconf("SC_PAGE_SIZE")
TOGETHER = 1000  # made or asked at once


def resident():
    """Bytes of memory that this process has, after a collection."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


def result(count, before, times, after):
    """The figures: *times* are when making began, ended, asking ended."""
    made, asked = times[1] - times[0], times[2] - times[1]
    return {
        "count": count,
        "bytes_each": (after[0] - before) / count,
        "asked_bytes_each": (after[1] - before) / count,
        "make_us": made / count * 1e6,
        "ask_us": asked / count * 1e6,
    }


async def measured(make, ask, count):
    """Make *count* actors, then ask each once."""
    first = await make(-1)  # what is there once is not counted
    if await ask(first) != EXPECTED:
        raise WrongAnswer
    before, actors, clock = resident(), [], time.perf_counter
    times = [clock()]
    for start in range(0, count, TOGETHER):
        numbers = range(start, min(start + TOGETHER, count))
        actors += await asyncio.gather(*[make(number) for number in numbers])
    made, spent = clock(), resident()
    begin = clock()
    for start in range(0, count, TOGETHER):
        some = actors[start : start + TOGETHER]
        answers = await asyncio.gather(*[ask(actor) for actor in some])
        if any(answer != EXPECTED for answer in answers):
            raise WrongAnswer
    times += [made, made + clock() - begin]
    return result(count, before, times, (spent, resident()))


# --- peers ---------------------------------------------------------------


async def native(count):
    """Coroutine actors of the package under test."""
    import native as module

    import pulsar_native as pn

    assert module.add
    return await measured(
        lambda number: pn.spawn(kind="coroutine"),
        lambda actor: pn.send(actor, "add", 1, 2),
        count,
    )


async def xoscar(count):
    """Actors of one pool, asked directly."""
    import xoscar as module
    from xoscars import Adder

    pool = await module.create_actor_pool("127.0.0.1:0", n_process=0)
    address = pool.external_address

    async def make(number):
        await module.create_actor(Adder, address=address, uid=str(number))
        return await module.actor_ref(address, str(number))

    try:
        return await measured(make, lambda actor: actor.add(1, 2), count)
    finally:
        await pool.stop()


async def tasks(count):
    """The least by hand: a task that waits on a queue, for each."""

    async def serve(queue):
        while True:
            future, a, b = await queue.get()
            future.set_result(a + b)

    async def make(number):
        queue = asyncio.Queue()
        task = asyncio.ensure_future(serve(queue))
        await asyncio.sleep(0)
        return queue, task

    async def ask(actor):
        future = asyncio.get_running_loop().create_future()
        actor[0].put_nowait((future, 1, 2))
        return await future

    return await measured(make, ask, count)


def pykka(count):
    """Threads; asked one after another from the main thread."""
    import pykka as module
    from pykkas import Adder

    before, clock = resident(), time.perf_counter
    times = [clock()]
    try:
        actors = [Adder.start() for _ in range(count)]
        made, spent = clock(), resident()
        begin = clock()
        futures = [actor.ask((1, 2), block=False) for actor in actors]
        if any(future.get() != EXPECTED for future in futures):
            raise WrongAnswer
        times += [made, made + clock() - begin]
        return result(count, before, times, (spent, resident()))
    finally:
        module.ActorRegistry.stop_all()


PACKAGES = {
    "native": "pulsar_native",
    "xoscar": "xoscar",
    "pykka": "pykka",
    "tasks": None,
}


def measure(options, report):
    """Measure one peer and report."""
    peer = options["peer"]
    if peer == "pykka":
        figures = pykka(options["count"])
    else:
        figures = asyncio.run(globals()[peer](options["count"]))
    figures["versions"] = {"python": platform.python_version()}
    if PACKAGES[peer]:
        figures["versions"][PACKAGES[peer]] = version(PACKAGES[peer])
    report(figures)
    os._exit(0)  # taking so many apart is not the question
