"""Links spoken by hand: frames of any bytes, and a mailbox without actors."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from pulsar_native import _native

HELLO, NOTIFY, STOP, BOUND, PEER = range(1, 6)
CANCEL, PROGRESS, CREDIT, GRANT, LINK, SEGMENT = range(6, 12)
ASK, TELL, REPLY, ERROR, SPEC, DEFINE, LOG, DOWN, ITEM, SWITCH = range(16, 26)

_ENVELOPE = struct.Struct("<BBHHHQQQQQ")
_HELLO = struct.Struct("<4sHHI20s")


def frame(body: bytes, first: int = 0x82, mask: bytes = b"") -> bytes:
    """A WebSocket frame, final and binary unless *first* says otherwise."""
    bit = 0x80 if mask else 0
    if len(body) < 126:
        head = bytes([first, bit | len(body)])
    elif len(body) < 65536:
        head = bytes([first, bit | 126]) + struct.pack(">H", len(body))
    else:
        head = bytes([first, bit | 127]) + struct.pack(">Q", len(body))
    if mask:
        body = _native.apply_mask(body, mask)
    return head + mask + body


def envelope(
    kind: int,
    payload: bytes = b"",
    *,
    source: int = 0,
    target: int = 0,
    id: int = 0,
    command: bytes = b"",
    name: bytes = b"",
    flags: int | None = None,
    size: int | None = None,
    offset: int = 0,
    extension: bytes = b"",
) -> bytes:
    """The body of a frame, as docs/protocol.md lays it out."""
    return (
        _ENVELOPE.pack(
            kind,
            bool(name) if flags is None else flags,
            len(command),
            len(name),
            len(extension),
            source,
            target,
            id,
            len(payload) if size is None else size,
            offset,
        )
        + command
        + name
        + extension
        + payload
    )


def hello(
    magic: bytes = b"PNAT", wire: int = 1, python: int | None = None
) -> bytes:
    """The payload of HELLO; right unless told otherwise."""
    major, minor = sys.version_info[:2]
    ours = major * 256 + minor
    return _HELLO.pack(magic, wire, python or ours, 0, b"0.1.0")


def greeting(**fields: int) -> bytes:
    """The frame that a link must begin with."""
    return frame(envelope(HELLO, hello(), **fields))


def window(items: int) -> bytes:
    """The extension of an ask for a stream."""
    return struct.pack("<BBHQ", 3, 0, 8, items)


def descriptor(serial: int) -> bytes:
    """The extension of what comes with a descriptor."""
    return struct.pack("<BBHQ", 4, 0, 8, serial)


def in_segment(id: int, size: int, used: int) -> bytes:
    """The extension of what lies in a segment."""
    return struct.pack("<BBHQQQ", 5, 0, 24, id, size, used)


class Said(NamedTuple):
    """What a link has said, without its texts."""

    kind: int
    source: int
    target: int
    id: int
    payload: bytes


def split(data: bytes) -> list[Said]:
    """The messages of whole, short frames."""
    found = []
    while data:
        size, head = data[1], 2
        if size == 126:
            size, head = int.from_bytes(data[2:4], "big"), 4
        body, data = data[head : head + size], data[head + size :]
        kind, _, *texts, source, target, id, _, _ = _ENVELOPE.unpack_from(body)
        payload = body[_ENVELOPE.size + sum(texts) :]
        found.append(Said(kind, source, target, id, payload))
    return found


class Port:
    """Stands for an actor's port; every call is kept in *calls*."""

    def __init__(self, loads: Callable[[bytes], Any]) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.loads = loads
        self.table: dict[str, Any] = {}
        self.names: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any) -> Any:
            self.calls.append((name, *args))
            return b"" if name == "dump_error" else None

        return call

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of the calls of this name."""
        return [call[1:] for call in self.calls if call[0] == name]


class RawLink:
    """A mailbox numbered 2 whose only peer, number 1, is this object."""

    def __init__(
        self,
        port: Any,
        *,
        greet: bool = True,
        onward: bool = False,
        **limits: int,
    ) -> None:
        self.port = port
        self.mailbox = _native.Mailbox(2, None, port, **limits)
        ours, theirs = _native.link_pair()
        self.mailbox.connect(1, theirs, onward=onward)
        self.socket = socket.socket(fileno=ours)
        self.socket.setblocking(False)
        if greet:
            self.write(greeting())

    def __enter__(self) -> RawLink:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Both ends."""
        self.mailbox.close()
        self.socket.close()

    def write(self, data: bytes) -> None:
        """Send, and have the mailbox read until nothing is left."""
        left = memoryview(data)
        while left:
            try:
                left = left[self.socket.send(left) :]
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                return
            self.pump()
        self.pump()

    def say(self, kind: int, payload: bytes = b"", **fields: Any) -> None:
        """Send one right frame from actor 1 to actor 2."""
        fields = {"source": 1, "target": 2} | fields
        self.write(frame(envelope(kind, payload, **fields)))

    def pump(self) -> None:
        """Have the mailbox read what has come."""
        while self.mailbox.wait(0):
            pass

    @property
    def lost(self) -> list[tuple[int, int, str]]:
        """(number, status, text) of the links that the mailbox has lost."""
        return self.port.of("lost")


# --- for the command ``run``, in a malicious actor ---


def link_descriptor() -> int:
    """This process's end of its link: its send buffer tells."""
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as copy:
                size = copy.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
                if size == 2 * 80 * 1024:  # the kernel doubles what we ask
                    return int(name)
        except OSError:
            continue  # no socket, or that of the listing itself
    raise AssertionError("no link")


def write_raw(actor: Any, *chunks: bytes) -> None:
    """Write bytes onto the actor's own link, past its mailbox."""
    fd = link_descriptor()
    for chunk in chunks:
        os.write(fd, chunk)


def write_and_die(actor: Any, data: bytes) -> None:
    """The same, and end before the rest could follow."""
    write_raw(actor, data)
    os._exit(3)
