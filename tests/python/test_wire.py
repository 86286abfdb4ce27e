"""What comes over a link is not believed: a wrong frame ends its link, with
a reason, and nothing else; nothing is unpickled before hello; nothing
listens."""

from __future__ import annotations

import logging
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import actors_commands  # noqa: F401  registers its commands
import pytest
from actors_help import ask, children_of, failure, run
from wire_help import (
    ASK,
    BOUND,
    DEFINE,
    DOWN,
    ERROR,
    HELLO,
    LOG,
    NOTIFY,
    PEER,
    REPLY,
    SPEC,
    STOP,
    TELL,
    Port,
    RawLink,
    envelope,
    frame,
    greeting,
    hello,
    write_and_die,
    write_raw,
)

import pulsar_native as pn
from pulsar_native import _forkserver, _native

EPROTO, ETOOBIG, EVERSION, EAUTH = -5002, -5003, -5007, -5008
PAYLOAD_KINDS = (ASK, TELL, REPLY, ERROR, SPEC, DEFINE, LOG, DOWN)
CHUNK = 32768

Make = Callable[[int, int], bytes]


def tell(source: int, target: int) -> bytes:
    """The body of a right message."""
    return envelope(
        TELL,
        pickle.dumps((1,)),
        source=source,
        target=target,
        command=b"add",
    )


def field(kind: int, payload: bytes = b"", **fields: Any) -> Make:
    """A right frame around an envelope with these fields."""

    def make(source: int, target: int) -> bytes:
        given = {"source": source, "target": target} | fields
        return frame(envelope(kind, payload, **given))

    return make


def patched(at: int, value: bytes) -> Make:
    """A right message with other bytes at one place of its envelope."""

    def make(source: int, target: int) -> bytes:
        body = bytearray(tell(source, target))
        body[at : at + len(value)] = value
        return frame(bytes(body))

    return make


def both(*makes: Make) -> Make:
    return lambda source, target: b"".join(m(source, target) for m in makes)


def chunk(offset: int, size: int = 3 * CHUNK, length: int = CHUNK) -> Make:
    return field(
        TELL,
        bytes(length),
        id=7,
        size=size,
        offset=offset,
        command=b"add" if offset == 0 else b"",
    )


# What no correct peer sends, by actor *source* to *target*.
BAD: dict[str, Make] = {
    "text": lambda s, t: frame(tell(s, t), 0x81),
    "continuation": lambda s, t: frame(tell(s, t), 0x80),
    "close": lambda s, t: frame(b"\x03\xe8", 0x88),
    "ping": lambda s, t: frame(b"", 0x89),
    "pong": lambda s, t: frame(b"", 0x8A),
    "reserved opcode": lambda s, t: frame(tell(s, t), 0x83),
    "first fragment": lambda s, t: frame(tell(s, t), 0x02),
    "compressed": lambda s, t: frame(tell(s, t), 0xC2),
    "masked": lambda s, t: frame(tell(s, t), mask=b"mask"),
    "longer than any frame": lambda s, t: frame(bytes(38961)),
    "a length of 4 GiB": lambda s, t: b"\x82\x7f" + bytes([0, 0, 0, 1] * 2),
    "a length of 2 to the 63": lambda s, t: b"\x82\x7f\xff" + bytes(7),
    "a length in more bytes than needed": lambda s, t: (
        b"\x82\x7e\0\x30" + bytes(48)
    ),
    "no envelope": lambda s, t: frame(b""),
    "half an envelope": lambda s, t: frame(tell(s, t)[:47]),
    "an http request": lambda s, t: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": lambda s, t: bytes(100),
    "ones": lambda s, t: b"\xff" * 100,
    "kind 0": field(0),
    "kind 15": field(15),
    "kind 40": field(40),
    "kind 255": field(255),
    "unknown flags": field(TELL, flags=2),
    "a command beyond the frame": patched(2, b"\xff\x03"),
    "a command over its limit": patched(2, b"\xff\xff"),
    "a name beyond the frame": patched(4, b"\xff\x03"),
    "an extension beyond the frame": patched(6, b"\0\x10"),
    "another source": field(TELL, b"x", source=12345, command=b"add"),
    "no source": field(TELL, b"x", source=0, command=b"add"),
    "the target as source": lambda s, t: field(TELL, b"x", source=t)(s, t),
    "more payload than declared": field(TELL, b"abc", size=2),
    "an empty chunk": field(TELL, b"", size=10),
    "an offset behind the end": field(TELL, b"abc", size=4, offset=4),
    "an absurd offset": field(TELL, b"abc", size=9, offset=2**64 - 1),
    "an offset that overflows": field(
        TELL, b"abc", size=2**64 - 1, offset=2**64 - 2
    ),
    "a chunked control message": field(NOTIFY, b"abc", size=6),
    "the first chunk twice": both(chunk(0), chunk(0)),
    "a chunk left out": both(chunk(0), chunk(2 * CHUNK)),
    "a chunk of another size": both(chunk(0), chunk(CHUNK, 4 * CHUNK)),
    "a chunk with a command": both(
        chunk(0),
        field(
            TELL, bytes(9), id=7, size=3 * CHUNK, offset=CHUNK, command=b"add"
        ),
    ),
    "hello again": field(HELLO, hello()),
    "wrong hello later": field(HELLO, b"what"),
}

