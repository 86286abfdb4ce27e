"""The WebSocket codec: rules of RFC 6455, the surface that pulsar's programs
use, and a comparison with a model in plain Python."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websocket_model import Model, encode, mask

import pulsar_native.utils.websocket
import pulsar_native.websocket
from pulsar_native.exceptions import ProtocolError
from pulsar_native.websocket import (
    CLOSE_CODES,
    Frame,
    FrameParser,
    apply_mask,
    frame_parser,
    get_version,
    mask_in_place,
    parse_close,
    websocket_key,
)

KEY = b"\x01\x82\x43\xf4"


def pair(masked: bool, **limits: int) -> tuple[FrameParser, FrameParser]:
    """A sender and a receiver."""
    if masked:
        return frame_parser(kind=1), frame_parser(kind=0, **limits)
    return frame_parser(kind=0), frame_parser(kind=1, **limits)


def drain(parser: FrameParser, data: bytes | None = None) -> Iterator[Frame]:
    frame = parser.decode(data)
    while frame is not None:
        yield frame
        frame = parser.decode()


@contextmanager
def raises(
    code: int | None, match: str | None = None
) -> Iterator[pytest.ExceptionInfo[ProtocolError]]:
    with pytest.raises(ProtocolError, match=match) as caught:
        yield caught
    assert caught.value.status_code == code


# --- what comes in ---------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "message",
    [
        "",
        "a",
        "hello",
        "x" * 125,
        "x" * 126,
        "x" * 70000,
        "é",
        "naïve café " * 30,
        "привет, мир " * 40,
        "日本語" * 50,
        "mixed é п 日 😀 " * 20,
        "😀" * 300,
        "\x00\x7f\x80\xff\u0100\uffff\U00010000\U0010ffff",
        b"",
        b"\xff",
        bytes(range(256)),
        b"y" * 65535,
        b"y" * 65536,
        os.urandom(200_000),
    ],
    ids=lambda m: f"{type(m).__name__}{len(m)}",
)
def test_a_message_arrives_as_it_was_sent(message, masked):
    sender, receiver = pair(masked)
    data = sender.encode(message)
    opcode = 1 if isinstance(message, str) else 2
    (frame,) = drain(receiver, data)
    assert frame.body == message
    assert type(frame.body) is type(message)
    assert frame.opcode == opcode
    assert frame.final
    assert len(frame.masking_key) == (4 if masked else 0)
    assert frame.is_message == isinstance(message, str)
    assert frame.is_bytes == isinstance(message, bytes)
    assert [f.body for f in receiver.decode_all(data * 3)] == [message] * 3


def test_strings_are_as_cpython_makes_them():
    # A str built in C must be of the narrowest kind, or == and hash differ.
    sender, receiver = pair(True)
    for text in ("abc", "é" * 40, "п" * 40, "日" * 40, "😀" * 40, "é", "п"):
        (frame,) = receiver.decode_all(sender.encode(text))
        assert hash(frame.body) == hash(text)
        if len(text) > 1:  # those of length 1 are shared
            again = text.encode().decode()
            assert sys.getsizeof(frame.body) == sys.getsizeof(again)
        assert frame.body.isascii() == text.isascii()
        assert {frame.body: 1}[text] == 1


def test_bytes_one_at_a_time_give_the_same_frames():
    sender, receiver = pair(True)
    stream = b"".join(
        sender.encode(m) for m in ("a", b"", "日本" * 60, b"z" * 300)
    )
    frames = []
    for i in range(len(stream)):
        frames += drain(receiver, stream[i : i + 1])
    assert [f.body for f in frames] == ["a", b"", "日本" * 60, b"z" * 300]


def test_decode_gives_one_frame_a_call_and_keeps_the_rest():
    sender, receiver = pair(False)
    stream = sender.encode("one") + sender.encode("two")
    rest = sender.encode("three")
    assert receiver.decode(stream).body == "one"
    assert receiver.decode(rest[:3]).body == "two"
    assert receiver.decode() is None
    assert receiver.decode(rest[3:]).body == "three"
    assert receiver.decode(None) is None
    assert receiver.decode(b"") is None


def test_decode_all_gives_what_decode_left_first():
    sender, receiver = pair(False)
    stream = b"".join(sender.encode(c) for c in "abc")
    assert receiver.decode(stream).body == "a"
    bodies = [f.body for f in receiver.decode_all(sender.encode("d"))]
    assert bodies == ["b", "c", "d"]


@pytest.mark.parametrize("make", [bytearray, memoryview])
def test_any_buffer_may_be_fed_and_changed_afterwards(make):
    sender, receiver = pair(False)
    stream = sender.encode(b"one") + sender.encode(b"two")
    data = bytearray(stream)
    assert receiver.decode(make(data)).body == b"one"
    data[:] = bytes(len(data))
    data.append(0)  # not exported any more
    assert receiver.decode().body == b"two"


@pytest.mark.parametrize("data", ["text", 5, object(), [1]])
def test_what_is_no_buffer_is_a_type_error(data):
    parser = frame_parser()
    with pytest.raises(TypeError):
        parser.decode(data)
    with pytest.raises(TypeError):
        parser.decode_all(data)
    assert parser.decode() is None


def test_fragments_of_text_are_checked_across_their_seams():
    sender, receiver = pair(True)
    text = "日本語"
    data = text.encode()
    stream = (
        sender.encode(data[:4], final=False, opcode=1)
        + sender.ping(b"\xff")
        + sender.continuation(data[4:5], final=False)
        + sender.continuation(data[5:])
    )
    first, ping, second, third = receiver.decode_all(stream)
    assert (first.body, first.opcode, first.final) == ("日", 1, False)
    assert ping.is_ping
    assert (second.body, second.opcode) == (data[3:5], 0)
    assert (third.body, third.final) == (data[5:], True)
    rest = second.body + third.body
    assert (first.body.encode() + rest).decode() == text
    # The next message owes nothing to this one.
    assert receiver.decode(sender.encode("x")).body == "x"


def test_fragments_of_binary_are_bytes_as_sent():
    sender, receiver = pair(False)
    first = receiver.decode(sender.encode(b"\xff\xe2", final=False))
    last = receiver.decode(sender.continuation(b"\x28"))
    assert (first.body, last.body) == (b"\xff\xe2", b"\x28")


def stream(*frames: bytes) -> bytes:
    return b"".join(frames)


BROKEN = {
    "reserved opcode 3": (encode(3, b""), 1002, "opcode"),
    "reserved opcode 15": (encode(15, b""), 1002, "opcode"),
    "rsv1": (encode(2, b"", rsv=4), 1002, "reserved bits"),
    "rsv3": (encode(2, b"", rsv=1), 1002, "reserved bits"),
    "fragmented ping": (encode(9, b"", final=False), 1002, "fragmented"),
    "long ping": (encode(9, bytes(126)), 1002, "125"),
    "long close": (b"\x88\x7f", 1002, "125"),
    "masked": (encode(2, b"a", key=KEY), 1002, "masked"),
    "long form of 125": (b"\x82\x7e\x00\x7d", 1002, "shortest"),
    "long form of 65535": (
        b"\x82\x7f\0\0\0\0\0\0\xff\xff",
        1002,
        "shortest",
    ),
    "length 2**63": (b"\x82\x7f\x80\0\0\0\0\0\0\0", 1002, "2\\*\\*63"),
    "continuation of nothing": (encode(0, b"a"), 1002, "continuation"),
    "message in a message": (
        stream(encode(1, b"a", final=False), encode(1, b"b")),
        1002,
        "inside",
    ),
    "close of one byte": (encode(8, b"\x03"), 1002, "close"),
    "close code 1005": (encode(8, b"\x03\xed"), 1002, "close"),
    "close code 2999": (encode(8, b"\x0b\xb7"), 1002, "close"),
    "close reason": (encode(8, b"\x03\xe8\xff"), 1007, "reason"),
    "text": (encode(1, b"a\xff"), 1007, "UTF-8"),
    "text with a surrogate": (encode(1, b"\xed\xa0\x80"), 1007, "UTF-8"),
    "overlong text": (encode(1, b"\xc0\x80"), 1007, "UTF-8"),
    "text cut short": (encode(1, b"\xe2\x82"), 1007, "character"),
    "text wrong at its second byte": (b"\x81\x7d\x61\xff", 1007, "UTF-8"),
    "frame too big": (encode(2, bytes(1001)), 1009, "1001.*1000"),
    "huge frame": (b"\x82\x7f\x7f" + b"\xff" * 7, 1009, "1000"),
    "message too big": (
        stream(
            encode(2, bytes(1000), final=False),
            encode(0, bytes(1000), final=False),
            encode(0, b"a"),
        ),
        1009,
        "message of 2001 .*2000",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_streams_fail_with_their_close_code(name):
    data, code, match = BROKEN[name]
    parser = frame_parser(kind=1, max_payload=1000, max_message=2000)
    before = parser.decode_all(encode(2, b"good"))
    with raises(code, match) as caught:
        parser.decode_all(encode(2, b"fine") + data)
    assert [f.body for f in before] == [b"good"]
    assert [f.body for f in caught.value.frames][:1] == [b"fine"]
    # It stays failed, whatever comes.
    with raises(code, match):
        parser.decode(encode(2, b"good"))
    with raises(code, match):
        parser.decode()
    with raises(code, match):
        parser.decode_all(b"")


@pytest.mark.parametrize("name", BROKEN)
def test_decode_gives_right_frames_before_it_fails(name):
    data, code, match = BROKEN[name]
    parser = frame_parser(kind=1, max_payload=1000, max_message=2000)
    seen = []
    with raises(code, match):
        for frame in drain(parser, encode(2, b"fine") + data):
            seen.append(frame.body)
    assert seen[0] == b"fine"


def test_plain_frame_to_a_server_is_refused():
    parser = frame_parser(kind=0)
    with raises(1002, "mask"):
        parser.decode(b"\x82\x01")


def test_control_frames_do_not_count_against_limits():
    parser = frame_parser(kind=1, max_payload=10)
    assert parser.decode(encode(9, bytes(125))).is_ping


def test_limits_are_attributes_with_defaults():
    parser = frame_parser()
    assert parser.max_payload == parser.max_message == 64 * 1024 * 1024
    parser = frame_parser(max_payload=10)
    assert (parser.max_payload, parser.max_message) == (10, 10)
    parser = frame_parser(max_payload=10, max_message=2**63 - 1)
    assert parser.max_message == 2**63 - 1
    for wrong in (0, -1, 2**63, 2**70):
        with pytest.raises(ValueError, match="max_payload"):
            frame_parser(max_payload=wrong)
        with pytest.raises(ValueError, match="max_message"):
            frame_parser(max_message=wrong)
    with pytest.raises(TypeError):
        frame_parser(max_payload="10")


def test_a_body_without_memory_is_a_memory_error():
    parser = frame_parser(kind=1, max_payload=2**63 - 1)
    with pytest.raises(MemoryError):
        parser.decode(b"\x82\x7f\x7f" + b"\xff" * 7)
    with pytest.raises(MemoryError):
        parser.decode(encode(2, b"good"))


# --- what goes out ---------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
def test_encode_gives_the_bytes_of_the_rfc(size):
    payload = random.Random(size).randbytes(size)
    server, client = frame_parser(kind=0), frame_parser(kind=1)
    assert server.encode(payload) == encode(2, payload)
    assert client.encode(payload, masking_key=KEY) == encode(
        2, payload, key=KEY
    )
    text = "é" * (size // 2)
    assert server.encode(text) == encode(1, text.encode())
    assert server.encode(
        payload, final=False, opcode=0, rsv1=1, rsv3=True
    ) == encode(0, payload, final=False, rsv=5)


def test_parts_join_to_the_frame():
    for kind in range(4):
        parser = frame_parser(kind=kind)
        for message in (
            "",
            "abc",
            "日本",
            b"",
            b"x" * 300,
            None,
            bytearray(b"abc"),
            memoryview(b"abcdef")[::2],
        ):
            header, payload = parser.encode_parts(message, masking_key=KEY)
            assert header + bytes(payload) == parser.encode(
                message, masking_key=KEY
            )


def test_plain_parts_copy_nothing():
    parser = frame_parser(kind=0)
    data = b"x" * 1000
    assert parser.encode_parts(data)[1] is data
    array = bytearray(data)
    assert parser.encode_parts(array)[1].obj is array


def test_bytes_like_messages_are_sent_as_their_bytes():
    parser = frame_parser(kind=2)
    for message in (
        bytearray(b"abc"),
        memoryview(b"abc"),
        memoryview(b"aXbXc")[::2],
        memoryview(b"cba")[::-1],
    ):
        assert parser.encode(message) == encode(2, b"abc")


@pytest.mark.parametrize("message", [5, 1.5, ["a"], object(), True])
def test_messages_of_other_types_are_type_errors(message):
    with pytest.raises(TypeError, match="bytes-like"):
        frame_parser().encode(message)


def test_none_is_an_empty_message():
    assert frame_parser().encode(None) == encode(2, b"")


def test_lone_surrogates_cannot_be_sent():
    with pytest.raises(UnicodeEncodeError):
        frame_parser().encode("\ud800")


@pytest.mark.parametrize("opcode", [-1, 3, 7, 11, 15, 16, 256, 2**80])
def test_unknown_opcodes_are_refused(opcode):
    with raises(None, "opcode"):
        frame_parser().encode(b"", opcode=opcode)


def test_control_frames_are_short_and_final():
    parser = frame_parser(kind=2)
    assert parser.ping(bytes(125)) == encode(9, bytes(125))
    for long in (parser.ping, parser.pong):
        with raises(None, "126"):
            long(bytes(126))
    with raises(None, "126"):
        parser.encode(bytes(126), opcode=8)
    with raises(None, "fragmented"):
        parser.encode(b"", opcode=9, final=False)


def test_masking_keys_have_four_bytes():
    client = frame_parser(kind=1)
    for key in (b"", b"abc", b"abcde"):
        with pytest.raises(AssertionError):
            client.encode(b"x", masking_key=key)
    with pytest.raises(TypeError):
        client.encode(b"x", masking_key="abcd")
    assert client.encode(b"x", masking_key=bytearray(KEY))[2:6] == KEY
    # Parsers that do not mask ignore it.
    assert frame_parser(kind=0).encode(b"x", masking_key=b"a") == encode(
        2, b"x"
    )


def test_random_keys_differ():
    client = frame_parser(kind=1)
    keys = {client.encode(b"")[2:6] for _ in range(5000)}
    assert len(keys) > 4990


def test_forked_child_has_other_keys():
    client = frame_parser(kind=1)
    client.encode(b"")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"".join(client.encode(b"") for _ in range(20)))
        os._exit(0)
    mine = b"".join(client.encode(b"") for _ in range(20))
    theirs = os.read(read, 1000)
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)
    assert len(theirs) == len(mine)
    assert theirs != mine


def test_ping_pong_continuation_and_close():
    sender, receiver = pair(True)
    assert receiver.decode(sender.ping()).body == b""
    frame = receiver.decode(sender.ping("é"))
    assert frame.is_ping
    assert frame.body == "é".encode()
    frame = receiver.decode(sender.pong(body=b"x"))
    assert (frame.is_pong, frame.body) == (True, b"x")
    receiver.decode(sender.encode("a", final=False))
    frame = receiver.decode(sender.continuation("b", final=False))
    assert (frame.opcode, frame.final, frame.body) == (0, False, b"b")
    frame = receiver.decode(sender.continuation())
    assert (frame.opcode, frame.final, frame.body) == (0, True, b"")
    frame = receiver.decode(sender.close())
    assert frame.is_close
    assert parse_close(frame.body) == (1000, "OK")


@pytest.mark.parametrize("code", [*CLOSE_CODES, 1012, 1014, 3000, 4999])
def test_close_carries_code_and_text(code):
    sender, receiver = pair(False)
    frame = receiver.decode(sender.close(code))
    assert parse_close(frame.body) == (code, CLOSE_CODES.get(code, ""))
    frame = receiver.decode(sender.close(code, "bye"))
    assert parse_close(frame.body) == (code, "bye")
    frame = receiver.decode(sender.close(code, reason=""))
    assert parse_close(frame.body) == (code, "")


@pytest.mark.parametrize(
    "code", [0, 999, 1004, 1005, 1006, 1015, 2000, 5000, 65536, -1, 2**70]
)
def test_close_codes_that_may_not_be_sent(code):
    with raises(None, "close code"):
        frame_parser().close(code)


def test_long_close_reasons_are_refused():
    parser = frame_parser()
    assert len(parser.close(1000, "x" * 123)) == 127
    with raises(None, "125"):
        parser.close(1000, "x" * 124)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"", (1005, "")),
        (b"\x03\xe8", (1000, "")),
        (b"\x03\xe9going", (1001, "going")),
        (bytearray(b"\x0b\xb8\xc3\xa9"), (3000, "é")),
    ],
)
def test_parse_close(body, wanted):
    assert parse_close(body) == wanted


@pytest.mark.parametrize(
    "body", [b"\x03", b"\x00\x00", b"\x03\xed", b"\x07\xd0", b"\x13\x88"]
)
def test_parse_close_refuses(body):
    with raises(1002):
        parse_close(body)


def test_parse_close_of_bad_text():
    with pytest.raises(UnicodeDecodeError):
        parse_close(b"\x03\xe8\xff")


@pytest.mark.parametrize(
    "message",
    [
        "日本語テキスト",
        b"0123456789",
        "",
        None,
        b"",
        b"ab",
        bytearray(b"abcd"),
    ],
)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 10, 100])
def test_multi_encode_gives_a_message_in_fragments(message, size):
    sender, receiver = pair(True)
    wires = list(sender.multi_encode(message, max_payload=size))
    frames = receiver.decode_all(b"".join(wires))
    assert len(frames) == len(wires)
    opcode = 1 if isinstance(message, str) else 2
    assert [f.opcode for f in frames] == [opcode] + [0] * (len(frames) - 1)
    assert [f.final for f in frames] == [False] * (len(frames) - 1) + [True]
    data = message.encode() if isinstance(message, str) else message or b""
    bodies = [
        f.body if isinstance(f.body, bytes) else f.body.encode()
        for f in frames
    ]
    assert b"".join(bodies) == bytes(data)
    limit = max(size, 2) if size else sender.max_payload
    assert len(frames) == max(1, -(-len(data) // limit))


def test_multi_encode_passes_its_arguments_on():
    parser = frame_parser(kind=1)
    first, second = parser.multi_encode(
        b"abcd", masking_key=KEY, opcode=1, rsv1=1, max_payload=2
    )
    assert first == encode(1, b"ab", final=False, key=KEY, rsv=4)
    assert second == encode(0, b"cd", key=KEY)


# --- the surface -----------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "decode_mask", "encode_mask"),
    [(0, 4, 0), (1, 0, 4), (2, 0, 0), (3, 4, 4)],
)
def test_kinds(kind, decode_mask, encode_mask):
    parser = frame_parser(13, kind, ["ext"], ["chat"])
    assert parser.version == 13
    assert parser.kind == kind
    assert parser.extensions == ["ext"]
    assert parser.protocols == ["chat"]
    assert parser.decode_mask_length == decode_mask
    assert parser.encode_mask_length == encode_mask
    data = parser.encode(b"x")
    assert len(data) == 3 + encode_mask
    if kind in (2, 3):
        assert parser.decode(data).body == b"x"


def test_other_kinds_and_versions_are_refused():
    for kind in (-1, 4):
        with pytest.raises(ValueError, match="kind"):
            frame_parser(kind=kind)
    for version in (13, "13", None, 0, ""):
        assert get_version(version) == 13
        frame_parser(version)
    for wrong in (8, "8", "x", 13.5j):
        with pytest.raises(ProtocolError):
            get_version(wrong)
        with pytest.raises(ProtocolError):
            frame_parser(wrong)


def test_arguments_are_checked():
    parser = frame_parser()
    with pytest.raises(TypeError):
        parser.encode()
    with pytest.raises(TypeError):
        parser.encode(b"", nonsense=1)
    with pytest.raises(TypeError):
        parser.encode(b"", message=b"")
    with pytest.raises(TypeError):
        parser.encode(b"", True, None, 1, 0, 0, 0, 0)
    with pytest.raises(TypeError):
        parser.encode(b"", opcode="1")
    with pytest.raises(TypeError):
        parser.decode(b"", b"")
    with pytest.raises(TypeError):
        Frame()


def test_frame_tells_what_it_is():
    frame = frame_parser(kind=2).decode(frame_parser().encode("abc"))
    assert repr(frame) == "<Frame opcode=1 final=True, str body of length 3>"
    for name in ("body", "opcode", "final", "masking_key", "is_message"):
        with pytest.raises(AttributeError):
            setattr(frame, name, None)


def test_parsers_may_be_subclassed():
    class Mine(FrameParser):
        pass

    parser = Mine(2)
    parser.note = "mine"
    assert parser.decode(parser.encode("x")).body == "x"
    with raises(1002):
        parser.decode(b"\xff")


def test_apply_mask_is_the_masking_of_the_rfc():
    data = bytes(range(256)) * 5
    for size in (*range(70), 1000):
        assert apply_mask(data[:size], KEY) == mask(data[:size], KEY)
    assert apply_mask(bytearray(b"ab"), memoryview(KEY)) == mask(b"ab", KEY)
    with pytest.raises(ValueError, match="4 bytes"):
        apply_mask(b"", b"abc")


def test_mask_in_place_masks_what_can_be_written():
    data = bytearray(range(256)) * 3
    mask_in_place(data, KEY)
    assert data == mask(bytes(range(256)) * 3, KEY)
    mask_in_place(memoryview(data)[1:], b"abcd")
    assert data[1:] == mask(mask(bytes(range(256)) * 3, KEY)[1:], b"abcd")
    with pytest.raises(BufferError):
        mask_in_place(b"abc", KEY)
    with pytest.raises(ValueError, match="4 bytes"):
        mask_in_place(data, b"")


def test_websocket_key_is_sixteen_random_bytes():
    import base64

    assert len(base64.b64decode(websocket_key())) == 16
    assert websocket_key() != websocket_key()


def test_old_module_exports_the_same():
    old, new = pulsar_native.utils.websocket, pulsar_native.websocket
    for name in old.__all__:
        assert getattr(old, name) is getattr(new, name)


# --- references and memory -------------------------------------------------


def misuse(parser: FrameParser) -> None:
    for call, argument in (
        (parser.encode, object()),
        (parser.encode, "\ud800"),
        (lambda opcode: parser.encode(b"", opcode=opcode), 77),
        (lambda bad: parser.encode(b"", bad=bad), 1),
        (parser.decode, "x"),
        (parser.decode_all, 5),
        (parser.close, 5),
        (lambda reason: parser.close(1000, reason), "x" * 200),
        (frame_parser, 9),
        (lambda limit: frame_parser(max_payload=limit), 0),
    ):
        with pytest.raises(
            (TypeError, ValueError, ProtocolError, UnicodeError)
        ):
            call(argument)


def exercise() -> None:
    for kind in range(4):
        peer = frame_parser(kind=(1, 0, 2, 3)[kind])
        parser = frame_parser(kind=kind, extensions=[object()])
        for message in ("abc", "é" * 50, "日" * 50, "😀", b"x" * 500, None):
            data = peer.encode(message)
            for frame in parser.decode_all(data + data):
                repr(frame)
                assert frame.masking_key is not None
            parser.decode(data + data)
            for i in range(len(data)):
                list(drain(parser, data[i : i + 1]))
            peer.encode_parts(message)
            list(peer.multi_encode(message, max_payload=7))
        for wrong in (b"\xff", peer.encode(b"\xff" * 9, opcode=1)):
            broken = frame_parser(kind=kind)
            good = peer.encode("good")
            with pytest.raises(ProtocolError):
                broken.decode_all(good + wrong)
        misuse(peer)
        # Left amid header, body and text.
        for rest in (1, 5, 9):
            frame_parser(kind=kind).decode(peer.encode("abcdefgh")[:rest])


@pytest.mark.parametrize("cls", [Frame, FrameParser])
def test_instances_give_back_their_type(cls):
    exercise()
    gc.collect()
    before = sys.getrefcount(cls)
    for _ in range(20):
        exercise()
    gc.collect()
    assert abs(sys.getrefcount(cls) - before) < 5


def test_shared_objects_keep_their_count():
    chunk = frame_parser().encode(b"abc") * 3
    parser = frame_parser(kind=1)
    before = sys.getrefcount(chunk)
    for _ in range(100):
        parser.decode(chunk)
        parser.decode()
        parser.decode()
        parser.decode_all(chunk)
    assert sys.getrefcount(chunk) == before
    payload = b"x" * 100
    before = sys.getrefcount(payload)
    for _ in range(100):
        parser.encode(payload)
        frame_parser().encode_parts(payload)
    assert sys.getrefcount(payload) == before


def test_memory_does_not_grow():
    exercise()
    tracemalloc.start()
    exercise()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(20):
        exercise()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


def test_a_parser_in_a_cycle_is_collected():
    class Extension:
        pass

    extension = Extension()
    extension.parser = frame_parser(extensions=extension)
    extension.parser.decode(b"\x82\xfe")
    gone = weakref.ref(extension)
    del extension
    gc.collect()
    assert gone() is None


def test_an_unfinished_body_is_not_seen_by_the_collector():
    sender, receiver = pair(True)
    receiver.decode(sender.encode("é" * 100)[:50])
    assert not any(isinstance(x, str) for x in gc.get_referents(receiver))


def test_a_failed_parser_keeps_nothing():
    parser = frame_parser(kind=1, max_payload=100_000)
    data = encode(2, b"a") + b"\xff" + bytes(50_000)
    before = sys.getrefcount(data)
    assert parser.decode(data).body == b"a"
    with pytest.raises(ProtocolError) as caught:
        parser.decode()
    assert sys.getrefcount(data) == before
    assert caught.value.frames == ()


def test_finalizers_may_feed_the_parser_that_is_at_work():
    sender, parser = pair(True)
    data = sender.encode("x" * 40)
    found = []

    class Bomb:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            found.extend(parser.decode_all(data))

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            Bomb()
            found.extend(parser.decode_all(data * 70))
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert len(found) == 200 * 71
    assert {f.body for f in found} == {"x" * 40}


def test_failing_allocations_fail_the_parser_and_nothing_else():
    testcapi = pytest.importorskip("_testcapi")
    sender, receiver = pair(True)
    data = sender.encode("é" * 300) + sender.encode(b"x" * 600) * 70
    calls = [
        lambda parser: parser.decode_all(data),
        lambda parser: parser.decode(data),
        lambda parser: parser.encode("é" * 600),
        lambda parser: parser.encode_parts(b"x" * 600),
        lambda parser: parser.close(1000, "é" * 60),
    ]
    for call in calls:
        failures = 0
        for first in range(400):
            parser = frame_parser(kind=3)
            try:
                testcapi.set_nomemory(first, 0)
                try:
                    call(parser)
                finally:
                    testcapi.remove_mem_hooks()
            except MemoryError:
                failures += 1
                continue
            break
        assert failures > 0
        assert first < 399
        del parser
    assert [f.body for f in receiver.decode_all(data)][1] == b"x" * 600


def test_parsers_of_several_threads_are_independent():
    def work(seed: int) -> None:
        rng = random.Random(seed)
        sender, receiver = pair(True)
        for _ in range(300):
            message = rng.choice(["é" * rng.randrange(200), rng.randbytes(99)])
            bodies = [
                f.body for f in receiver.decode_all(sender.encode(message))
            ]
            wrong.extend(b for b in bodies if b != message)

    wrong: list[object] = []
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- against the model -----------------------------------------------------

payloads = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(str.encode),
    st.integers(100, 140).map(bytes),
    st.text("aéп日😀", min_size=20, max_size=120).map(str.encode),
)
frames_ = st.tuples(
    st.sampled_from([0, 0, 1, 1, 2, 8, 9, 10] * 4 + [3, 11]),
    payloads,
    st.sampled_from([True, True, False]),
    st.sampled_from([0] * 40 + [1, 4]),
    st.binary(min_size=4, max_size=4),
)


def well_formed(parts: list, masked: bool) -> bytes:
    """A stream that is mostly right: control frames final and short."""
    wire = b""
    for opcode, payload, final, rsv, key in parts:
        if opcode >= 8:
            final, payload = True, payload[:125]
        if opcode == 8 and len(payload) > 2:
            payload = b"\x03\xe8" + payload[2:]
        wire += encode(opcode, payload, final, key if masked else None, rsv)
    return wire


def cut_up(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for i in range(10**9):
        if not data:
            return pieces
        size = sizes[i % len(sizes)]
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def outcome(parser: FrameParser, pieces: list[bytes], all_: bool) -> tuple:
    seen = []
    code = 0
    try:
        for piece in pieces:
            if all_:
                seen += parser.decode_all(piece)
            else:
                for frame in drain(parser, piece):
                    seen.append(frame)
    except ProtocolError as error:
        code = error.status_code
        seen += error.frames
    return [(f.opcode, f.final, f.masking_key, f.body) for f in seen], code


@settings(max_examples=400, deadline=None)
@given(
    st.lists(frames_, max_size=8),
    st.booleans(),
    st.lists(st.integers(1, 50), min_size=1, max_size=5),
    st.booleans(),
    st.binary(max_size=6),
)
@example(
    [(1, b"\xe2", False, 0, KEY), (0, b"\x82\xac", True, 0, KEY)],
    True,
    [1],
    True,
    b"",
)
@example(
    [
        (1, b"a\xe2", False, 0, KEY),
        (0, b"", False, 0, KEY),
        (0, b"\x82\xac", True, 0, KEY),
    ],
    False,
    [3],
    False,
    b"",
)
def test_decoding_is_that_of_the_model(parts, masked, sizes, all_, tail):
    data = well_formed(parts, masked) + tail
    model = Model(data, masked, 130, 200)
    wanted = [
        tuple(frame)
        for frame in ((f.opcode, f.final, f.key, f.body) for f in model.frames)
    ]
    parser = frame_parser(
        kind=0 if masked else 1, max_payload=130, max_message=200
    )
    pieces = cut_up(data, sizes)
    assert outcome(parser, pieces, all_) == (wanted, model.code)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60),
    st.booleans(),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
def test_noise_is_judged_as_the_model_judges(data, masked, sizes):
    model = Model(data, masked, 130, 200)
    wanted = [(f.opcode, f.final, f.key, f.body) for f in model.frames]
    for pieces in ([data], cut_up(data, sizes)):
        parser = frame_parser(
            kind=0 if masked else 1, max_payload=130, max_message=200
        )
        assert outcome(parser, pieces, True) == (wanted, model.code)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.text(max_size=200), st.binary(max_size=200)),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
    st.binary(min_size=4, max_size=4),
    st.integers(0, 7),
)
def test_encoding_is_that_of_the_model(message, opcode, final, key, rsv):
    data = message.encode() if isinstance(message, str) else message
    options = {
        "final": final,
        "opcode": opcode,
        "masking_key": key,
        "rsv1": rsv & 4,
        "rsv2": rsv & 2,
        "rsv3": rsv & 1,
    }
    plain, masked = frame_parser(kind=2), frame_parser(kind=3)
    assert plain.encode(message, **options) == encode(
        opcode, data, final, None, rsv
    )
    assert masked.encode(message, **options) == encode(
        opcode, data, final, key, rsv
    )
