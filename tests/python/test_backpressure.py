"""Tells that are awaited: who waits for them runs in bounded memory."""

from __future__ import annotations

import asyncio
from typing import Any

import backpressure_commands as commands
import flow_commands
import pytest
from actors_help import ask, run, until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

each_kind = pytest.mark.parametrize("kind", ["process", "thread"])

COUNT = 100_000

# Above the mark of 1,000: what one more write to a link may bring.
BOUND = 1_100


async def awaited_tells(
    target: Any, command: str, mailbox: Any, count: int
) -> dict[str, int]:
    """Tell so often, and look after each how much waits here."""
    found: dict[str, int] = await commands.tell_all(
        target, command, mailbox, count
    )
    return found


def mailbox_here() -> Any:
    arbiter = pn.arbiter()
    assert arbiter is not None
    return arbiter.mailbox


@each_kind
@pytest.mark.parametrize("command", ["take_quickly", "take_slowly"])
def test_awaited_tells_all_run_in_order_and_few_wait(
    kind: str, command: str
) -> None:
    async def main() -> None:
        worker = await pn.spawn(
            kind=kind, max_inflight=2, mailbox_messages=2000
        )
        other = await pn.spawn(kind=kind)
        telling = asyncio.ensure_future(
            awaited_tells(worker, command, mailbox_here(), COUNT)
        )
        pings = 0
        while not telling.done():
            assert await pn.send(other, "ping") == "pong"
            pings += 1
        found = await telling
        assert found["queued"] <= BOUND
        assert found["parked"] <= 1
        assert pings > 2
        taken = await ask(worker, commands.taken_of, COUNT)
        assert taken["count"] == COUNT
        assert taken["in_order"]
        # The limit, and what was on its way: some of it in the kernel.
        assert taken["peak"] < COUNT // 4

    run(main)


@each_kind
def test_an_awaited_tell_waits_while_it_is_parked(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=1, mailbox_messages=10)
        gate = pn.send(worker, "pass_gate")
        stats = mailbox_here().stats
        count = 0
        while not stats()["parked"]:
            last = pn.tell(worker, "note", count)
            count += 1
            await asyncio.sleep(0)
        more = [pn.tell(worker, "note", count + n) for n in range(3)]
        assert await pn.send(await pn.spawn(kind=kind), "ping") == "pong"
        assert not last.done()
        assert not any(future.done() for future in more)
        more[1].cancel()  # nobody waits for it, but it goes
        gate.cancel()
        assert await last is None
        assert await more[2] is None
        assert more[0].done()
        await until(lambda: not stats()["parked"], "none is parked")
        begun = await ask(worker, flow_commands.begun)
        assert begun[1:] == list(range(count + 3))

    run(main)


@each_kind
def test_the_end_of_the_target_ends_the_waiting(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(
            kind=kind, max_inflight=1, mailbox_messages=10, exit_timeout=0.1
        )
        _gate = pn.send(worker, "pass_gate")
        stats = mailbox_here().stats
        while not stats()["parked"]:
            last = pn.tell(worker, "note", 0)
            await asyncio.sleep(0)
        dead = stats()["dead_letters"]
        worker.kill()
        assert await last is None
        assert stats()["dead_letters"] > dead

    run(main)


@each_kind
def test_tells_that_nobody_awaits_end_too(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        told = [pn.tell(worker, "take_quickly", n) for n in range(5000)]
        assert told[0].done()
        if kind == "process":  # a thread may have taken them all
            assert not told[-1].done()
        assert await asyncio.gather(*told) == [None] * 5000
        taken = await ask(worker, commands.taken_of, 5000)
        assert taken["count"] == 5000

    run(main)


@each_kind
def test_an_actor_may_await_what_it_tells_itself(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        found = await pn.send(worker, "tell_itself", 5000)
        assert found["queued"] <= BOUND
        full = await pn.spawn(kind=kind, max_inflight=1, mailbox_messages=10)
        # All of it waits for the command that sends it.
        await pn.send(full, "tell_itself", 50)
        for actor, count in ((worker, 5000), (full, 50)):
            # Not one ask that waits for all: it would let nobody else begin.
            while await ask(actor, commands.count_taken) < count:
                pass

    run(main)


@pytest.mark.parametrize("sender", ["process", "thread"])
@pytest.mark.parametrize("target", ["process", "thread"])
def test_actors_wait_for_each_other(sender: str, target: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=target)
        first, second = [await pn.spawn(kind=sender) for _ in range(2)]
        for found in await asyncio.gather(
            pn.send(first, "tell_other", worker, 5000),
            pn.send(second, "tell_other", worker, 5000),
        ):
            assert found["queued"] <= BOUND
        taken = await ask(worker, commands.taken_of, 10_000)
        assert taken["count"] == 10_000

    run(main)


@each_kind
def test_a_polite_sender_is_answered_beside_a_flood(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        flooding = await pn.spawn(kind=kind)
        polite = await pn.spawn(kind=kind)
        flood = pn.send(flooding, "tell_other", worker, 50_000)
        await ask(worker, commands.until_taken, 1000)
        before = await ask(worker, commands.taken_now)
        answers = await pn.send(polite, "ping_meanwhile", worker, 10)
        assert answers == 10
        # The flood was not over.
        assert before <= await ask(worker, commands.taken_now) < 50_000
        await flood
        taken = await ask(worker, commands.taken_of, 50_000)
        assert taken["in_order"]

    run(main)
