"""Full mailboxes: what becomes of messages, and of those who send them."""

from __future__ import annotations

import asyncio
from typing import Any

import flow_commands as commands
import pytest
from actors_help import ask, failure, run, until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "thread"]
each_kind = pytest.mark.parametrize("kind", KINDS)


async def closed(**settings: Any) -> tuple[Any, asyncio.Future[Any]]:
    """An actor in which all waits, until the future is cancelled."""
    worker = await pn.spawn(**{"max_inflight": 1, **settings})
    gate = pn.send(worker, "pass_gate", "gate")
    return worker, gate


def stats() -> dict[str, int]:
    arbiter = pn.arbiter()
    assert arbiter is not None
    return arbiter.mailbox.stats()


async def until_parked(count: int) -> None:
    await until(lambda: stats()["parked"] == count, f"{count} are parked")


async def until_stopped(worker: Any) -> int:
    """Ask until one is parked; how many were asked."""
    count = 0
    while not stats()["parked"]:
        pn.tell(worker, "note", count)
        count += 1
        await asyncio.sleep(0 if count % 20 else 0.001)
    return count


# --- wait ---


@each_kind
def test_what_a_full_mailbox_does_not_take_waits_at_its_sender(
    kind: str,
) -> None:
    async def main() -> None:
        worker = await pn.spawn(
            kind=kind, max_inflight=2, mailbox_messages=100
        )
        watch = pn.send(worker, "watch")
        gate = pn.send(worker, "pass_gate", "gate")
        told = await until_stopped(worker)
        asked = [pn.send(worker, "note", told + n) for n in range(5000)]
        await until_parked(5001)
        gate.cancel()
        await asyncio.gather(*asked)
        watch.cancel()
        wanted = ["gate", *range(told + 5000)]
        assert await ask(worker, commands.begun) == wanted
        assert 100 <= await ask(worker, commands.peak) < told + 100
        assert stats()["parked"] == stats()["parked_bytes"] == 0

    run(main)


@each_kind
def test_a_mailbox_is_full_by_bytes_too(kind: str) -> None:
    async def main() -> None:
        worker, gate = await closed(kind=kind, mailbox_bytes=100_000)
        while not stats()["parked"]:
            pn.tell(worker, "note", "x" * 1000)
            await asyncio.sleep(0)
        asked = [pn.send(worker, "note", n) for n in range(10)]
        gate.cancel()
        await asyncio.gather(*asked)
        found = await ask(worker, commands.begun)
        assert found[-10:] == list(range(10))
        assert 100 <= len(found) < 50_000  # until it was heard here

    run(main)


@each_kind
def test_beyond_the_outbox_of_one_target_nothing_is_sent(kind: str) -> None:
    async def main() -> None:
        pn.arbiter(outbox_messages=200)
        worker, gate = await closed(kind=kind, mailbox_messages=10)
        other = await pn.spawn(kind=kind)
        told = await until_stopped(worker)
        asked = [pn.send(worker, "note", told + n) for n in range(199)]
        for refused in (
            pn.send(worker, "note", "more"),
            pn.tell(worker, "note", "more"),
        ):
            assert refused.done()
            error = await failure(refused)
            assert isinstance(error, pn.MailboxFull)
            assert worker.aid in str(error)
        assert await pn.send(other, "ping") == "pong"
        gate.cancel()
        await asyncio.gather(*asked)
        wanted = ["gate", *range(told + 199)]
        assert await ask(worker, commands.begun) == wanted

    run(main)


@each_kind
def test_a_parked_ask_that_is_given_up_never_leaves(kind: str) -> None:
    async def main() -> None:
        worker, gate = await closed(kind=kind, mailbox_messages=10)
        told = await until_stopped(worker)
        asked = [pn.send(worker, "note", told + n) for n in range(4)]
        with pn.deadline(0.03):
            late = pn.send(worker, "note", "late")
        last = pn.send(worker, "note", "last")
        await until_parked(7)
        asked[1].cancel()
        await until_parked(6)
        assert isinstance(await failure(late), pn.AskTimeout)
        await until_parked(5)
        gate.cancel()
        assert await last == "last"
        assert await asyncio.gather(asked[0], *asked[2:])
        wanted = ["gate", *range(told + 4), "last"]
        wanted.remove(told + 1)
        assert await ask(worker, commands.begun) == wanted

    run(main)


