"""The peer lapinbeam of death.py: a node in another process is killed.

Its actors live in the process that starts them; an ask of a node that is gone
fails by its own timeout only. Shown is the event ``peer_disconnected``, by
which a node knows that another one is gone.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from importlib.metadata import version

from lapinbeam import Node


def free_port():
    """A port of the loopback that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def node_main(name, ready):
    """The other node, until it is killed."""

    async def main():
        async with Node(name):
            ready.set()
            await asyncio.sleep(3600)

    asyncio.run(main())


async def death(node, number):
    """Until the event that tells of its end."""
    context = multiprocessing.get_context("spawn")
    loop = asyncio.get_running_loop()
    gone = loop.create_future()
    name = f"other{number}@127.0.0.1:{free_port()}"

    def hear(event):
        if event["kind"] == "peer_disconnected" and event["peer"] == name:
            gone.set_result(time.monotonic())

    node.on_event(hear)
    ready = context.Event()
    process = context.Process(target=node_main, args=(name, ready))
    process.start()
    await loop.run_in_executor(None, ready.wait)
    await node.connect_peer(name)
    begin = time.monotonic()
    os.kill(process.pid, signal.SIGKILL)
    seconds = await gone - begin
    node.forget_peer(name)
    process.join()
    return seconds


async def main(count):
    """All times."""
    async with Node(f"main@127.0.0.1:{free_port()}") as node:
        times = [await death(node, number) for number in range(count)]
    result = {"times": times, "version": version("lapinbeam")}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    assert sys.argv[1] == "death"
    asyncio.run(main(int(sys.argv[2])))