# What only an arbiter may say, or say to another actor.
STRANGE: dict[str, Make] = {
    "a spec": field(SPEC, pickle.dumps({})),
    "a log record": field(LOG, pickle.dumps({})),
    "an end": field(DOWN, bytes(8)),
    "a stop": field(STOP),
    "an introduction": field(PEER, b"aid\0name"),
    "where an ask went": field(BOUND, id=7),
}


def tangled(seed: int) -> bytes:
    return random.Random(seed).randbytes(5000)


# --- a mailbox alone ---


def lost_by(make: Make, target: int = 2) -> list[tuple[int, int, str]]:
    port = Port(pickle.loads)
    with RawLink(port) as link:
        assert [c[0] for c in port.of("control")] == [HELLO]
        link.write(make(1, target))
        assert not [c for c in port.calls if c[0] not in ("control", "lost")]
        return link.lost


@pytest.mark.parametrize("what", BAD)
def test_a_wrong_frame_loses_its_link(what: str) -> None:
    ((number, status, text),) = lost_by(BAD[what])
    assert number == 1
    assert (status, text) in (
        (EPROTO, "protocol error"),
        (ETOOBIG, "message too big"),
    )


@pytest.mark.parametrize("what", STRANGE)
def test_what_only_an_arbiter_says_is_not_relayed(what: str) -> None:
    assert lost_by(STRANGE[what], 3) == [(1, EPROTO, "protocol error")]


@pytest.mark.parametrize("kind", [STOP, BOUND, PEER, SPEC])
def test_an_arbiter_is_told_nothing_that_only_it_may_say(kind: int) -> None:
    assert lost_by(field(kind)) == [(1, EPROTO, "protocol error")]


def test_garbage_never_does_more_than_lose_its_link() -> None:
    seed = random.getrandbits(32)
    print(f"seed {seed}")
    for n in range(200):
        port = Port(pickle.loads)
        with RawLink(port) as link:
            link.write(tangled(seed + n))
            assert {c[0] for c in port.calls} <= {"control", "lost"}
            assert len(link.lost) <= 1


