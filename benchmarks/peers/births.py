"""Processes that answer: one after another, or many at once.

Peers are actors of pulsar_native, bare processes of multiprocessing, actors of
xoscar, each in a sub-pool of its own, and actors of Ray.
"""

import asyncio
import multiprocessing
import os
import platform
import time
from importlib.metadata import version

import stopwatch
from births_sum import add

clock = time.perf_counter


class Native:
    """Actors of pulsar_native."""

    def __init__(self, options):
        import pulsar_native as pn

        self.pn = pn
        self.reserve = int(options["reserve"])

    async def begin(self):
        """The fork server is started by the first spawn."""

    async def start(self, name):
        return await self.pn.spawn(reserve=self.reserve)

    async def ask(self, actor):
        return await self.pn.call(actor, add, 1, 2)

    def pid(self, actor):
        return actor.pid

    async def end(self, actors):
        for actor in actors:
            self.pn.tell(actor, "stop")
        await asyncio.gather(*[actor.join() for actor in actors])

    def versions(self):
        return {"pulsar_native": self.pn.__version__}


def echo_main(pipe):
    """Answer sums until the pipe ends."""
    while True:
        try:
            pipe.send(add(*pipe.recv()))
        except EOFError:
            return


class Processes:
    """Bare processes with a pipe; they are started one by one."""

    def __init__(self, options):
        self.context = multiprocessing.get_context(options["method"])
        if options["method"] == "forkserver":
            self.context.set_forkserver_preload(["births"])

    async def begin(self):
        """The fork server is started by the first start."""

    async def start(self, name):
        ours, theirs = self.context.Pipe()
        process = self.context.Process(
            target=echo_main, args=(theirs,), daemon=True
        )
        process.start()
        theirs.close()
        ours.send((1, 2))  # so that many answer beside each other
        return process, ours

    async def ask(self, started):
        return started[1].recv()

    def pid(self, started):
        return started[0].pid

    async def end(self, all_started):
        for process, _ in all_started:
            process.terminate()  # siblings hold copies of the pipes
        for process, _ in all_started:
            process.join()

    def versions(self):
        return {}


class Xoscar:
    """Actors of xoscar; a process is a sub-pool of the main one."""

    def __init__(self, options):
        import xoscar

        self.xoscar = xoscar
        self.lock = asyncio.Lock()

    async def begin(self):
        # Where its new interpreters find the actor's module.
        os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
        create = self.xoscar.create_actor_pool
        self.pool = await create("127.0.0.1:0", n_process=0)

    async def start(self, name):
        from births_xoscar import Adder

        async with self.lock:  # two at once fail
            address = await self.pool.append_sub_pool()
        return await self.xoscar.create_actor(Adder, address=address, uid=name)

    async def ask(self, actor):
        return await actor.add(1, 2)

    async def end(self, actors):
        await self.pool.stop()

    def versions(self):
        return {"xoscar": version("xoscar")}


class Adder:
    """The actor of Ray."""

    def add(self, a, b):
        return add(a, b)


class Ray:
    """Actors of Ray; each is a process, of those its node keeps ready."""

    def __init__(self, options):
        import rays

        self.node = rays.node()
        self.ray = rays.ray

    async def begin(self):
        self.node.__enter__()
        self.kind = self.ray.remote(Adder).options(num_cpus=0)

    async def start(self, name):
        return self.kind.remote()

    async def ask(self, actor):
        return await actor.add.remote(1, 2)

    async def end(self, actors):
        self.node.__exit__(None, None, None)

    def versions(self):
        return {"ray": self.ray.__version__}


PEERS = {
    "native": Native,
    "processes": Processes,
    "xoscar": Xoscar,
    "ray": Ray,
}


async def one_by_one(peer, options):
    """Times of single starts."""
    started = []

    async def start(name):
        started.append(await peer.start(name))
        return started[-1]

    result = await stopwatch.spawn_times(start, peer.ask, options)
    await peer.end(started)
    return result


async def many(peer, options):
    """Times, memory and idle processor time of many."""
    count = options["count"]
    first = await peer.start("first")  # servers run by then
    await peer.ask(first)
    begin = clock()
    starts = [peer.start(f"one{number}") for number in range(count)]
    actors = list(await asyncio.gather(*starts))
    for answer in await asyncio.gather(*map(peer.ask, actors)):
        assert answer == stopwatch.EXPECTED
    result = {"start_s": clock() - begin, "count": count}
    pids = [peer.pid(actor) for actor in actors]
    result["pss_kib"] = sum(map(pss, pids[::10])) / len(pids[::10])
    pids.append(os.getpid())
    await asyncio.sleep(25)  # what began has ended, and has been told
    begin, used = clock(), cpu_seconds(pids)
    await asyncio.sleep(5 * options["seconds"])
    used = cpu_seconds(pids) - used
    result["idle_percent"] = used / (clock() - begin) * 100
    begin = clock()
    await peer.end([first, *actors])
    result["stop_s"] = clock() - begin
    return result


def pss(pid):
    """KiB that a process has, of shared ones its part."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def cpu_seconds(pids):
    """Processor time of these processes until now."""
    nanoseconds = 0
    for pid in pids:
        with open(f"/proc/{pid}/schedstat") as file:
            nanoseconds += int(file.read().split()[0])
    return nanoseconds / 1e9


def measure(options, report):
    """Measure and report."""
    peer = PEERS[options["peer"]](options)

    async def job():
        await peer.begin()
        work = one_by_one if options["kind"] == "spawn" else many
        return await work(peer, options)

    result = asyncio.run(job())
    result["versions"] = {
        "python": platform.python_version(),
        **peer.versions(),
    }
    report(result)
