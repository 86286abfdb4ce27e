"""The peer xoscar of death.py and restart.py: an actor in a sub-pool.

An ask under way fails with ServerClosed when the connection ends. The main
pool looks every half second whether its sub-pools live, and starts those
again that do not, with their actors: the process is killed at a random moment
of that period.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from importlib.metadata import version

import xoscar
from xoscar.errors import ServerClosed

PERIOD = 0.5
moments = random.Random(5)


async def killed(actor):
    """When the actor's process was killed, and when its ask failed."""
    asked = asyncio.ensure_future(actor.work())
    pid = await actor.pid()
    await asyncio.sleep(moments.uniform(0, PERIOD))
    begin = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    try:
        await asked
    except ServerClosed:
        return begin, time.monotonic(), pid
    raise AssertionError("it answered")


async def death(pool, number):
    """An actor in a new sub-pool: until its ask fails."""
    from births_xoscar import Waiter

    address = await pool.append_sub_pool()
    uid = f"waiter{number}"
    actor = await xoscar.create_actor(Waiter, address=address, uid=uid)
    begin, failed, _ = await killed(actor)
    return failed - begin


async def restart(pool, number):
    """The one actor, again and again: until it answers anew."""
    from births_xoscar import Waiter

    main = pool.external_address
    if number == 0:
        await xoscar.create_actor(
            Waiter,
            address=main,
            uid="waiter",
            allocate_strategy=xoscar.allocate_strategy.ProcessIndex(1),
        )
    address = next(iter(pool.sub_processes))
    actor = await xoscar.actor_ref(address, "waiter")
    begin, _, last = await killed(actor)
    while True:
        await xoscar.wait_actor_pool_recovered(address, main)
        try:
            actor = await xoscar.actor_ref(address, "waiter")
            if await actor.pid() != last:
                return time.monotonic() - begin
        except (ServerClosed, OSError, xoscar.ActorNotExist):
            await asyncio.sleep(0.001)


async def main(question, count):
    """All times."""
    # Where its new interpreters find the actor's module.
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
    pool = await xoscar.create_actor_pool(
        "127.0.0.1:0",
        n_process=1,
        auto_recover="actor" if question == "restart" else False,
    )
    measure = {"death": death, "restart": restart}[question]
    times = [await measure(pool, number) for number in range(count)]
    result = {"times": times, "version": version("xoscar")}
    print(json.dumps(result), flush=True)
    await pool.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
