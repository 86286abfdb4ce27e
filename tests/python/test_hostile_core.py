"""What the core withstands: peers that say what they may not, and programs
that call back into it at the worst moment."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from test_mailbox import World, double
from wire_help import (
    ASK,
    HELLO,
    LINK,
    TELL,
    descriptor,
    envelope,
    frame,
    hello,
    in_segment,
)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


class Raw:
    """A node of our own making, linked to a mailbox."""

    def __init__(self, world: World, other: Any, number: int) -> None:
        self.world, self.number = world, number
        self.socket: socket.socket = world.raw(other, number)
        self.socket.setblocking(False)
        self.write(envelope(HELLO, hello(), source=number))

    def write(self, *bodies: bytes) -> None:
        for body in bodies:
            self.socket.sendall(frame(body))
        self.world.loop.run()

    def is_open(self) -> bool:
        try:
            while self.socket.recv(1 << 16):
                pass
        except BlockingIOError:
            return True
        except ConnectionResetError:
            pass
        return False


# --- what an arbiter passes on ---


@pytest.mark.parametrize(
    "extension",
    [
        b"\x01",
        b"\x01\x00\x08\x00",
        struct.pack("<BBHQ", 1, 0, 8, 0),
        struct.pack("<BBHQ", 1, 0, 8, 5) * 2,
        descriptor(1),
        descriptor(2**64 - 1),
        in_segment(1, 1 << 16, 1 << 16),
    ],
)
@pytest.mark.parametrize("kind", [ASK, TELL, LINK])
def test_extension_that_cannot_be_relayed_ends_its_senders_link_alone(
    world: World, kind: int, extension: bytes
) -> None:
    arbiter, victim, _ = world.star()
    victim.command("double", double)
    hostile = Raw(world, arbiter, 9)
    hostile.write(
        envelope(
            kind,
            b"x",
            source=9,
            target=2,
            id=1,
            command=b"double",
            extension=extension,
        )
    )
    assert not hostile.is_open()
    assert not victim.port.heard("lost")
    assert world.result(arbiter.send(2, "double", 21)) == 42


def chunk(offset: int, size: int = 100_000, id: int = 1) -> bytes:
    return envelope(
        ASK,
        b"x" * 1000,
        source=9,
        target=2,
        id=id,
        command=b"" if offset else b"double",
        size=size,
        offset=offset,
    )


@pytest.mark.parametrize(
    "second",
    [chunk(0), chunk(500), chunk(2000), chunk(1000, size=99_999)],
    ids=["again", "back", "ahead", "other size"],
)
def test_relayed_chunks_out_of_order_hurt_nobody_else(
    world: World, second: bytes
) -> None:
    arbiter, victim, _ = world.star()
    victim.command("double", double)
    hostile = Raw(world, arbiter, 9)
    hostile.write(chunk(0), second)
    assert not victim.port.heard("lost")
    assert world.result(arbiter.send(2, "double", 21)) == 42
