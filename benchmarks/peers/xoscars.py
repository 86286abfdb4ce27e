"""The peer xoscar: actors of one pool, in one process and loop.

``ref`` says how the asker got its reference: ``created`` is the one that
``create_actor`` gives, whose calls are messages over an in-process channel;
``found`` is the one that ``actor_ref`` gives there, whose calls are direct
calls of the method under the actor's lock: no message, no copy.
"""

import asyncio
import os
import platform
from importlib.metadata import version

import stopwatch
import xoscar


class Adder(xoscar.Actor):
    """Answers a sum."""

    def add(self, a, b):
        return a + b


class Asker(xoscar.StatelessActor):
    """Asks from within the pool."""

    async def drive(self, answerer, options):
        return await drive(answerer, options)


async def drive(answerer, options):
    """Ask for the measured time."""
    if options["ref"] == "found":
        uid = answerer.uid
        answerer = await xoscar.actor_ref(answerer.address, uid)
    return await stopwatch.closed_loop(
        lambda: answerer.add(1, 2), options, [os.getpid()]
    )


async def asks(options):
    """Ask from the main program, or from another actor of the pool."""
    pool = await xoscar.create_actor_pool("127.0.0.1:0", n_process=0)
    address = pool.external_address
    try:
        answerer = await xoscar.create_actor(
            Adder, address=address, uid="answerer"
        )
        if options["asker"] == "main":
            return await drive(answerer, options)
        asker = await xoscar.create_actor(Asker, address=address, uid="asker")
        return await asker.drive(answerer, options)
    finally:
        await pool.stop()


def measure(options, report):
    """Measure and report."""
    result = asyncio.run(asks(options))
    result["versions"] = {
        "python": platform.python_version(),
        "xoscar": version("xoscar"),
    }
    report(result)