def test_flipped_bits_never_do_more_than_lose_the_link() -> None:
    for at in range(len(tell(1, 2)) * 8):
        body = bytearray(tell(1, 2))
        body[at // 8] ^= 1 << at % 8
        with RawLink(Port(pickle.loads)) as link:
            link.write(frame(bytes(body)))
            assert len(link.lost) <= 1
            assert not link.mailbox.closed


def test_a_truncated_frame_waits_for_its_rest() -> None:
    whole = frame(tell(1, 2))
    for cut in range(len(whole)):
        port = Port(pickle.loads)
        with RawLink(port) as link:
            link.write(whole[:cut])
            assert not link.lost
            assert link.mailbox.stats()["handled"] == 0
            link.write(whole[cut:])
            assert not link.lost


def test_a_frame_cut_by_the_end_is_a_closed_link() -> None:
    with RawLink(Port(pickle.loads)) as link:
        link.write(frame(tell(1, 2))[:30])
        link.socket.close()
        link.pump()
        ((number, _, text),) = link.lost
        assert (number, text) == (1, "closed")


def test_other_links_go_on_when_one_is_lost() -> None:
    port = Port(pickle.loads)
    with RawLink(port) as link:
        first = link.socket
        ours, theirs = _native.link_pair()
        link.mailbox.connect(3, theirs)
        os.write(ours, greeting())
        link.pump()
        link.write(BAD["zeros"](1, 2))
        assert [number for number, *_ in link.lost] == [1]
        os.write(ours, frame(envelope(NOTIFY, source=3, target=2)))
        link.pump()
        assert port.of("control")[-1][:2] == (NOTIFY, 3)
        os.close(ours)
        assert first.recv(100) == b""


def test_a_message_over_the_limit_is_dropped_alone() -> None:
    with RawLink(Port(pickle.loads), message_bytes=100_000) as link:
        for size in (100_001, 2**40, 2**63, 2**64 - 1):
            link.say(ASK, bytes(CHUNK), id=size % 1000, size=size)
        assert not link.lost
        answers = link.socket.recv(10_000)
        assert answers.count(b"too-big") == 4


def test_unfinished_messages_take_no_more_than_the_limit() -> None:
    with RawLink(Port(pickle.loads), message_bytes=100_000) as link:
        for n in range(50):
            link.say(ASK, bytes(CHUNK), id=n + 1, size=99_000)
        assert not link.lost
        assert link.socket.recv(100_000).count(b"too-big") >= 44


@pytest.mark.parametrize("kind", [DOWN, LOG])
def test_control_payloads_are_not_unpickled(kind: int) -> None:
    loaded: list[bytes] = []
    port = Port(loaded.append)
    with RawLink(port) as link:
        link.say(kind, marking())
        assert [c[0] for c in port.of("control")] == [HELLO, kind]
        assert not loaded
        assert not link.lost


def test_an_answer_to_nobody_is_dropped() -> None:
    port = Port(pickle.loads)
    with RawLink(port) as link:
        for kind in (REPLY, ERROR):
            link.say(kind, marking(), id=99)
        assert not link.lost
        assert not marks
        assert not port.of("load_error")


# --- nothing before hello ---

marks: list[str] = []


class Marking:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self) -> Any:
        return leave_mark, ()


def leave_mark() -> tuple[()]:
    marks.append("unpickled")
    return ()


@pytest.fixture(autouse=True)
def no_marks() -> None:
    marks.clear()


def marking() -> bytes:
    return pickle.dumps((Marking(),))


@pytest.mark.parametrize("kind", PAYLOAD_KINDS)
def test_nothing_is_unpickled_before_hello(kind: int) -> None:
    port = Port(pickle.loads)
    port.table["add"] = add = _native.BaseCommand()
    add.function, add.name = lambda *args: None, "add"
    payload = marking()
    with RawLink(port, greet=False) as link:
        link.say(kind, payload, command=b"add", id=1)
        assert link.lost == [(1, EAUTH, "peer not authenticated")]
        assert [call[0] for call in port.calls] == ["lost"]
    assert not marks
    with RawLink(port) as link:  # what the above would have caught
        link.say(ASK, payload, command=b"add", id=1)
        assert marks == ["unpickled"]


@pytest.mark.parametrize(
    ("what", "status"),
    [
        (hello(b"PNAX"), EPROTO),
        (hello(b"\0\0\0\0"), EPROTO),
        (hello()[:31], EPROTO),
        (b"", EPROTO),
        (hello(wire=2), EVERSION),
        (hello(wire=0), EVERSION),
        (hello(python=2 * 256 + 7), EVERSION),
    ],
)
def test_a_wrong_hello_loses_its_link(what: bytes, status: int) -> None:
    port = Port(pickle.loads)
    payload = marking()
    with RawLink(port, greet=False) as link:
        later = envelope(ASK, payload, source=1, target=2, command=b"add")
        link.write(frame(envelope(HELLO, what)) + frame(later))
        assert [(n, s) for n, s, _ in link.lost] == [(1, status)]
        assert [call[0] for call in port.calls] == ["lost"]
    assert not marks


