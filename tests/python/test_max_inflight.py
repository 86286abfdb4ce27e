"""How many commands are under way at once, and in which order they begin."""

from __future__ import annotations

import asyncio
import sys

import flow_commands as commands
import pytest
from actors_help import ask, failure, run

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "thread"]
each_kind = pytest.mark.parametrize("kind", KINDS)


def at_most(limit: int) -> set[int]:
    """What is seen of a limit: before 3.12 one of those under way may not
    have begun its first step."""
    return {limit, limit - (sys.version_info < (3, 12))}


@each_kind
def test_no_more_than_max_inflight_are_under_way(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=3)
        asked = [pn.send(worker, "note_slowly", n) for n in range(50)]
        assert await asyncio.gather(*asked) == list(range(50))
        assert await ask(worker, commands.most) in at_most(3)
        assert await ask(worker, commands.begun) == list(range(50))
        assert await ask(worker, commands.counts) == (0, 0)

    run(main)


@each_kind
def test_without_a_limit_all_are_under_way(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=0)
        asked = [pn.send(worker, "pass_gate", n) for n in range(50)]
        await pn.send(worker, "ping")  # before 3.12 all begin only now
        assert await ask(worker, commands.counts) == (50, 0)
        await ask(worker, commands.open_gate)
        assert await asyncio.gather(*asked) == list(range(50))

    run(main)


@each_kind
def test_plain_functions_count_only_while_they_run(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=2)
        gate = pn.send(worker, "pass_gate")
        for n in range(20):
            assert await pn.send(worker, "note", n) == n
        assert await ask(worker, commands.counts) == (1, 0)
        await ask(worker, commands.open_gate)
        await gate

    run(main)


@each_kind
@pytest.mark.parametrize("limit", [1, 2, 7])
def test_messages_begin_in_the_order_of_sending(kind: str, limit: int) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=limit)
        answers = []
        for n in range(0, 300, 3):
            answers.append(pn.send(worker, "note_slowly", n))
            pn.tell(worker, "note", n + 1)
            answers.append(pn.send(worker, "note", n + 2))
        await asyncio.gather(*answers)
        assert await ask(worker, commands.begun) == list(range(300))
        assert await ask(worker, commands.most) <= limit

    run(main)


@each_kind
def test_asks_that_wait_fail_when_their_target_stops(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=1, exit_timeout=0.1)
        asked = [pn.send(worker, "pass_gate", n) for n in range(5)]
        await asyncio.sleep(0)
        pn.arbiter()._children[worker.number].stop()  # type: ignore[union-attr]
        for future in asked:
            assert isinstance(await failure(future), pn.ActorDown)

    run(main)


@each_kind
def test_asks_that_wait_are_dropped_when_cancelled(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=1)
        first = pn.send(worker, "pass_gate", "first")
        asked = [pn.send(worker, "note", n) for n in range(4)]
        asked[1].cancel()
        with pn.deadline(0.02):
            late = pn.send(worker, "note", "late")
        assert isinstance(await failure(late), pn.AskTimeout)
        first.cancel()
        assert await asked[3] == 3
        assert await ask(worker, commands.begun) == ["first", 0, 2, 3]

    run(main)


@each_kind
def test_what_has_waited_does_not_hold_the_loop(kind: str) -> None:
    async def main() -> None:
        count = 20_000
        worker = await pn.spawn(kind=kind, max_inflight=2)
        gate = pn.send(worker, "pass_gate", -1)
        look = ask(worker, commands.open_gate_and_look, count)
        for n in range(count):
            pn.tell(worker, "note", n)
        iterations, most = await look
        await gate
        assert iterations > 3
        assert most < count / 3
        assert await ask(worker, commands.begun) == list(range(-1, count))

    run(main)


@each_kind
def test_the_limit_can_be_changed_while_messages_wait(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=2)
        changing = ask(worker, commands.lift_limit, 8)
        asked = [pn.send(worker, "pass_gate", n) for n in range(9)]
        await changing
        await pn.send(worker, "ping")
        assert await ask(worker, commands.counts) == (9, 0)
        await ask(worker, commands.open_gate)
        assert await asyncio.gather(*asked) == list(range(9))

    run(main)


