"""RFC 6455 frames in plain Python, slow and obvious: what the C codec must
do. It decodes a whole stream at once."""

from __future__ import annotations

from typing import NamedTuple

CONTROL = {8, 9, 10}
KNOWN = {0, 1, 2} | CONTROL


class Broken(Exception):
    """The stream breaks a rule; the argument is the close code."""


class ModelFrame(NamedTuple):
    opcode: int
    final: bool
    key: bytes
    body: str | bytes


def mask(data: bytes, key: bytes) -> bytes:
    return bytes(b ^ key[i % 4] for i, b in enumerate(data))


def encode(
    opcode: int,
    payload: bytes,
    final: bool = True,
    key: bytes | None = None,
    rsv: int = 0,
) -> bytes:
    head = bytes([final << 7 | rsv << 4 | opcode])
    bit = 0 if key is None else 0x80
    size = len(payload)
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if key is None:
        return head + payload
    return head + key + mask(payload, key)


def close_is_right(body: bytes) -> int:
    """0, or the close code that answers a broken close frame."""
    if not body:
        return 0
    code = int.from_bytes(body[:2], "big")
    right = (
        code in range(1000, 1004)
        or code in range(1007, 1015)
        or code in range(3000, 5000)
    )
    if len(body) == 1 or not right:
        return 1002
    try:
        body[2:].decode()
    except UnicodeDecodeError:
        return 1007
    return 0


def text_status(data: bytes) -> str:
    """'whole', 'cut' (within a character) or 'wrong'."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        cut = error.reason == "unexpected end of data"
        return "cut" if cut else "wrong"
    return "whole"


class Model:
    """Decode stream, all of it: *frames* are those before *code*, which is 0
    or the close code of the first error."""

    def __init__(
        self, stream: bytes, masked: bool, max_frame: int, max_message: int
    ) -> None:
        self.stream = stream
        self.masked = masked
        self.max_frame = max_frame
        self.max_message = max_message
        self.frames: list[ModelFrame] = []
        self.message = 0  # the opcode of the message under way
        self.parts = b""  # of it
        self.size = 0
        self.carry = b""
        self.code = 0
        try:
            while self.one_frame():
                pass
        except Broken as error:
            (self.code,) = error.args

    def take(self, size: int) -> bytes:
        data, self.stream = self.stream[:size], self.stream[size:]
        return data

    def header(self) -> tuple[int, bool, int] | None:
        """(opcode, final, length), or None if it is cut short."""
        s = self.stream
        if not s:
            return None
        opcode, final = s[0] & 15, s[0] > 127
        if s[0] & 0x70 or opcode not in KNOWN:
            raise Broken(1002)
        if opcode in CONTROL and not final:
            raise Broken(1002)
        if len(s) < 2:
            return None
        if opcode in CONTROL and s[1] & 127 > 125:
            raise Broken(1002)
        if (s[1] > 127) != self.masked:
            raise Broken(1002)
        extra = {126: 2, 127: 8}.get(s[1] & 127, 0)
        if len(s) < 2 + extra:
            return None
        length = s[1] & 127
        if extra:
            length = int.from_bytes(s[2 : 2 + extra], "big")
            if length < (126 if extra == 2 else 65536) or length >= 1 << 63:
                raise Broken(1002)
        if len(s) < 2 + extra + 4 * self.masked:
            return None
        self.take(2 + extra)
        return opcode, final, length

    def begin(self, opcode: int, length: int) -> None:
        if opcode in CONTROL:
            return
        if opcode == 0:
            if not self.message:
                raise Broken(1002)
        else:
            if self.message:
                raise Broken(1002)
            self.message, self.parts, self.size = opcode, b"", 0
        self.size += length
        if length > self.max_frame or self.size > self.max_message:
            raise Broken(1009)

    def one_frame(self) -> bool:
        header = self.header()
        if header is None:
            return False
        opcode, final, length = header
        self.begin(opcode, length)
        key = self.take(4) if self.masked else b""
        data = self.take(length)
        body = mask(data, key) if key else data
        whole = len(body) == length
        if opcode not in CONTROL and self.message == 1:
            status = text_status(self.parts + body)
            if status == "wrong" or (status == "cut" and final and whole):
                raise Broken(1007)
        if not whole:
            return False
        if opcode == 8 and close_is_right(body):
            raise Broken(close_is_right(body))
        self.frames.append(
            ModelFrame(opcode, final, key, self.shape(opcode, body))
        )
        if opcode not in CONTROL:
            self.parts += body
            if final:
                self.message = 0
        return True

    def shape(self, opcode: int, body: bytes) -> str | bytes:
        """The body as a Frame shows it: a character cut short by the end of
        a str moves to the next fragment that has a payload."""
        if opcode == 1:
            text = body.decode(errors="ignore")
            self.carry = body[len(text.encode()) :]
            return text
        if opcode == 0 and body:
            body, self.carry = self.carry + body, b""
        return body
