"""Write the seeds of envelope_fuzz, extension_fuzz and inbox_fuzz.

    python3 tests/fuzz/make_mailbox_corpus.py tests/fuzz/corpus

The layout is that of csrc/mailbox/envelope.h and extension.h, told once more
by hand, so that the seeds check the engine and not themselves.
"""

import struct
import sys
from pathlib import Path

NOTIFY, STOP, ASK, TELL, DOWN = 2, 3, 16, 17, 23
CANCEL, PROGRESS, GRANT, ITEM, SWITCH = 6, 7, 9, 24, 25


def body(
    kind: int,
    payload: bytes = b"",
    *,
    size: int | None = None,
    offset: int = 0,
    source: int = 1,
    target: int = 2,
    ident: int = 3,
    command: bytes = b"",
    name: bytes = b"",
    extension: bytes = b"",
) -> bytes:
    """An envelope and its payload."""
    head = struct.pack(
        "<BBHHH5Q",
        kind,
        bool(name),
        len(command),
        len(name),
        len(extension),
        source,
        target,
        ident,
        len(payload) if size is None else size,
        offset,
    )
    return head + command + name + extension + payload


def frame(content: bytes, first: int = 0x82) -> bytes:
    """An unmasked frame of at most 65,535 bytes."""
    if len(content) < 126:
        return bytes([first, len(content)]) + content
    return struct.pack(">BBH", first, 126, len(content)) + content


def chunks(payload: bytes, piece: int, **fields: int) -> list[bytes]:
    """The frames of one tell, its payload in pieces."""
    return [
        frame(
            body(
                TELL,
                payload[at : at + piece],
                size=len(payload),
                offset=at,
                command=b"" if at else b"put",
                **fields,
            )
        )
        for at in range(0, len(payload), piece)
    ]


def envelopes() -> dict[str, bytes]:
    return {
        "notify": body(NOTIFY),
        "ask": body(ASK, b"payload", command=b"echo"),
        "named": body(ASK, b"p", command=b"echo", name=b"bob"),
        "extended": body(TELL, b"p", command=b"c", extension=b"xy"),
        "chunk": body(TELL, b"rest", size=100, offset=96),
        "down": body(
            DOWN, struct.pack("<iiBBHII", -1, 9, 1, 2, 0, 6, 3) + b"killedlog"
        ),
        "cancel": body(CANCEL),
        "progress": body(PROGRESS, struct.pack("<dd", 3, 10) + b"epoch"),
        "grant": body(GRANT, struct.pack("<Q", 8)),
        "item": body(ITEM, b"row", size=100, offset=97),
        "switch": body(SWITCH),
        "unknown_control": body(12),
        "unknown_kind": body(26),
        "beyond": body(TELL, b"rest", size=3),
        "short": body(TELL)[:40],
        "text_over_limit": body(TELL, command=b"c" * 1025),
    }


def field(tag: int, *numbers: int, rest: bytes = b"") -> bytes:
    """A field of an extension."""
    content = struct.pack(f"<{len(numbers)}Q", *numbers) + rest
    return struct.pack("<BBH", tag, 0, len(content)) + content


def extensions() -> dict[str, bytes]:
    deadline = field(1, 10**12)
    chain = field(2, 5, 6, 7)
    return {
        "deadline": deadline,
        "chain": deadline + chain,
        "chain_too_long": field(2, *range(1, 18)),
        "stream": deadline + field(3, 100),
        "descriptor": field(4, 1),
        "segment": field(4, 2) + field(5, 9, 1 << 20, 70000) + field(6, 70000),
        "segment_overrun": field(5, 9, 4096, 4097),
        "buffers": field(6, 1 << 16, 0, 1 << 20),
        "baggage": field(7, rest=b"traceparent"),
        "all": deadline
        + chain
        + field(3, 1)
        + field(4, 2)
        + field(5, 3, 4096, 4096)
        + field(6, *range(64))
        + field(7, rest=bytes(2048)),
        "unknown": field(200, rest=b"later") + deadline,
        "twice": deadline + deadline,
        "zero": field(1, 0),
        "uneven": field(2, 5, rest=b"six"),
        "cut": deadline[:-1],
    }


def streams() -> dict[str, bytes]:
    one = chunks(b"a" * 200, 50, ident=1)
    two = chunks(b"b" * 300, 100, ident=2, source=9)
    down = frame(body(DOWN, bytes(20), ident=9))
    ask = frame(body(ASK, b"payload", command=b"echo", name=b"bob"))
    return {
        "ask": ask,
        "control_between": one[0] + frame(body(NOTIFY)) + b"".join(one[1:]),
        "interleaved": one[0]
        + two[0]
        + one[1]
        + two[1]
        + one[2]
        + two[2]
        + one[3]
        + ask,
        "forgotten": two[0] + down + two[1] + two[2] + ask,
        "twice": one[0] + one[0],
        "gap": one[0] + one[2],
        "too_big": b"".join(chunks(b"c" * 3001, 2000)) + ask,
        "stream": frame(body(GRANT, struct.pack("<Q", 2)))
        + frame(body(ITEM, b"row"))
        + frame(body(CANCEL))
        + frame(body(SWITCH)),
        "ping": ask + frame(b"", 0x89),
        "cut": ask[:-1],
        "long_frame": b"\x82\x7f" + struct.pack(">Q", 1 << 20),
    }


def main() -> None:
    targets = {
        "envelope": envelopes(),
        "extension": extensions(),
        "inbox": streams(),
    }
    for target, seeds in targets.items():
        folder = Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
