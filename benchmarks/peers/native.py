"""The package under test: actors of pulsar_native, of any kind.

Every worker imports this module at its first ask, and ``spawn`` counts
that, so it imports no more than it needs.
"""

import asyncio
import os
import platform

import stopwatch

import pulsar_native as pn


@pn.command()
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
        lambda: pn.send(target, "add", 1, 2), options, pids
    )


async def asks(options):
    """Ask a worker from the main actor, or a worker from a worker."""
    kind = options.get("actors", "process")
    answerer = await pn.spawn(name="answerer", kind=kind)
    pids = {os.getpid()}
    pids.add(await pn.send(answerer, "run", pin, options["far"]))
    if options["asker"] == "main":
        os.sched_setaffinity(0, options["near"])
        return await drive(None, answerer, options, list(pids))
    asker = await pn.spawn(name="asker", kind=kind)
    pids.add(await pn.send(asker, "run", pin, options["near"]))
    return await pn.send(asker, "run", drive, answerer, options, list(pids))


async def spawns(options):
    """Spawn process actors from the main process."""
    return await stopwatch.spawn_times(
        lambda name: pn.spawn(name=name),
        lambda worker: pn.send(worker, "add", 1, 2),
        options,
    )


async def job(options, report):
    """Measure and report, then let the loop end the actors."""
    result = await (spawns if options["kind"] == "spawn" else asks)(options)
    result["versions"] = versions(options)
    report(result)


def versions(options):
    """What was measured."""
    found = {
        "python": platform.python_version(),
        "pulsar_native": pn.__version__,
    }
    if options["loop"] == "uv":
        import uvloop

        found["uvloop"] = uvloop.__version__
    return found


def measure(options, report):
    """Run in the loop under test."""
    if options["loop"] == "uv":
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(job(options, report))
    else:
        asyncio.run(job(options, report))
