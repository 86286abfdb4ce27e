"""The peer pulsar 2.0.2: an arbiter and actors, Python 3.6."""

import os
import platform
import traceback

import multidict
import pulsar
import stopwatch
from pulsar.api import HAS_C_EXTENSIONS, arbiter, command, send, spawn


@command()
def add(request, a, b):
    """The sum; a synchronous command, as in the other peers."""
    return a + b


def pin(actor, cores):
    """Pin this actor's thread to *cores*; answers its pid."""
    os.sched_setaffinity(0, cores)
    return os.getpid()


async def drive(actor, target, options, pids):
    """Ask *target* from inside this actor."""
    return await stopwatch.closed_loop(
        lambda: send(target, "add", 1, 2), options, pids
    )


async def asks(options):
    """Ask a worker from the arbiter, or a worker from a worker."""
    kind = options.get("actors", "process")
    answerer = await spawn(name="answerer", concurrency=kind)
    pids = {os.getpid()}
    pids.add(await send(answerer, "run", pin, options["far"]))
    if options["asker"] == "main":
        os.sched_setaffinity(0, options["near"])
        return await drive(None, answerer, options, list(pids))
    asker = await spawn(name="asker", concurrency=kind)
    pids.add(await send(asker, "run", pin, options["near"]))
    return await send(asker, "run", drive, answerer, options, list(pids))


async def spawns(options):
    """Spawn process actors from the arbiter."""
    return await stopwatch.spawn_times(
        lambda name: spawn(name=name),
        lambda worker: send(worker, "add", 1, 2),
        options,
    )


def versions(options):
    """What was measured."""
    found = {
        "python": platform.python_version(),
        "pulsar": pulsar.__version__,
        "extensions": "C" if HAS_C_EXTENSIONS else "none (pure Python)",
        "multidict": multidict.__version__,
    }
    if options["loop"] == "uv":
        import uvloop

        found["uvloop"] = uvloop.__version__
    return found


def measure(options, report):
    """Start the arbiter, measure in it, report, stop it."""
    work = spawns if options["kind"] == "spawn" else asks

    async def job(actor):
        try:
            result = await work(options)
            result["versions"] = versions(options)
        except Exception:
            result = {"error": traceback.format_exc()}
        report(result)
        actor.stop()

    def begin(actor, **kwargs):
        actor._loop.create_task(job(actor))

    arbiter(
        start=begin, log_level=["none"], event_loop=options["loop"]
    ).start()
