"""Supervised actors in one process: starting, resting, failing, ending.

The same function measures every peer. A peer is an async context manager
around a supervisor: ``make(count)`` gives its actors, ``ask(actor)`` the
answer to add(1, 2), and ``fail(actor)`` lets one end by an exception.
"""

import asyncio
import contextlib
import logging
import os
import platform
import random
import time
from importlib.metadata import version

from herd import resident
from stopwatch import EXPECTED, WrongAnswer

clock = time.perf_counter


class Failed(Exception):
    """What ends an actor."""


async def ask_all(peer, actors):
    """Each of them once."""
    answers = await asyncio.gather(*map(peer.ask, actors))
    if any(answer != EXPECTED for answer in answers):
        raise WrongAnswer


async def measured(peer, options):
    """All figures; times of restarts until all successors have answered."""
    count, failing = options["count"], options["failing"]
    result = {"count": count, "failing": failing}
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(peer)
        await ask_all(peer, await peer.make(1))  # what is there once
        before, begin = resident(), clock()
        actors = await peer.make(count)
        result["make_us"] = (clock() - begin) / count * 1e6
        result["bytes_each"] = (resident() - before) / count
        await asyncio.sleep(1)  # what began has ended
        used, begin = time.process_time(), clock()
        await asyncio.sleep(5 * options["seconds"])
        used = time.process_time() - used
        result["idle_percent"] = used / (clock() - begin) * 100
        some = random.Random(5).sample(actors, failing)
        begin = clock()
        await asyncio.gather(*map(peer.fail, some))
        await ask_all(peer, some)
        result["restart_ms"] = (clock() - begin) * 1e3
        begin = clock()
    result["stop_s"] = clock() - begin
    return result


# --- peers ---------------------------------------------------------------


class Native:
    """Coroutine actors under a supervisor, as a pool of roles."""

    package = "pulsar_native"

    def __init__(self):
        import native  # the command add

        import pulsar_native as pn

        assert native.add
        self.pn = pn
        self.sup = pn.supervisor(max_restarts=100_000, within=1.0, backoff=0.0)

    async def __aenter__(self):
        await self.sup.__aenter__()

    async def __aexit__(self, *error):
        await self.sup.__aexit__(*error)

    async def make(self, count):
        return list(await self.sup.spawn(count, kind="coroutine"))

    def ask(self, actor):
        return self.pn.send(actor, "add", 1, 2)

    async def fail(self, actor):
        with contextlib.suppress(self.pn.ActorDown):
            await self.pn.send(actor, "run", leave)


def leave(actor):
    """End it abnormally: another exception would be an answer."""
    raise SystemExit(1)


class Tasks:
    """The floor: a task that waits on a queue, made again by its callback."""

    package = None

    async def __aenter__(self):
        self.tasks = set()
        self.loop = asyncio.get_running_loop()

    async def __aexit__(self, *error):
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    @staticmethod
    async def serve(queue):
        while True:
            future, a, b = await queue.get()
            if future is None:
                raise Failed
            future.set_result(a + b)

    def start(self, queue):
        task = self.loop.create_task(self.serve(queue))
        self.tasks.add(task)
        task.add_done_callback(lambda task: self.ended(task, queue))

    def ended(self, task, queue):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception():
            self.start(queue)

    async def make(self, count):
        queues = [asyncio.Queue() for _ in range(count)]
        for queue in queues:
            self.start(queue)
        await asyncio.sleep(0)
        return queues

    async def ask(self, queue):
        future = self.loop.create_future()
        queue.put_nowait((future, 1, 2))
        return await future

    async def fail(self, queue):
        queue.put_nowait((None, 1, 2))


class Lapinbeam:
    """Actors of a node: a class each, as the name is the class's."""

    package = "lapinbeam"

    def __init__(self):
        import lapinbeam

        self.module = lapinbeam
        self.made = 0

    async def __aenter__(self):
        from ends_lapinbeam import free_port

        logging.disable()
        self.node = self.module.Node(f"main@127.0.0.1:{free_port()}")
        await self.node.start()
        # Past 1,023 in a window its backoff is a number too large.
        self.sup = self.module.Supervisor(node=self.node, max_restarts=1020)

    async def __aexit__(self, *error):
        await self.sup.shutdown()
        await self.node.stop()

    def kind(self):
        """The class of one actor."""
        message = self.module.current_message

        async def receive(self, numbers):
            if numbers is None:
                raise Failed
            await message().reply(sum(numbers))

        self.made += 1
        kind = type("Adder", (), {"receive": receive})
        return self.module.actor(name=f"adder{self.made}")(kind)

    async def make(self, count):
        actors = [self.sup.spawn(self.kind()) for _ in range(count)]
        await asyncio.sleep(0)
        return actors

    async def ask(self, actor):
        while True:
            try:
                return await actor.ask([1, 2], timeout=None)
            except ValueError:  # between two lives it is not there
                await asyncio.sleep(0.01)

    async def fail(self, actor):
        await actor.send(None)


PEERS = {"native": Native, "tasks": Tasks, "lapinbeam": Lapinbeam}


def measure(options, report):
    """Measure one peer and report."""
    peer = PEERS[options["peer"]]()
    figures = asyncio.run(measured(peer, options))
    figures["versions"] = {"python": platform.python_version()}
    if peer.package:
        figures["versions"][peer.package] = version(peer.package)
    report(figures)
    os._exit(0)  # taking so many apart is not the question