def test_a_longer_hello_is_read_as_far_as_it_is_known() -> None:
    with RawLink(Port(pickle.loads), greet=False) as link:
        link.write(frame(envelope(HELLO, hello() + b"and more")))
        assert not link.lost


def test_hello_names_the_process_that_wrote_it() -> None:
    port = Port(pickle.loads)
    with RawLink(port) as link:
        assert port.of("control")[0][:3] == (HELLO, 1, os.getpid())
        assert not link.lost


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_process_of_another_user_is_not_believed() -> None:
    port = Port(pickle.loads)
    with RawLink(port, greet=False) as link:
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            os.write(link.socket.fileno(), greeting())
            os._exit(0)
        os.waitpid(child, 0)
        link.pump()
        assert [(n, s) for n, s, _ in link.lost] == [(1, EAUTH)]


# --- actors ---


async def attack(
    make: Make, caplog: pytest.LogCaptureFixture, to_other: bool = False
) -> None:
    """One of three actors writes; the others notice nothing."""
    good, other, evil = [await pn.spawn(name=n) for n in ("g", "o", "e")]
    here = pn.get_actor()
    assert here is not None
    source, target = evil.number, here.number
    waiting = pn.send(evil, "nap", 60.0)
    passing = pn.send(good, "pass_on_failure", evil, "nap", 60.0)
    busy = pn.send(good, "ping_often", other, 300)
    assert await pn.send(good, "ping") == "pong"
    # Never answered: the link is lost first.
    asked = ask(
        evil, write_raw, make(source, good.number if to_other else target)
    )
    for future in (waiting, asked):
        error = await failure(future)
        assert isinstance(error, pn.ActorDown)
        assert error.aid == evil.aid
        assert "link lost" in error.reason
    assert (await passing)[0] == "ActorDown"
    assert await busy == 300
    assert await pn.send(good, "pass_on", other, "add", 1, 2) == 3
    assert await pn.send(await pn.spawn(), "add", 1, 2) == 3
    lines = [r.getMessage() for r in caplog.records]
    assert [li for li in lines if "link to" in li and evil.aid in li], lines
    await evil.join(10)


