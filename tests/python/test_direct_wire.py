"""Direct links spoken by hand: this test is arbiter and other node at once,
and what does not follow the rules is not believed, least of all unpickled."""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from wire_help import (
    ASK,
    BOUND,
    CANCEL,
    DOWN,
    HELLO,
    LINK,
    LOG,
    NOTIFY,
    PEER,
    REPLY,
    SPEC,
    STOP,
    SWITCH,
    TELL,
    Port,
    RawLink,
    Said,
    descriptor,
    envelope,
    frame,
    greeting,
    hello,
    split,
)

from pulsar_native import _native

ARBITER, HERE, OTHER = 1, 2, 3
NEITHER, SPOKEN, HEARD_ALL = b"\0", b"\1", b"\3"  # how a link ended


class NodePort(Port):
    """Targets are numbers, failures LookupErrors."""

    def define(self, target: int, since: int) -> int:
        self.calls.append(("define", target, since))
        return 7

    def resolve(self, target: int) -> tuple[int, None]:
        return target, None

    def load_error(self, *why: Any) -> LookupError:
        return LookupError(*why[:2])


class Meeting(RawLink):
    """The mailbox, number 2, with the arbiter's link to it, which is this
    object, and one end of direct links from number 3."""

    def __init__(self) -> None:
        self.runs: list[Any] = []
        port = NodePort(pickle.loads)
        command = _native.BaseCommand()
        command.function, command.name = self._run, "note"
        command.ack = True
        port.table["note"] = command
        super().__init__(port, onward=True)
        self.other: socket.socket
        self.ends: list[socket.socket] = []
        self.serial = 0

    def _run(self, request: Any, what: Any) -> None:
        self.runs.append(what)

    def close(self) -> None:
        super().close()
        for end in self.ends:
            end.close()

    def introduce(self, link: int, **fields: Any) -> None:
        """Send LINK with an end, as the arbiter does."""
        self.serial += 1
        theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.ends.append(theirs)
        self.other = theirs
        theirs.setblocking(False)
        fields = {"source": OTHER, "target": HERE, "id": link} | fields
        word = envelope(LINK, extension=descriptor(self.serial), **fields)
        socket.send_fds(self.socket, [frame(word)], [ours.fileno()])
        ours.close()
        self.pump()

    def meet(self, link: int = 5) -> None:
        """All that it takes until both speak over the link."""
        self.introduce(link)
        self.say_direct(greeting(source=OTHER, target=HERE))
        self.relay(SWITCH, id=link)
        assert [said.kind for said in self.heard()] == [SWITCH]
        assert [said.kind for said in self.heard_direct()] == [HELLO]

    def relay(self, kind: int, payload: bytes = b"", **fields: Any) -> None:
        """What the other node says over the relay."""
        fields = {"source": OTHER, "target": HERE} | fields
        self.socket.send(frame(envelope(kind, payload, **fields)))
        self.pump()

    def say_direct(self, data: bytes) -> None:
        """What it says over the link."""
        self.other.send(data)
        self.pump()

    def note(self, what: Any, **fields: Any) -> bytes:
        """A tell that leaves *what* in `runs`."""
        fields = {"source": OTHER, "target": HERE} | fields
        body = envelope(TELL, pickle.dumps((what,)), command=b"note", **fields)
        return frame(body)

    def heard(self) -> list[Said]:
        """What the mailbox has said over the relay."""
        return split(_received(self.socket))

    def heard_direct(self) -> list[Said]:
        """What it has said over the link."""
        return split(_received(self.other))

    def has_hung_up(self) -> bool:
        """Whether its end of the link is closed, or shut."""
        self.pump()
        try:
            while data := self.other.recv(100_000):
                del data
        except BlockingIOError:
            return False
        except ConnectionResetError:
            pass
        return True


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(1_000_000)
    except BlockingIOError:
        return b""


@pytest.fixture
def meeting() -> Iterator[Meeting]:
    with Meeting() as made:
        yield made
        assert not made.lost  # the arbiter's link


def farewell(link: int, how: bytes) -> Said:
    return Said(LINK, HERE, OTHER, link, how)