@each_kind
def test_the_end_of_a_target_empties_its_park(kind: str) -> None:
    async def main() -> None:
        worker, _gate = await closed(
            kind=kind, mailbox_messages=10, exit_timeout=0.1
        )
        other, gate = await closed(kind=kind, mailbox_messages=10)
        await until_stopped(worker)
        asked = [pn.send(worker, "note", n) for n in range(50)]
        kept = pn.send(other, "note", "kept")
        dead = stats()["dead_letters"]
        worker.kill()
        for future in asked:
            assert isinstance(await failure(future), pn.ActorDown)
        await until_parked(0)
        assert stats()["dead_letters"] > dead
        assert isinstance(await failure(pn.send(worker, "note")), pn.ActorDown)
        gate.cancel()
        assert await kept == "kept"

    run(main)


PAIRS = [(a, b) for a in KINDS for b in KINDS]


@pytest.mark.parametrize("link_idle", [60, 0], ids=["direct", "relayed"])
@pytest.mark.parametrize(("sender", "target"), PAIRS)
def test_senders_elsewhere_park_too(
    sender: str, target: str, link_idle: int
) -> None:
    async def main() -> None:
        pn.arbiter(link_idle=link_idle)
        worker, gate = await closed(kind=target, mailbox_messages=50)
        first = await pn.spawn(kind=sender)
        second = await pn.spawn(kind=sender)
        floods = [
            pn.send(one, "flood", worker, 1000) for one in (first, second)
        ]
        for one in (first, second):
            await ask(one, commands.until_parked)
        gate.cancel()
        wanted: list[int] = []
        for found in await asyncio.gather(*floods):
            assert found.keys() == {"done", "parked"}
            wanted += range(found["done"])
        begun = await ask(worker, commands.begun)
        assert sorted(begun[1:]) == sorted(wanted)

    run(main)


@each_kind
def test_an_ask_that_would_wait_for_itself_when_parked_fails_at_once(
    kind: str,
) -> None:
    async def main() -> None:
        full = await pn.spawn(kind=kind, max_inflight=1, mailbox_messages=5)
        other = await pn.spawn(kind=kind)
        # It asks the other one, which asks back once it is told to stop.
        asking = pn.send(full, "ask_with_flood", other)
        assert await asking == ["DeadlockError", True]

    run(main)


@each_kind
def test_a_node_stops_its_own_actors(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=2, mailbox_messages=10)
        assert await pn.send(worker, "burst", worker, 1000) == 1000

    run(main)


# --- fail and drop ---


@each_kind
def test_with_the_policy_fail_the_asker_hears_so(kind: str) -> None:
    async def main() -> None:
        worker, gate = await closed(
            kind=kind, mailbox_messages=10, mailbox_policy="fail"
        )
        asked = [pn.send(worker, "note", n) for n in range(30)]
        pn.tell(worker, "note", "told")
        for future in asked[10:]:
            error = await failure(future)
            assert isinstance(error, pn.MailboxFull)
            assert worker.aid in str(error)
        gate.cancel()
        assert await asyncio.gather(*asked[:10]) == list(range(10))
        assert await ask(worker, commands.begun) == ["gate", *range(10)]
        assert await ask(worker, commands.dead_letters) == 1
        assert await pn.send(worker, "note", "again") == "again"

    run(main)


@each_kind
def test_with_the_policy_drop_the_oldest_makes_room(kind: str) -> None:
    async def main() -> None:
        worker, gate = await closed(
            kind=kind, mailbox_messages=10, mailbox_policy="drop"
        )
        pn.tell(worker, "note", "told")
        asked = [pn.send(worker, "note", n) for n in range(30)]
        for future in asked[:20]:
            assert isinstance(await failure(future), pn.MailboxFull)
        gate.cancel()
        assert await asyncio.gather(*asked[20:]) == list(range(20, 30))
        assert await ask(worker, commands.begun) == ["gate", *range(20, 30)]
        assert await ask(worker, commands.dead_letters) == 1

    run(main)


@each_kind
@pytest.mark.parametrize("policy", ["fail", "drop"])
def test_both_heed_bytes_and_take_a_large_one_alone(
    kind: str, policy: str
) -> None:
    async def main() -> None:
        worker, gate = await closed(
            kind=kind, mailbox_bytes=100, mailbox_policy=policy
        )
        large, small = "x" * 1000, "y"
        asked = [pn.send(worker, "note", what) for what in (large, small)]
        refused = asked.pop(1 if policy == "fail" else 0)
        assert isinstance(await failure(refused), pn.MailboxFull)
        gate.cancel()
        assert len(await asked[0]) == (1000 if policy == "fail" else 1)

    run(main)
