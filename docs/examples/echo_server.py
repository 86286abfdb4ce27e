"""A server that runs in an actor.

    python docs/examples/echo_server.py

The actor's `start` hook opens a server on a free port and leaves the address
in `actor.extra`, which is part of what the actor tells when it is asked for
`info`. The program asks, connects and talks to the server.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pulsar_native as pn


class Echo(asyncio.Protocol):
    """Sends back what it receives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send *data* back."""
        self.transport.write(data)


class EchoServer:
    """A `start` hook: opens an echo server in the actor that starts."""

    async def __call__(self, actor: Any, exc: Exception | None = None) -> None:
        """Listen; *exc* is what kept the actor from starting, if anything."""
        if exc is not None:
            return
        server = await actor._loop.create_server(Echo, "127.0.0.1", 0)
        actor.servers["echo"] = server
        actor.extra["echo-address"] = server.sockets[0].getsockname()


def close_server(actor: Any) -> None:
    """Close the server: the `stopping` hook."""
    actor.servers.pop("echo").close()


async def main() -> None:
    """Start the server in an actor, and use it from here."""
    worker = await pn.spawn(
        name="echo", start=EchoServer(), stopping=close_server
    )
    info = await pn.send(worker, "info")
    host, port = info["extra"]["echo-address"]
    print(f"{info['actor']['name']} listens on {host}, a free port")

    reader, writer = await asyncio.open_connection(host, port)
    for line in b"hello\n", b"anybody there?\n":
        writer.write(line)
        print("echo:", (await reader.readline()).decode().rstrip())
    writer.close()
    await writer.wait_closed()
    await pn.send(worker, "stop")


asyncio.run(main())