def test_the_way_changes_only_when_the_other_end_is_there(
    meeting: Meeting,
) -> None:
    meeting.introduce(5)
    assert not meeting.heard()
    assert [s.kind for s in meeting.heard_direct()] == [HELLO]
    meeting.mailbox.post(NOTIFY, OTHER, b"")
    assert [s.kind for s in meeting.heard()] == [NOTIFY]
    meeting.say_direct(greeting(source=OTHER, target=HERE))
    assert meeting.heard() == [Said(SWITCH, HERE, OTHER, 5, b"")]
    meeting.mailbox.post(NOTIFY, OTHER, b"")
    meeting.mailbox.flush()
    assert not meeting.heard()
    assert [s.kind for s in meeting.heard_direct()] == [NOTIFY]
    assert meeting.mailbox.stats()["direct"] == 1


def test_the_link_is_read_only_behind_the_switch(meeting: Meeting) -> None:
    meeting.introduce(5)
    meeting.say_direct(greeting(source=OTHER, target=HERE) + meeting.note(2))
    meeting.say_direct(meeting.note(3))
    meeting.socket.send(meeting.note(1))
    meeting.pump()
    assert meeting.runs == [1]
    meeting.relay(SWITCH, id=4)  # of an earlier link
    assert meeting.runs == [1]
    meeting.relay(SWITCH, id=5)
    assert meeting.runs == [1, 2, 3]


def test_what_is_relayed_later_comes_behind_all_that_the_link_holds(
    meeting: Meeting,
) -> None:
    meeting.meet()
    last = frame(envelope(SWITCH, source=OTHER, target=HERE, id=5))
    meeting.other.send(meeting.note(1) + meeting.note(2) + last)
    meeting.socket.send(meeting.note(3))
    meeting.pump()
    assert meeting.runs == [1, 2, 3]
    assert meeting.heard() == [farewell(5, HEARD_ALL)]
    assert meeting.has_hung_up()


def test_what_is_addressed_by_name_does_not_wait_for_the_link(
    meeting: Meeting,
) -> None:
    meeting.meet()
    meeting.socket.send(meeting.note(1, name=b"me"))
    meeting.pump()
    assert meeting.runs == [1]
    meeting.say_direct(meeting.note(2))
    assert meeting.runs == [1, 2]
    assert not meeting.has_hung_up()


def test_all_actors_of_two_nodes_share_their_link(meeting: Meeting) -> None:
    there, cell = OTHER + (7 << 36), meeting.mailbox.add_cell()
    meeting.socket.send(meeting.note(1, source=there))
    meeting.meet()
    for source, target in ((there, HERE), (OTHER, cell.number)):
        meeting.say_direct(meeting.note(2, source=source, target=target))
    meeting.mailbox.post(CANCEL, there, b"", source=cell.number, id=1)
    meeting.mailbox.flush()
    assert meeting.runs == [1, 2, 2]
    (said,) = meeting.heard_direct()
    assert said == Said(CANCEL, cell.number, there, 1, b"")
    assert not meeting.heard()


def test_an_idle_link_is_left_and_closed_when_the_other_has_left() -> None:
    async def main() -> None:
        with Meeting() as meeting:
            meeting.mailbox.link_idle = 0.02
            meeting.mailbox.attach(asyncio.get_running_loop())
            meeting.meet()
            async with asyncio.timeout(20):
                while not (said := meeting.heard_direct()):
                    await asyncio.sleep(0.005)
            assert said == [Said(SWITCH, HERE, OTHER, 5, b"")]
            meeting.mailbox.post(NOTIFY, OTHER, b"")
            meeting.mailbox.flush()
            assert [s.kind for s in meeting.heard()] == [NOTIFY]
            meeting.say_direct(
                meeting.note(1)
                + frame(envelope(SWITCH, source=OTHER, target=HERE, id=5))
            )
            assert meeting.runs == [1]
            assert meeting.heard() == [farewell(5, HEARD_ALL)]
            assert not meeting.lost

    asyncio.run(main())


def test_a_lost_link_is_relayed_around_and_the_next_is_taken(
    meeting: Meeting,
) -> None:
    meeting.meet()
    meeting.other.send(meeting.note(1))
    meeting.other.close()
    meeting.pump()
    assert meeting.runs == [1]
    assert meeting.heard() == [farewell(5, SPOKEN)]
    meeting.relay(LINK, SPOKEN, id=5)
    meeting.meet(6)
    meeting.say_direct(meeting.note(2))
    assert meeting.runs == [1, 2]


