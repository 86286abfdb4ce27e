"""Items from one process to another: streams, asks, and what one writes by
hand. ``size`` is that of an item in bytes (0: an int), ``array`` makes it a
NumPy array; the last item is None."""

import asyncio
import multiprocessing
import os
import pickle
import platform
import socket
import struct
import time
from importlib.metadata import version

import pulsar_native as pn

LENGTH = struct.Struct("!Q")


def item_of(options):
    """One item."""
    if options["array"]:
        import numpy

        return numpy.zeros(options["size"], dtype="u1")
    return bytes(options["size"]) if options["size"] else 7


def check(item, options):
    """That it is whole."""
    if options["size"] and len(item) != options["size"]:
        raise RuntimeError("an item is not whole")


@pn.command()
async def flow_items(request, options):
    """Items without end."""
    item = item_of(options)
    while True:
        yield item


@pn.command()
def flow_item(request, options):
    """One item."""
    return item_of(options)


class Count:
    """Items in the measured time, which the first one starts."""

    def __init__(self, options):
        self.options, self.items = options, 0
        self.begin = self.end = 0

    def more(self, item):
        """Count *item*; whether there is time for others."""
        check(item, self.options)
        now = time.perf_counter()
        if not self.end:
            self.begin = now + self.options["warmup"]
            self.end = self.begin + self.options["seconds"]
        self.items += self.begin <= now < self.end
        return now < self.end

    def result(self):
        """Items and MB a second."""
        rate = self.items / self.options["seconds"]
        return {"rate": rate, "mb": rate * self.options["size"] / 1e6}


async def native(options):
    """A stream of a process actor, with this window."""
    worker = await pn.spawn()
    count = Count(options)
    stream = pn.stream.options(window=options["window"])
    async with stream(worker, flow_items, options) as items:
        async for item in items:
            if not count.more(item):
                break
    return count.result()


async def asks(options):
    """An ask for each item."""
    worker = await pn.spawn()
    count = Count(options)
    while count.more(await pn.send(worker, flow_item, options)):
        pass
    return count.result()


def write_items(descriptor, options):
    """The other end of asyncio_streams: pickles with their length."""

    async def write():
        sock = socket.socket(fileno=descriptor)
        _, writer = await asyncio.open_unix_connection(sock=sock)
        item = item_of(options)
        while True:
            data = pickle.dumps(item, 5)
            writer.write(LENGTH.pack(len(data)) + data)
            await writer.drain()

    try:
        asyncio.run(write())
    except (ConnectionError, BrokenPipeError):
        os._exit(0)


async def asyncio_streams(options):
    """Pickles over asyncio streams, on a Unix socket pair."""
    ours, theirs = socket.socketpair()
    context = multiprocessing.get_context("fork")
    child = context.Process(
        target=write_items, args=(theirs.fileno(), options), daemon=True
    )
    child.start()
    theirs.close()
    reader, _ = await asyncio.open_unix_connection(sock=ours)
    count = Count(options)
    while True:
        (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        if not count.more(pickle.loads(await reader.readexactly(size))):
            return count.result()


def send_items(pipe, options):
    """The other end of pipe."""
    item = item_of(options)
    try:
        while True:
            pipe.send(item)
    except OSError:
        os._exit(0)


async def pipe(options):
    """multiprocessing.Pipe, both ends blocking."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    child = context.Process(
        target=send_items, args=(theirs, options), daemon=True
    )
    child.start()
    theirs.close()
    count = Count(options)
    while count.more(ours.recv()):
        pass
    return count.result()


def measure(options, report):
    """Measure one peer and report."""
    result = asyncio.run(globals()[options["peer"]](options))
    result["versions"] = {"python": platform.python_version()}
    if options["peer"] in ("native", "asks"):
        result["versions"]["pulsar_native"] = pn.__version__
    if options["array"]:
        result["versions"]["numpy"] = version("numpy")
    report(result)