@each_kind
def test_the_command_config_changes_the_limit(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=2)
        assert await pn.send(worker, "config", "set", "max_inflight", 5)
        asked = [pn.send(worker, "note_slowly", n) for n in range(20)]
        await asyncio.gather(*asked)
        assert await ask(worker, commands.most) in at_most(5)

    run(main)


# --- waiting for each other ---


@each_kind
def test_an_actor_asks_itself(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        assert await pn.send(worker, "nested", 40) == 40

    run(main)


def test_the_arbiter_asks_itself() -> None:
    async def main() -> None:
        assert await pn.send("arbiter", "nested", 40) == 40

    run(main)


@each_kind
def test_with_max_inflight_1_asking_oneself_is_a_deadlock(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=1)
        error = await failure(pn.send(worker, "nested", 1))
        assert isinstance(error, pn.DeadlockError)
        assert worker.aid in str(error)
        assert await pn.send(worker, "nested", 0) == 0

    run(main)


@each_kind
def test_as_deep_as_max_inflight_one_may_ask_oneself(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=4)
        assert await pn.send(worker, "nested", 3) == 3
        error = await failure(pn.send(worker, "nested", 4))
        assert isinstance(error, pn.DeadlockError)

    run(main)


PAIRS = [(a, b) for a in KINDS for b in KINDS]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_actors_ask_each_other(first: str, second: str) -> None:
    async def main() -> None:
        a = await pn.spawn(kind=first)
        b = await pn.spawn(kind=second)
        both = [pn.send(x, "along", [y, x, y]) for x, y in ((a, b), (b, a))]
        found = await asyncio.gather(*both)
        assert found[0] == [a.aid, b.aid] * 2
        assert found[1] == [b.aid, a.aid] * 2

    run(main)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_with_max_inflight_1_that_is_a_deadlock(
    first: str, second: str
) -> None:
    async def main() -> None:
        a = await pn.spawn(kind=first, max_inflight=1)
        b = await pn.spawn(kind=second, max_inflight=1)
        assert await pn.send(a, "along", [b]) == [a.aid, b.aid]
        error = await failure(pn.send(a, "along", [b, a]))
        assert isinstance(error, pn.DeadlockError)
        assert a.aid in str(error)
        assert await pn.send(b, "along", [a]) == [b.aid, a.aid]

    run(main)


@pytest.mark.parametrize("kinds", [KINDS[:1] * 3, [*KINDS, "process"]])
def test_a_deadlock_is_seen_over_three_actors(kinds: list[str]) -> None:
    async def main() -> None:
        a = await pn.spawn(kind=kinds[0], max_inflight=1)
        b = await pn.spawn(kind=kinds[1])
        c = await pn.spawn(kind=kinds[2], max_inflight=1)
        way = [b, c, b]
        found = await pn.send(a, "along", way)
        assert found == [a.aid, b.aid, c.aid, b.aid]
        error = await failure(pn.send(a, "along", [*way, a]))
        assert isinstance(error, pn.DeadlockError)
        error = await failure(pn.send(c, "along", [a, b, c]))
        assert isinstance(error, pn.DeadlockError)
        assert c.aid in str(error)

    run(main)


@each_kind
def test_a_tell_to_oneself_is_no_deadlock(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=1)
        await pn.send(worker, "tell_oneself", "note", "told")
        assert await ask(worker, commands.begun) == ["told"]

    run(main)


# --- ask_timeout ---


@each_kind
def test_asks_without_a_deadline_have_that_of_the_setting(kind: str) -> None:
    async def main() -> None:
        slow = await pn.spawn(kind=kind)
        worker = await pn.spawn(kind=kind, ask_timeout=0.05)
        error = await failure(pn.send(worker, "ask_gate", slow))
        assert isinstance(error, pn.AskTimeout)
        await ask(slow, commands.until_idle)  # it was cancelled there
        found = await pn.send(worker, "ask_gate_long", slow)
        assert found == ["AskTimeout", True]

    run(main)


def test_a_spawn_is_no_subject_to_ask_timeout() -> None:
    async def main() -> None:
        worker = await pn.spawn(ask_timeout=1e-6)
        spawned = await pn.send(worker, "spawn_one")
        assert await pn.send(spawned, "ping") == "pong"

    run(main)