def test_the_news_of_an_end_comes_behind_what_the_link_holds(
    meeting: Meeting,
) -> None:
    meeting.meet()
    meeting.other.send(meeting.note(1))
    meeting.other.close()
    down = envelope(DOWN, source=ARBITER, target=HERE, id=OTHER)
    meeting.socket.send(frame(down))
    seen = len(meeting.runs)
    meeting.pump()
    assert (seen, meeting.runs) == (0, [1])
    assert meeting.port.of("control")[-1][0] == DOWN
    assert meeting.mailbox.stats()["direct"] == 0


BEFORE_HELLO = {
    "an ask": frame(
        envelope(ASK, b"x", source=OTHER, target=HERE, command=b"note")
    ),
    "hello of nobody": greeting(),
    "hello of another": greeting(source=4, target=HERE),
    "hello with the wrong magic": frame(
        envelope(HELLO, hello(b"XXXX"), source=OTHER, target=HERE)
    ),
    "hello of another version": frame(
        envelope(HELLO, hello(wire=9), source=OTHER, target=HERE)
    ),
    "a switch": frame(envelope(SWITCH, source=OTHER, target=HERE, id=5)),
    "zeros": bytes(100),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("first", BEFORE_HELLO.values(), ids=BEFORE_HELLO)
def test_a_stranger_is_not_listened_to(meeting: Meeting, first: bytes) -> None:
    meeting.introduce(5)
    meeting.relay(SWITCH, id=5)
    meeting.other.send(first + meeting.note("unpickled"))
    assert meeting.has_hung_up()
    assert not meeting.runs
    assert meeting.heard() == [farewell(5, NEITHER)]
    ((number, _, _),) = meeting.port.of("lost")
    assert number == OTHER
    meeting.port.calls.clear()
    meeting.socket.send(meeting.note(1))
    meeting.pump()
    assert meeting.runs == [1]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_process_of_another_user_is_a_stranger(meeting: Meeting) -> None:
    meeting.introduce(5)
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        os.write(meeting.other.fileno(), greeting(source=OTHER, target=HERE))
        os._exit(0)
    os.waitpid(child, 0)
    assert meeting.has_hung_up()
    assert meeting.heard() == [farewell(5, NEITHER)]
    meeting.port.calls.clear()


def word(kind: int, **fields: Any) -> bytes:
    return frame(
        envelope(kind, **({"source": OTHER, "target": HERE} | fields))
    )


FORBIDDEN = {
    "another source": word(TELL, source=4, command=b"note"),
    "the arbiter as source": word(TELL, source=ARBITER, command=b"note"),
    "another target": word(TELL, target=4, command=b"note"),
    "hello again": greeting(source=OTHER, target=HERE),
    "stop": word(STOP),
    "notify": word(NOTIFY),
    "bound": word(BOUND, id=1),
    "peer": word(PEER),
    "spec": word(SPEC),
    "log": word(LOG),
    "down": word(DOWN, id=OTHER),
    "a farewell": word(LINK, id=5),
    "a link": word(LINK, id=6, extension=descriptor(1)),
    "a bad frame": b"\x81\0",
    "a bad extension": word(ASK, command=b"note", extension=b"\4\0\1\0x"),
}


@pytest.mark.parametrize("said", FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_nodes_do_not_say_to_each_other_ends_the_link_alone(
    meeting: Meeting, said: bytes
) -> None:
    meeting.meet()
    meeting.other.send(meeting.note(1) + said + meeting.note(2))
    assert meeting.has_hung_up()
    assert meeting.runs == [1]
    assert meeting.heard() == [farewell(5, SPOKEN)]
    ((number, _, _),) = meeting.port.of("lost")
    assert number == OTHER
    meeting.port.calls.clear()


def test_a_switch_over_the_link_that_never_began_ends_it(
    meeting: Meeting,
) -> None:
    meeting.meet()
    last = word(SWITCH, id=5)
    meeting.other.send(last + meeting.note(1))
    assert meeting.has_hung_up()
    assert not meeting.runs  # nothing may follow
    assert meeting.heard() == [farewell(5, HEARD_ALL)]


def test_only_the_arbiter_introduces() -> None:
    with RawLink(Port(pickle.loads)) as link:  # whose peer is no arbiter
        link.say(LINK, source=1, id=5, extension=descriptor(1))
        assert link.lost


@pytest.mark.parametrize(
    "fields", [{"source": HERE}, {"source": ARBITER}, {"source": 0}]
)
def test_nobody_is_introduced_to_itself_or_the_arbiter(
    fields: dict[str, int],
) -> None:
    with Meeting() as meeting:
        meeting.introduce(5, **fields)
        assert meeting.lost


def test_a_second_link_to_the_same_node_is_an_error_of_the_arbiter() -> None:
    with Meeting() as meeting:
        meeting.introduce(5)
        meeting.introduce(6)
        assert meeting.lost


def test_a_descriptor_that_did_not_come_is_a_link_not_made(
    meeting: Meeting,
) -> None:
    meeting.relay(LINK, id=5, extension=descriptor(1))
    assert meeting.heard() == [farewell(5, NEITHER)]
    meeting.relay(LINK, NEITHER, id=5)
    meeting.serial = 1
    meeting.meet(6)


def test_asks_that_a_link_has_lost_fail_when_the_other_end_is_told() -> None:
    async def main() -> None:
        with Meeting() as meeting:
            meeting.mailbox.attach(asyncio.get_running_loop())
            before = meeting.mailbox.send(OTHER, "note", (0,), {})
            meeting.mailbox.flush()
            meeting.heard()
            meeting.meet()
            during = meeting.mailbox.send(OTHER, "note", (1,), {})
            meeting.mailbox.flush()
            meeting.other.close()
            meeting.pump()
            assert meeting.heard() == [farewell(5, SPOKEN)]
            after = meeting.mailbox.send(OTHER, "note", (2,), {})
            assert not before.done() and not during.done()
            meeting.relay(LINK, SPOKEN, id=5)
            for lost in (before, during):
                assert lost.exception().args == (OTHER, "link-lost")
            assert not after.done()
            meeting.mailbox.flush()
            kinds = [said.kind for said in meeting.heard()]
            assert kinds.count(ASK) == 1  # none is sent twice
            after.cancel()

    asyncio.run(main())


def test_commands_told_over_a_lost_link_are_told_again() -> None:
    async def main() -> None:
        with Meeting() as meeting:
            meeting.mailbox.attach(asyncio.get_running_loop())
            command = meeting.port.table["note"]
            command.serial = 7
            meeting.meet()
            for _ in range(3):
                meeting.mailbox.tell(OTHER, "note", (1,), {})
            assert meeting.port.of("define") == [(OTHER, 0)]
            meeting.other.close()
            meeting.pump()
            meeting.mailbox.tell(OTHER, "note", (1,), {})
            assert meeting.port.of("define") == [(OTHER, 0)] * 2

    asyncio.run(main())


def test_asks_go_on_when_a_link_was_never_spoken_over() -> None:
    async def main() -> None:
        with Meeting() as meeting:
            meeting.mailbox.attach(asyncio.get_running_loop())
            asked = meeting.mailbox.send(OTHER, "note", (0,), {})
            meeting.mailbox.flush()
            (said,) = meeting.heard()
            meeting.introduce(5)
            meeting.other.close()
            meeting.pump()
            assert meeting.heard() == [farewell(5, NEITHER)]
            meeting.relay(LINK, NEITHER, id=5)
            meeting.relay(REPLY, pickle.dumps("answer"), id=said.id)
            assert await asked == "answer"

    asyncio.run(main())


def test_farewells_of_other_links_are_ignored(meeting: Meeting) -> None:
    meeting.relay(LINK, SPOKEN, id=5)
    meeting.meet()
    meeting.relay(LINK, SPOKEN, id=4)
    meeting.say_direct(meeting.note(1))
    assert meeting.runs == [1]


@pytest.mark.parametrize("payload", [b"", b"\4", b"\xff"])
def test_a_wrong_farewell_is_an_error_of_the_arbiter(payload: bytes) -> None:
    with Meeting() as meeting:
        meeting.meet()
        meeting.relay(LINK, payload, id=5)
        assert meeting.lost
