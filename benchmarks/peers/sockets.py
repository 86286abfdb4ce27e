"""Hand-written peers: pickle over a Unix socket, ids and futures.

Two styles, each on any loop: ``streams`` (asyncio streams, as most would
write it) and ``protocol`` (asyncio.Protocol, as the best would). Messages
are length-prefixed; an ask is (id, name, args), an answer (id, result).
Runs on Python 3.6 too.
"""

import asyncio
import multiprocessing
import os
import pickle
import platform
import shutil
import signal
import struct
import tempfile

import stopwatch

LENGTH = struct.Struct("!I")
HIGHEST = pickle.HIGHEST_PROTOCOL


def add(a, b):
    """The sum; a synchronous command, as in the other peers."""
    return a + b


def pin(cores):
    """Pin this process to *cores*; answers its pid."""
    os.sched_setaffinity(0, cores)
    return os.getpid()


async def drive(style, path, options, pids):
    """Connect to the server at *path* and ask it."""
    link = await LINKS[style](path)
    try:
        return await stopwatch.closed_loop(
            lambda: link.ask("add", 1, 2), options, pids
        )
    finally:
        link.close()


COMMANDS = {"add": add, "pin": pin, "drive": drive}


def pack(message):
    """A message with its length in front."""
    body = pickle.dumps(message, HIGHEST)
    return LENGTH.pack(len(body)) + body


# --- streams -------------------------------------------------------------


async def read_message(reader):
    """The next message."""
    (size,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    return pickle.loads(await reader.readexactly(size))


class StreamLink:
    """The asking end, on asyncio streams."""

    def __init__(self, reader, writer):
        self.writer = writer
        self.loop = asyncio.get_event_loop()
        self.pending = {}
        self.last = 0
        self.reading = self.loop.create_task(self.read(reader))

    async def read(self, reader):
        """Give every answer to its future."""
        while True:
            ident, result = await read_message(reader)
            self.pending.pop(ident).set_result(result)

    async def ask(self, name, *args):
        """The answer of command *name*."""
        self.last += 1
        future = self.pending[self.last] = self.loop.create_future()
        self.writer.write(pack((self.last, name, args)))
        await self.writer.drain()
        return await future

    def close(self):
        """Stop reading and close the socket."""
        self.reading.cancel()
        self.writer.close()


async def stream_link(path):
    """Connect with streams."""
    return StreamLink(*await asyncio.open_unix_connection(path))


async def serve_streams(path):
    """Answer with streams; a synchronous command needs no task."""
    loop = asyncio.get_event_loop()
    tasks = set()

    async def finish(writer, ident, coroutine):
        writer.write(pack((ident, await coroutine)))

    async def serve(reader, writer):
        try:
            while True:
                ident, name, args = await read_message(reader)
                result = COMMANDS[name](*args)
                if asyncio.iscoroutine(result):
                    task = loop.create_task(finish(writer, ident, result))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    continue
                writer.write(pack((ident, result)))
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    return await asyncio.start_unix_server(serve, path)


# --- protocol ------------------------------------------------------------


class Framed(asyncio.Protocol):
    """Parses every whole message of a chunk; keeps the rest."""

    transport = None
    rest = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if self.rest:
            data = self.rest + data
        at, total = 0, len(data)
        with memoryview(data) as view:
            while at + 4 <= total:
                end = at + 4 + LENGTH.unpack_from(data, at)[0]
                if end > total:
                    break
                self.received(pickle.loads(view[at + 4 : end]))
                at = end
        self.rest = data[at:]


class Asker(Framed):
    """The asking end, a protocol."""

    def __init__(self):
        self.loop = asyncio.get_event_loop()
        self.pending = {}
        self.last = 0

    def received(self, message):
        ident, result = message
        self.pending.pop(ident).set_result(result)

    def ask(self, name, *args):
        """A future of the answer of command *name*."""
        self.last += 1
        future = self.pending[self.last] = self.loop.create_future()
        self.transport.write(pack((self.last, name, args)))
        return future

    def close(self):
        """Close the socket."""
        self.transport.close()


class Answerer(Framed):
    """The answering end: synchronous commands answer at once."""

    def __init__(self):
        self.loop = asyncio.get_event_loop()
        self.tasks = set()

    def received(self, message):
        ident, name, args = message
        result = COMMANDS[name](*args)
        if not asyncio.iscoroutine(result):
            self.transport.write(pack((ident, result)))
            return
        task = self.loop.create_task(self.finish(ident, result))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def finish(self, ident, coroutine):
        self.transport.write(pack((ident, await coroutine)))


async def protocol_link(path):
    """Connect with a protocol."""
    loop = asyncio.get_event_loop()
    return (await loop.create_unix_connection(Asker, path))[1]


async def serve_protocol(path):
    """Answer with a protocol."""
    loop = asyncio.get_event_loop()
    return await loop.create_unix_server(Answerer, path)


LINKS = {"streams": stream_link, "protocol": protocol_link}
SERVERS = {"streams": serve_streams, "protocol": serve_protocol}


# --- processes -----------------------------------------------------------


def new_loop(options):
    """A fresh loop of the kind under test, set as the current one."""
    if options["loop"] == "uv":
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def worker_main(options, path, ready):
    """A worker process: serve until terminated."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loop = new_loop(options)
    server = loop.run_until_complete(SERVERS[options["style"]](path))
    ready.set()
    loop.run_forever()
    server.close()


def start_worker(options, path):
    """Start a worker and wait until it listens at *path*."""
    ready = multiprocessing.Event()
    process = multiprocessing.Process(
        target=worker_main, args=(options, path, ready), daemon=True
    )
    process.start()
    if not ready.wait(20):
        raise RuntimeError("the worker did not start")


async def asks(options, answerer, asker):
    """Ask the answerer from here, or from the asker."""
    style = options["style"]
    far, near = [await LINKS[style](path) for path in (answerer, asker)]
    try:
        pids = [os.getpid(), await far.ask("pin", options["far"])]
        if options["asker"] == "main":
            os.sched_setaffinity(0, options["near"])
            return await drive(style, answerer, options, pids)
        pids.append(await near.ask("pin", options["near"]))
        return await near.ask("drive", style, answerer, options, pids)
    finally:
        far.close()
        near.close()


def versions(options):
    """What was measured."""
    found = {"python": platform.python_version()}
    if options["loop"] == "uv":
        import uvloop

        found["uvloop"] = uvloop.__version__
    return found


def measure(options, report):
    """Start the workers, measure, report."""
    folder = tempfile.mkdtemp()
    try:
        paths = [os.path.join(folder, name) for name in ("far", "near")]
        for path in paths:
            start_worker(options, path)
        loop = new_loop(options)
        result = loop.run_until_complete(asks(options, *paths))
        loop.run_until_complete(asyncio.sleep(0.01))  # let the links close
        loop.close()
        result["versions"] = versions(options)
        report(result)
    finally:
        shutil.rmtree(folder)