# Not the whole table: each is tried above.
@pytest.mark.parametrize(
    "what",
    [
        "text",
        "first fragment",
        "masked",
        "longer than any frame",
        "a length of 2 to the 63",
        "an http request",
        "zeros",
        "kind 15",
        "another source",
        "an absurd offset",
        "a chunk left out",
        "hello again",
    ],
)
@pytest.mark.usefixtures("nothing_left")
def test_a_malicious_actor_loses_its_link_only(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        run(lambda: attack(BAD[what], caplog))


@pytest.mark.parametrize("what", STRANGE)
@pytest.mark.usefixtures("nothing_left")
def test_an_actor_that_plays_arbiter_loses_its_link(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        run(lambda: attack(STRANGE[what], caplog, True))


@pytest.mark.usefixtures("nothing_left")
def test_what_an_actor_tells_of_others_is_not_believed() -> None:
    async def main() -> None:
        good, evil = await pn.spawn(), await pn.spawn()
        here = pn.get_actor()
        assert here is not None
        waiting = pn.send(good, "nap", 0.2, "slept")

        def told(kind: int, payload: bytes = b"", **fields: Any) -> bytes:
            given = {"source": evil.number, "target": here.number} | fields
            return frame(envelope(kind, payload, **given))

        await ask(
            evil,
            write_raw,
            told(DOWN, bytes(8) + b"it died", id=good.number),
            told(DOWN, bytes(8) + b"it died", id=here.number),
            told(LOG, b"no record"),
            told(LOG, pickle.dumps({"name": "x"})),
            told(NOTIFY),
            told(REPLY, b"no pickle", id=1),
        )
        assert await waiting == "slept"
        assert await pn.send(good, "ping") == "pong"
        assert await pn.send(evil, "ping") == "pong"
        assert here.is_running()

    run(main)


@pytest.mark.usefixtures("nothing_left")
def test_last_words_cut_short_are_no_harm() -> None:
    async def main() -> None:
        evil = await pn.spawn()
        here = pn.get_actor()
        assert here is not None
        words = envelope(
            DOWN,
            b"abc",
            source=evil.number,
            target=here.number,
            id=evil.number,
        )
        await ask(evil, write_raw, frame(words))
        assert await pn.send(evil, "ping") == "pong"

    run(main)


@pytest.mark.usefixtures("nothing_left")
def test_an_ask_that_cannot_be_unpickled_is_answered() -> None:
    async def main() -> None:
        evil = await pn.spawn()
        here = pn.get_actor()
        assert here is not None
        bodies = [
            envelope(
                ASK,
                payload,
                source=evil.number,
                target=here.number,
                id=2**50 + n,
                command=b"ping",
            )
            for n, payload in enumerate(
                [b"", b"garbage", pickle.dumps(5), pickle.dumps([(), 5])]
            )
        ]
        await ask(evil, write_raw, *map(frame, bodies))
        assert await pn.send(evil, "ping") == "pong"
        assert here.is_running()

    run(main)


@pytest.mark.usefixtures("nothing_left")
def test_an_actor_that_dies_within_a_frame_is_down() -> None:
    async def main() -> None:
        good, evil = await pn.spawn(), await pn.spawn()
        half = frame(tell(evil.number, good.number))[:40]
        error = await failure(ask(evil, write_and_die, half))
        assert isinstance(error, pn.ActorDown)
        assert error.exit_code == 3
        assert await pn.send(good, "ping") == "pong"

    run(main)


@pytest.mark.usefixtures("nothing_left")
def test_an_actor_that_dies_within_a_large_message_leaves_no_part() -> None:
    async def main() -> None:
        good, evil = await pn.spawn(), await pn.spawn()
        first = envelope(
            ASK,
            bytes(CHUNK),
            source=evil.number,
            target=good.number,
            id=5,
            size=2**29,
            command=b"size",
        )
        for _ in range(3):
            error = await failure(ask(evil, write_and_die, frame(first)))
            assert isinstance(error, pn.ActorDown)
            assert await pn.send(good, "size", bytes(500_000)) == 500_000
            evil = await pn.spawn()

    run(main)


@pytest.mark.usefixtures("nothing_left")
def test_an_end_without_bytes_is_logged_as_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        pn.tell(worker, "stop")
        await worker.join(10)

    run(main)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


# --- nothing listens ---


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    return [pid, *(p for child in children_of(pid) for p in family(child))]


def socket_inodes(pids: list[int]) -> set[int]:
    found = set()
    for pid in pids:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                what = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if what.startswith("socket:["):
                found.add(int(what[8:-1]))
    return found


def sockets_of(table: str, column: int) -> dict[int, list[str]]:
    """The lines of a table of sockets, by inode."""
    path = Path("/proc/net") / table
    if not path.exists():
        return {}
    lines = [line.split() for line in path.read_text().splitlines()[1:]]
    return {int(line[column]): line for line in lines}


@pytest.mark.usefixtures("nothing_left")
def test_no_socket_listens_and_none_is_of_a_network() -> None:
    async def main() -> None:
        one, other = await pn.spawn(), await pn.spawn()
        assert await pn.send(one, "pass_on", other, "add", 1, 2) == 3
        pids = family(os.getpid())
        assert {one.pid, other.pid, _forkserver.server_pid()} <= set(pids)
        ours = socket_inodes(pids) - others
        assert len(ours) >= 4  # both ends of two links
        for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
            assert not ours & set(sockets_of(table, 9)), table
        unix = sockets_of("unix", 6)
        for inode in ours & set(unix):
            line = unix[inode]
            assert not int(line[3], 16) & 0x10000, line  # listens
            assert len(line) == 7, line  # has a name

    others = socket_inodes([os.getpid()])  # of the test runner
    run(main)


def test_the_table_of_sockets_would_show_one_that_listens() -> None:
    import socket

    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        unix.bind(b"\0pulsar-native-test-%d" % os.getpid())
        tcp.listen()
        unix.listen()
        ours = socket_inodes([os.getpid()])
        assert ours & set(sockets_of("tcp", 9))
        table = sockets_of("unix", 6)
        line = table[os.fstat(unix.fileno()).st_ino]
        assert int(line[3], 16) & 0x10000
        assert len(line) == 8
