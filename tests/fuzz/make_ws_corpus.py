"""Write the seeds of frame_fuzz, reader_fuzz and utf8_fuzz.

python tests/fuzz/make_ws_corpus.py
"""

from __future__ import annotations

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
KEY = b"\x37\xfa\x21\x3d"


def frame(opcode: int, body: bytes, final: bool = True, masked: bool = False):
    size = len(body)
    head = bytes([final << 7 | opcode])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if not masked:
        return head + body
    return head + KEY + bytes(b ^ KEY[i % 4] for i, b in enumerate(body))


TEXT = "aé п日😀 ".encode() * 9

FRAMES = {
    "text": frame(1, b"Hello"),
    "masked": frame(1, b"Hello", masked=True),
    "fragment": frame(1, b"Hel", final=False),
    "ping": frame(9, b"x"),
    "length_16": frame(2, bytes(126))[:4],
    "length_64": frame(2, bytes(65536))[:10],
    "masked_64": frame(2, bytes(65536), masked=True)[:14],
    "longest": b"\x82\xff\x7f" + b"\xff" * 7 + KEY,
    "top_bit": b"\x82\x7f\x80" + bytes(7),
    "long_form": b"\x82\x7e\x00\x7d",
    "reserved": b"\xc1\x00",
    "long_ping": b"\x89\x7e\x00\x7e",
}

# The first byte: 1 masked, 2 small frames, 4 small messages.
READER = {
    "plain": b"\x00" + frame(1, b"Hello") + frame(2, bytes(126)),
    "masked": b"\x01"
    + frame(1, TEXT, masked=True)
    + frame(9, b"", True, True),
    "fragments": b"\x00"
    + frame(1, TEXT[:2], final=False)
    + frame(10, b"\xff")
    + frame(0, b"", final=False)
    + frame(0, TEXT[2:]),
    "close": b"\x00" + frame(8, b"\x03\xe8bye") + frame(8, b""),
    "close_code": b"\x00" + frame(8, b"\x03\xed"),
    "close_reason": b"\x00" + frame(8, b"\x03\xe8\xff"),
    "text_wrong": b"\x00" + frame(1, TEXT + b"\xed\xa0\x80" + TEXT),
    "text_cut": b"\x00" + frame(1, TEXT + b"\xe2"),
    "frame_limit": b"\x02" + frame(2, bytes(200)) + frame(2, bytes(201)),
    "message_limit": b"\x06"
    + frame(2, bytes(200), final=False)
    + frame(0, bytes(100), final=False)
    + frame(0, b"x"),
    "order": b"\x00" + frame(2, b"a", final=False) + frame(1, b"b"),
    "continuation": b"\x00" + frame(0, b"a"),
    "wrong_mask": b"\x01" + frame(2, b"a"),
}

UTF8 = {
    "ascii": b"The quick brown fox jumps over the lazy dog. " * 3,
    "two": "Съешь ещё этих мягких французских булок".encode() * 2,
    "three": "いろはにほへとちりぬるを".encode() * 4,
    "four": "😀🎉🚀".encode() * 9,
    "mixed": TEXT,
    "borders": "".join(
        map(chr, (0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000))
    ).encode(),
    "latin1": "Größe façade naïve ".encode() * 5,
    "surrogate": b"a" * 70 + b"\xed\xa0\x80",
    "overlong": b"a" * 63 + b"\xc0\xaf",
    "too_large": b"\xf4\x90\x80\x80",
    "cut": TEXT + b"\xf0\x9f\x98",
}


def write(name: str, seeds: dict[str, bytes]) -> None:
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed, data in seeds.items():
        (folder / seed).write_bytes(data)


if __name__ == "__main__":
    write("frame", FRAMES)
    write("reader", READER)
    write("utf8", UTF8)
