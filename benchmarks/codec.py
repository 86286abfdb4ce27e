"""What does a WebSocket frame cost to decode and to encode?

Beside picows, aiohttp and websockets (with their C extensions), without
sockets: bytes in, payloads as ``bytes`` or ``str`` out, and the reverse.

    pip install ".[bench]"
    python benchmarks/codec.py                 # everything, about a minute
    python benchmarks/codec.py --only 16 --rounds 21
    python benchmarks/codec.py --json FILE

A case is measured in rounds: each peer runs for some milliseconds, and each
round begins with another peer. The table shows medians in nanoseconds of CPU
time a frame; "ahead" is the best peer's divided by the better of our two.

"plain" is decoded as a client does, "masked" as a server. "whole": a chunk is
a frame; "chunks": 64 KiB at a time; "dribble": 1 to 17 bytes at a time. Two
forms of ours: ``decode_all``, and the loop over ``decode`` that gives a frame
a call; ``encode``, and ``encode_parts`` that gives header and payload apart,
as picows and aiohttp write all but small plain frames. picows is a
BufferedProtocol, so what it reads must first be copied into its buffer; the
others are given ``bytes``. picows takes its masking keys from rand(), aiohttp
from Python's Mersenne twister, websockets from os.urandom(), we from
getrandom() in bulk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import platform
import random
import shlex
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

Run = Callable[[int], int]  # repetitions -> frames handled

KIB = 1024
LOOP = asyncio.new_event_loop()
BUDGET = 0.003  # seconds of one measurement


# --- ours ------------------------------------------------------------------


def ours_decode_all(chunks: list[bytes], masked: bool, text: bool) -> Run:
    from pulsar_native.websocket import frame_parser

    parser = frame_parser(kind=0 if masked else 1)

    def run(times: int) -> int:
        decode_all = parser.decode_all
        frames = 0
        for _ in range(times):
            for chunk in chunks:
                for frame in decode_all(chunk):
                    frame.body  # noqa: B018
                    frames += 1
                frame = None
        return frames

    return run


def ours_decode(chunks: list[bytes], masked: bool, text: bool) -> Run:
    from pulsar_native.websocket import frame_parser

    parser = frame_parser(kind=0 if masked else 1)

    def run(times: int) -> int:
        decode = parser.decode
        frames = 0
        for _ in range(times):
            for chunk in chunks:
                frame = decode(chunk)
                while frame is not None:
                    frame.body  # noqa: B018
                    frames += 1
                    frame = decode()
        return frames

    return run


def ours_encode(payload: bytes, masked: bool) -> Run:
    from pulsar_native.websocket import frame_parser

    parser = frame_parser(kind=1 if masked else 0)

    def run(times: int) -> int:
        encode = parser.encode
        for _ in range(times):
            encode(payload)
        return times

    return run


def ours_encode_parts(payload: bytes, masked: bool) -> Run:
    from pulsar_native.websocket import frame_parser

    parser = frame_parser(kind=1 if masked else 0)

    def run(times: int) -> int:
        encode_parts = parser.encode_parts
        for _ in range(times):
            encode_parts(payload)
        return times

    return run


def ours_mask(payload: bytes, masked: bool) -> Run:
    from pulsar_native.websocket import apply_mask

    def run(times: int) -> int:
        for _ in range(times):
            apply_mask(payload, b"abcd")
        return times

    return run


def ours_mask_in_place(payload: bytes, masked: bool) -> Run:
    from pulsar_native.websocket import mask_in_place

    data = bytearray(payload)

    def run(times: int) -> int:
        for _ in range(times):
            mask_in_place(data, b"abcd")
        return times

    return run


# --- picows ----------------------------------------------------------------


class NoSocket:
    def setsockopt(self, *args: object) -> None: ...

    def getsockopt(self, *args: object) -> int:
        return 0

    def fileno(self) -> int:
        return -1


class NoTransport:
    """Takes what is written. The write buffer is never empty, so that picows
    hands its bytes over instead of calling send(2)."""

    def __init__(self) -> None:
        taken: deque[Any] = deque(maxlen=1)
        self.write = taken.append
        self.writelines = taken.extend

    def get_extra_info(self, name: str, default: object = None) -> object:
        return NoSocket() if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        return 1

    def is_closing(self) -> bool:
        return False


def picows_protocol(client: bool, listener: Any, size: int) -> Any:
    from base64 import b64encode
    from hashlib import sha1

    from picows.picows import WSAutoPingStrategy, WSProtocol

    transport = NoTransport()
    sent: list[bytes] = []
    transport.write = sent.append  # type: ignore[assignment]

    async def make() -> Any:
        return WSProtocol(
            "host", "/", client, lambda *args: listener,
            logging.getLogger("picows"), True, None,
            False, 10, 10, WSAutoPingStrategy.PING_WHEN_IDLE,
            True, 64 * KIB * KIB, None, size,
        )  # fmt: skip

    protocol = LOOP.run_until_complete(make())
    protocol.connection_made(transport)
    if client:
        key = next(
            line.split(b":")[1].strip()
            for line in b"".join(sent).split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = b64encode(sha1(key + guid).digest())
        hello = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n" % accept
        )
    else:
        hello = (
            b"GET / HTTP/1.1\r\nHost: host\r\nUpgrade: websocket\r\n"
            b"Connection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
    picows_feed(protocol, hello)
    return protocol


def picows_feed(protocol: Any, data: bytes) -> None:
    while data:
        room = protocol.get_buffer(-1)
        size = min(len(room), len(data))
        room[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]


def picows_decode(chunks: list[bytes], masked: bool, text: bool) -> Run:
    from picows import WSListener

    class Listener(WSListener):  # type: ignore[misc]
        frames = 0

        def on_ws_connected(self, transport: Any) -> None: ...

        if text:

            def on_ws_frame(self, transport: Any, frame: Any) -> None:
                frame.get_payload_as_utf8_text()
                self.frames += 1

        else:

            def on_ws_frame(self, transport: Any, frame: Any) -> None:
                frame.get_payload_as_bytes()
                self.frames += 1

    listener = Listener()
    biggest = max(len(chunk) for chunk in chunks)
    size = 2 * sum(len(c) for c in chunks) if biggest < 20 else 2 * biggest
    protocol = picows_protocol(not masked, listener, size + 64 * KIB)

    def run(times: int) -> int:
        get_buffer, updated = protocol.get_buffer, protocol.buffer_updated
        before = listener.frames
        for _ in range(times):
            for chunk in chunks:
                room, size = get_buffer(-1), len(chunk)
                if len(room) < size:
                    picows_feed(protocol, chunk)
                    continue
                room[:size] = chunk
                updated(size)
        return listener.frames - before

    return run


def picows_encode(payload: bytes, masked: bool) -> Run:
    from picows import WSListener, WSMsgType

    protocol = picows_protocol(masked, WSListener(), 4 * KIB)
    transport = NoTransport()
    from picows.picows import WSTransport

    sender = WSTransport(masked, transport, logging.getLogger("picows"), LOOP)
    del protocol

    def run(times: int) -> int:
        send, binary = sender.send, WSMsgType.BINARY
        for _ in range(times):
            send(binary, payload)
        return times

    return run


# --- aiohttp ---------------------------------------------------------------


class Paused:
    _reading_paused = True
    _paused = False


def aiohttp_decode(chunks: list[bytes], masked: bool, text: bool) -> Run:
    from aiohttp._websocket.reader_c import WebSocketDataQueue, WebSocketReader

    def run(times: int) -> int:
        queue = WebSocketDataQueue(Paused(), 2**31 - 1, loop=LOOP)
        reader = WebSocketReader(queue, 2**31, False, True)
        ready = queue._buffer
        take, feed = ready.popleft, reader.feed_data
        frames = 0
        for _ in range(times):
            for chunk in chunks:
                feed(chunk)
                while ready:
                    take()
                    frames += 1
        return frames

    return run


def aiohttp_encode(payload: bytes, masked: bool) -> Run:
    from aiohttp._websocket.writer import WebSocketWriter

    writer = WebSocketWriter(Paused(), NoTransport(), use_mask=masked)

    def run(times: int) -> int:
        write = writer._write_websocket_frame
        for _ in range(times):
            write(payload, 2, 0)
        return times

    return run


def aiohttp_mask(payload: bytes, masked: bool) -> Run:
    from aiohttp._websocket.helpers import websocket_mask

    data = bytearray(payload)

    def run(times: int) -> int:
        for _ in range(times):
            websocket_mask(b"abcd", data)
        return times

    return run


# --- websockets ------------------------------------------------------------


def websockets_decode(chunks: list[bytes], masked: bool, text: bool) -> Run:
    from websockets.protocol import CLIENT, SERVER, Protocol

    protocol = Protocol(SERVER if masked else CLIENT, max_size=None)

    def run(times: int) -> int:
        receive, events = protocol.receive_data, protocol.events_received
        frames = 0
        for _ in range(times):
            for chunk in chunks:
                receive(chunk)
                for frame in events():
                    if text:
                        str(frame.data, "utf-8")
                    frames += 1
        return frames

    return run


def websockets_encode(payload: bytes, masked: bool) -> Run:
    from websockets.frames import Frame, Opcode

    def run(times: int) -> int:
        for _ in range(times):
            Frame(Opcode.BINARY, payload).serialize(mask=masked)
        return times

    return run


def websockets_mask(payload: bytes, masked: bool) -> Run:
    from websockets.speedups import apply_mask

    def run(times: int) -> int:
        for _ in range(times):
            apply_mask(payload, b"abcd")
        return times

    return run


# --- the cases -------------------------------------------------------------


def frame(payload: bytes, masked: bool, text: bool) -> bytes:
    from websockets.frames import Frame, Opcode

    opcode = Opcode.TEXT if text else Opcode.BINARY
    return Frame(opcode, payload).serialize(mask=masked)


def cut(stream: bytes, how: str) -> list[bytes]:
    rng = random.Random(1)
    chunks = []
    while stream:
        size = 64 * KIB if how == "chunks" else rng.randint(1, 17)
        chunks.append(stream[:size])
        stream = stream[size:]
    return chunks


DECODERS = {
    "decode_all": ours_decode_all,
    "decode": ours_decode,
    "picows": picows_decode,
    "aiohttp": aiohttp_decode,
    "websockets": websockets_decode,
}
ENCODERS = {
    "encode": ours_encode,
    "encode_parts": ours_encode_parts,
    "picows": picows_encode,
    "aiohttp": aiohttp_encode,
    "websockets": websockets_encode,
}
MASKERS = {"apply_mask": ours_mask, "websockets": websockets_mask}
MASKERS_IN_PLACE = {
    "mask_in_place": ours_mask_in_place,
    "aiohttp": aiohttp_mask,
}
SIZES = {"16 B": 16, "1 KiB": KIB, "64 KiB": 64 * KIB, "1 MiB": KIB * KIB}

# (size, how the bytes come, masked)
DECODE_CASES = [
    ("16 B", "whole", False),
    ("16 B", "whole", True),
    ("16 B", "chunks", False),
    ("16 B", "chunks", True),
    ("16 B", "dribble", True),
    ("1 KiB", "whole", False),
    ("1 KiB", "whole", True),
    ("1 KiB", "chunks", True),
    ("1 KiB", "dribble", True),
    ("64 KiB", "whole", False),
    ("64 KiB", "whole", True),
    ("64 KiB", "chunks", True),
    ("1 MiB", "whole", False),
    ("1 MiB", "whole", True),
    ("1 MiB", "chunks", True),
    ("1 MiB", "dribble", True),
]


def mark(masked: bool) -> str:
    return "masked" if masked else "plain"


def decode_case(size: str, how: str, masked: bool, text: bool) -> dict:
    payload = bytes(range(256)) * (SIZES[size] // 256 + 1)
    payload = payload[: SIZES[size]]
    if text:
        payload = ("щ" * (SIZES[size] // 2)).encode()
    one = frame(payload, masked, text)
    if how == "whole":
        chunks = [one]
    else:
        chunks = cut(one * max(1, 256 * KIB // len(one)), how)
    return {
        peer: make(chunks, masked, text) for peer, make in DECODERS.items()
    }


def all_cases() -> dict[str, Callable[[], dict[str, Run]]]:
    cases: dict[str, Callable[[], dict[str, Run]]] = {}
    for size, how, masked in DECODE_CASES:
        name = f"decode {size}, {how}, {mark(masked)}"
        cases[name] = lambda a=size, b=how, c=masked: decode_case(
            a, b, c, False
        )
    for size in ("16 B", "1 KiB", "64 KiB"):
        for masked in (False, True):
            name = f"decode text {size}, whole, {mark(masked)}"
            cases[name] = lambda a=size, c=masked: decode_case(
                a, "whole", c, True
            )
    for size in SIZES:
        for masked in (False, True):
            name = f"encode {size}, {mark(masked)}"
            cases[name] = lambda a=size, c=masked: {
                peer: make(bytes(SIZES[a]), c)
                for peer, make in ENCODERS.items()
            }
    for size in ("1 KiB", "64 KiB", "1 MiB"):
        for how, makers in (("", MASKERS), (" in place", MASKERS_IN_PLACE)):
            cases[f"mask {size}{how}"] = lambda a=size, m=makers: {
                peer: make(bytes(SIZES[a]), True) for peer, make in m.items()
            }
    return cases


# --- measuring -------------------------------------------------------------


def calibrate(run: Run) -> int:
    """Repetitions that take about BUDGET seconds."""
    times = 1
    while True:
        start = time.thread_time()
        if run(times) == 0:
            raise RuntimeError("no frame came out")
        took = time.thread_time() - start
        if took > BUDGET / 4:
            return max(1, round(times * BUDGET / took))
        times *= 4


def measure_case(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    times = {peer: calibrate(run) for peer, run in runs.items()}
    samples: dict[str, list[float]] = {peer: [] for peer in runs}
    peers = list(runs)
    for turn in range(rounds):
        shift = turn % len(peers)
        for peer in peers[shift:] + peers[:shift]:
            start = time.thread_time()
            frames = runs[peer](times[peer])
            took = time.thread_time() - start
            samples[peer].append(took * 1e9 / frames)
    return samples


OURS = (
    "decode_all",
    "decode",
    "encode",
    "encode_parts",
    "apply_mask",
    "mask_in_place",
)
PEERS = ("picows", "aiohttp", "websockets")


def short(ns: float) -> str:
    if ns < 1000:
        return f"{ns:.0f}"
    return f"{ns / 1000:.1f}k" if ns < 1e5 else f"{ns / 1000:.0f}k"


def row(name: str, samples: dict[str, list[float]]) -> str:
    medians = {p: statistics.median(s) for p, s in samples.items()}
    ours = [medians[p] for p in OURS if p in medians]
    best = min(medians[p] for p in PEERS if p in medians)
    cells = [short(ours[0]), short(ours[1]) if len(ours) > 1 else ""]
    cells += [short(medians[p]) if p in medians else "" for p in PEERS]
    cells.append(f"{best / min(ours):.1f}")
    first = next(samples[p] for p in OURS if p in samples)
    cells.append(f"{short(min(first))}..{short(max(first))}")
    return f"{name:34}" + "".join(f"{cell:>14}" for cell in cells)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--rounds", type=int, default=31)
    arguments.add_argument("--only", default="", help="part of a case's name")
    arguments.add_argument("--json", metavar="FILE")
    options = arguments.parse_args()
    logging.disable(logging.CRITICAL)
    packages = ("pulsar-native", *PEERS)
    about = {
        "command": shlex.join([sys.executable, *sys.argv]),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "versions": {name: found(name) for name in packages},
        "rounds": options.rounds,
        "unit": "nanoseconds a frame",
    }
    print(json.dumps(about, indent=2))
    head = ["ours", "other form", *PEERS, "ahead", "ours, spread"]
    print(f"{'ns a frame':34}" + "".join(f"{cell:>14}" for cell in head))
    results = {}
    for name, make in all_cases().items():
        if options.only not in name:
            continue
        results[name] = measure_case(make(), options.rounds)
        print(row(name, results[name]), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({**about, "samples": results}, file, indent=1)


def found(name: str) -> str:
    try:
        return version(name)
    except ImportError:
        return "not installed as a package"


if __name__ == "__main__":
    main()
