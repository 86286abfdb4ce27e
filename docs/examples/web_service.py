"""A web service that loses no request when it is told to stop.

    python web_service.py [PORT]        0, or nothing: any free port

    GET /ready          200 while it takes requests, else 503
    GET /count?TEXT     the number of words, counted by an actor

Its actors are a supervised pool: one that dies has a successor, and what it
was asked is asked again. At SIGTERM or SIGINT it says that it is not ready any
more, waits until the load balancer has noticed (the variable LAG: seconds, 1
if not set), takes no more connections, answers what it has been asked, drains
its actors, and ends with 0. A second signal ends it at once.
"""

import asyncio
import contextlib
import os
import signal
import sys
import urllib.parse

import pulsar_native as pn

WORKERS = pn.usable_cpus()
LAG = float(os.environ.get("LAG", "1"))
LIMIT = 20.0  # seconds for requests that are under way


@pn.command()
async def count(request, text):
    """Work that takes a while."""
    await asyncio.sleep(0.05)
    return len(text.split())


@contextlib.asynccontextmanager
async def lifespan():
    """What the service needs while it lives: its actors."""
    async with pn.supervisor() as sup:
        yield await sup.spawn(WORKERS, name="worker")
    # What they had begun, they have finished.


class Service:
    """Answers HTTP requests, each on a connection of its own."""

    def __init__(self, pool):
        self.count = pool.send.options(retry=True)  # twice is no harm
        self.ready = True
        self.under_way = set()

    async def serve(self, reader, writer):
        """One connection."""
        task = asyncio.current_task()
        self.under_way.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            status, body = await self.answer(method, target)
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n"
                f"Connection: close\r\n\r\n{body}".encode()
            )
            await writer.drain()
        except (OSError, ValueError, EOFError, asyncio.LimitOverrunError):
            pass  # whoever it was does not speak HTTP, or has gone
        finally:
            writer.close()
            self.under_way.discard(task)

    async def answer(self, method, target):
        """Status and body."""
        path, _, query = target.partition("?")
        if path == "/ready":
            return (
                ("200 OK", "ready\n")
                if self.ready
                else ("503 Service Unavailable", "stopping\n")
            )
        if (method, path) != ("GET", "/count"):
            return "404 Not Found", "there is /ready and /count\n"
        text = urllib.parse.unquote_plus(query)
        try:
            found = await self.count(count, text)
        except pn.PulsarException as error:  # ActorDown, say
            return "502 Bad Gateway", f"{error}\n"
        return "200 OK", f"{found}\n"

    async def finish(self):
        """Wait for the requests that are under way."""
        if self.under_way:
            await asyncio.wait(self.under_way, timeout=LIMIT)


def signalled():
    """A future that the first signal resolves; the second ends us."""
    loop = asyncio.get_running_loop()
    told = loop.create_future()
    signals = (signal.SIGTERM, signal.SIGINT)

    def tell():
        told.set_result(None)
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, tell)
    return told


async def main(port):
    told = signalled()
    async with lifespan() as pool:
        service = Service(pool)
        server = await asyncio.start_server(service.serve, "127.0.0.1", port)
        print("listening on", server.sockets[0].getsockname()[1], flush=True)
        await told
        service.ready = False
        print("not ready any more", flush=True)
        await asyncio.sleep(LAG)
        server.close()
        await service.finish()
    print("bye", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
