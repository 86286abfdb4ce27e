"""WebSocket frames (RFC 6455) without I/O, for any WebSocket program.

A parser turns bytes into frames and messages into bytes; the rest, sockets
and the opening handshake, is the program's::

    parser = frame_parser(kind=1)              # a client's
    transport.write(parser.encode("hello"))

    def data_received(self, data: bytes) -> None:
        for frame in parser.decode_all(data):
            if frame.is_ping:
                transport.write(parser.pong(frame.body))
            ...

What goes wrong on the wire is a :exc:`ProtocolError`; its ``status_code`` is
the close code to answer with: ``transport.write(parser.close(code))``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from os import urandom
from typing import TYPE_CHECKING, Any

from . import _native
from ._native import CLOSE_CODES, Frame, apply_mask, mask_in_place
from .exceptions import ProtocolError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._native import _Message

__all__ = [
    "CLOSE_CODES",
    "DEFAULT_VERSION",
    "SUPPORTED_VERSIONS",
    "Frame",
    "FrameParser",
    "apply_mask",
    "frame_parser",
    "get_version",
    "mask_in_place",
    "parse_close",
    "websocket_key",
]

SUPPORTED_VERSIONS = (13,)
DEFAULT_VERSION = 13


class FrameParser(_native.FrameParser):
    __doc__ = _native.FrameParser.__doc__
    __slots__ = ()

    def multi_encode(
        self,
        message: _Message,
        masking_key: Buffer | None = None,
        opcode: int | None = None,
        rsv1: object = 0,
        rsv2: object = 0,
        rsv3: object = 0,
        max_payload: int = 0,
    ) -> Iterator[bytes]:
        """Encode *message* as frames of at most *max_payload* bytes each.

        The first frame carries *opcode* and the reserved bits, those after
        it are continuations, the last is final. *max_payload* is at least 2;
        0 stands for the parser's own. The other arguments are those of
        :meth:`encode`. An empty message is one empty frame.

        Raises what :meth:`encode` raises, at the first iteration.
        """
        size = max(max_payload or self.max_payload, 2)
        if opcode is None:
            opcode = 1 if isinstance(message, str) else 2
        view = memoryview(_payload(message)).cast("B")
        yield self.encode(
            view[:size],
            final=len(view) <= size,
            masking_key=masking_key,
            opcode=opcode,
            rsv1=rsv1,
            rsv2=rsv2,
            rsv3=rsv3,
        )
        for start in range(size, len(view), size):
            yield self.encode(
                view[start : start + size],
                final=start + size >= len(view),
                masking_key=masking_key,
                opcode=0,
            )


def _payload(message: _Message) -> Buffer:
    if message is None:
        return b""
    if isinstance(message, str):
        return message.encode()
    if memoryview(message).c_contiguous:
        return message
    return bytes(message)


def get_version(version: int | str | None) -> int:
    """The protocol's version as an int; that is 13, the default.

    Raises ProtocolError for any other.
    """
    try:
        number = int(version or DEFAULT_VERSION)
    except (TypeError, ValueError):
        number = 0
    if number not in SUPPORTED_VERSIONS:
        raise ProtocolError(f"WebSocket version {version!r} is not supported")
    return number


def frame_parser(
    version: int | str | None = None,
    kind: int = 0,
    extensions: Iterable[Any] | None = None,
    protocols: Iterable[Any] | None = None,
    *,
    max_payload: int | None = None,
    max_message: int | None = None,
) -> FrameParser:
    """A new :class:`FrameParser`.

    *version* is 13, or None. *kind*: 0 server (decodes masked frames, sends
    plain ones), 1 client (the reverse), 2 plain both ways, 3 masked both
    ways. *extensions* and *protocols* are kept as attributes and not used.
    *max_payload* limits the bytes of a data frame that comes in (64 MiB by
    default), *max_message* those of all frames of a message (by default as
    *max_payload*).

    Raises ProtocolError for another version, ValueError for another kind or
    a limit out of range.
    """
    get_version(version)
    return FrameParser(
        kind,
        extensions,
        protocols,
        max_payload=max_payload,
        max_message=max_message,
    )


def parse_close(body: Buffer) -> tuple[int, str]:
    """The (code, reason) of a close frame's body; (1005, "") if it is empty.

    Raises ProtocolError for a body of one byte and for a code that may not
    be on the wire, UnicodeDecodeError for a reason that is not UTF-8.
    """
    data = bytes(body)
    if not data:
        return 1005, ""
    code = int.from_bytes(data[:2], "big")
    if len(data) == 1 or not _native.close_code_is_valid(code):
        error = ProtocolError(f"close frame with a wrong code: {data[:2]!r}")
        error.status_code = 1002
        raise error
    return code, data[2:].decode()


def websocket_key() -> str:
    """A new value for the header ``Sec-WebSocket-Key``: 16 random bytes."""
    return b64encode(urandom(16)).decode()
