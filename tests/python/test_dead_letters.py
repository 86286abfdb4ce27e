"""What becomes known of messages that reach nobody, or wait for too long."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import flow_commands
import pytest
from actors_help import ask, failure, run, until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

each_kind = pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])


def watch(actor: Any) -> None:
    actor.letters = []
    actor.watch = pn.watch_dead_letters(
        lambda letter: actor.letters.append((pn.get_actor().aid, letter))
    )


def watch_for_arbiter(actor: Any) -> None:
    pn.watch_dead_letters(lambda letter: pn.tell("arbiter", "note", letter))


def unwatch(actor: Any) -> None:
    actor.watch.close()


def letters(actor: Any) -> list[tuple[str, pn.DeadLetter]]:
    found: list[tuple[str, pn.DeadLetter]] = actor.letters
    return found


async def letters_of(target: Any, count: int) -> list[pn.DeadLetter]:
    """The first *count* that *target* has heard of, in its own context."""
    while len(found := await ask(target, letters)) < count:
        await asyncio.sleep(0.005)
    assert {aid for aid, _ in found} == {target.aid}
    return [letter for _, letter in found]


def mailbox() -> Any:
    root = pn.arbiter()
    assert root is not None
    return root.mailbox


# --- dead letters ---


@each_kind
def test_who_watches_hears_of_what_it_refuses(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        await ask(worker, watch)
        pn.tell(worker, "no such command", 1)
        (letter,) = await letters_of(worker, 1)
        assert letter.target == worker
        assert letter.command == "no such command"
        assert letter.reason == "unknown-command"

    run(main)


@each_kind
def test_a_tell_to_an_actor_that_has_ended_is_one(kind: str) -> None:
    async def main() -> None:
        heard: list[pn.DeadLetter] = []
        worker = await pn.spawn(kind=kind)
        with pn.watch_dead_letters(heard.append):
            worker.kill()
            await worker.join()
            assert isinstance(
                await failure(pn.send(worker, "ping")), Exception
            )
            pn.tell(worker, "ping")
            await until(lambda: heard, "the letter")
        assert heard == [pn.DeadLetter(worker, "ping", "actor-down")]

    run(main)


@each_kind
def test_a_tell_to_nobody_is_one(kind: str) -> None:
    async def main() -> None:
        heard: list[pn.DeadLetter] = []
        pn.watch_dead_letters(heard.append)
        worker = await pn.spawn(kind=kind)
        await ask(worker, tell_nobody)
        await until(lambda: heard, "the letter")
        assert heard == [pn.DeadLetter("nobody", "ping", "unknown-actor")]

    run(main)


def tell_nobody(actor: Any) -> None:
    pn.tell("nobody", "ping")


@each_kind
@pytest.mark.parametrize("policy", ["fail", "drop"])
def test_what_a_full_mailbox_does_not_take_is_one(
    kind: str, policy: str
) -> None:
    async def main() -> None:
        worker = await pn.spawn(
            kind=kind,
            max_inflight=1,
            mailbox_messages=10,
            mailbox_policy=policy,
        )
        await ask(worker, watch_for_arbiter)
        gate = pn.send(worker, "pass_gate")
        for n in range(15):
            pn.tell(worker, "note", n)
        found = flow_commands.gate_of(mailbox().actor).begun
        await until(lambda: len(found) >= 5, "five letters")
        gate.cancel()
        assert found == 5 * [pn.DeadLetter(worker, "note", "mailbox-full")]

    run(main)


def test_what_was_parked_for_an_actor_that_ends_is_one() -> None:
    async def main() -> None:
        heard: list[pn.DeadLetter] = []
        worker = await pn.spawn(max_inflight=1, mailbox_messages=10)
        pn.watch_dead_letters(heard.append)
        pn.send(worker, "pass_gate").add_done_callback(lambda f: f.exception())
        count = 0
        while not mailbox().stats()["parked"]:
            pn.tell(worker, "note", count)
            count += 1
            await asyncio.sleep(0 if count % 20 else 0.001)
        worker.kill()
        await until(lambda: heard, "a letter")
        assert heard[0] == pn.DeadLetter(worker, "note", "actor-down")

    run(main)


def test_what_a_callback_raises_is_logged(caplog: Any) -> None:
    async def main() -> None:
        heard: list[pn.DeadLetter] = []

        def broken(letter: pn.DeadLetter) -> None:
            raise ValueError("as it is meant to")

        pn.watch_dead_letters(broken)
        pn.watch_dead_letters(heard.append)
        for count in (1, 2):
            pn.tell(mailbox().actor, f"unknown {count}")
            await until(lambda c=count: len(heard) == c, "the other hears")
        assert await pn.send(mailbox().actor, "ping") == "pong"

    run(main)
    assert caplog.text.count("ValueError: as it is meant to") == 2


def test_a_callback_may_watch_close_and_tell() -> None:
    async def main() -> None:
        heard: list[str] = []

        def again(letter: pn.DeadLetter) -> None:
            handle.close()
            pn.watch_dead_letters(lambda letter: heard.append(letter.command))
            pn.tell(mailbox().actor, "second")

        handle = pn.watch_dead_letters(again)
        pn.tell(mailbox().actor, "first")
        await until(lambda: heard, "the second")
        assert heard == ["second"]

    run(main)


def test_a_closed_watch_hears_nothing() -> None:
    async def main() -> None:
        heard: list[pn.DeadLetter] = []
        first = pn.watch_dead_letters(heard.append)
        pn.tell(mailbox().actor, "unknown")
        await pn.send(mailbox().actor, "ping")
        first.close()
        first.close()
        assert mailbox().on_dead_letter is None
        known = len(heard)
        pn.tell(mailbox().actor, "unknown")
        await pn.send(mailbox().actor, "ping")
        assert len(heard) == known
        assert mailbox().stats()["dead_letters"] == 2

    run(main)


@each_kind
def test_a_watch_elsewhere_can_be_closed(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        await ask(worker, watch)
        await ask(worker, unwatch)
        pn.tell(worker, "unknown")
        assert not await ask(worker, letters)

    run(main)


def test_a_watch_ends_with_its_actor() -> None:
    async def main() -> None:
        worker = await pn.spawn(kind="coroutine")
        await ask(worker, watch)
        assert mailbox().on_dead_letter is not None
        worker.kill()
        await worker.join()
        pn.tell(mailbox().actor, "unknown")
        await until(lambda: mailbox().on_dead_letter is None, "it is closed")

    run(main)


def test_what_cannot_be_called_cannot_watch() -> None:
    async def main() -> None:
        with pytest.raises(TypeError):
            pn.watch_dead_letters(None)  # type: ignore[arg-type]

    run(main)
    with pytest.raises(RuntimeError):
        pn.watch_dead_letters(print)


# --- slow ---


async def until_ticked(worker: Any, times: int) -> None:
    """Until the node of *worker* has looked at its mailboxes so often."""
    root: Any = mailbox().actor

    def ticks() -> Any:
        return root._ticker if worker.kind == "coroutine" else worker.notified

    for _ in range(times):
        before = ticks()
        await until(lambda b=before: ticks() != b, "a tick")


@each_kind
def test_a_stall_is_logged_once(
    kind: str, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = sys.modules[pn.Arbiter.__module__]
    monkeypatch.setattr(home, "MONITOR_TASK_PERIOD", 0.1)

    def warnings() -> int:
        found = [r.getMessage() for r in caplog.records]
        return sum("slow" in text for text in found)

    async def main() -> None:
        pn.arbiter(slow=0.01)
        worker = await pn.spawn(
            kind=kind, max_inflight=1, slow=0.01, timeout=0.2
        )
        for stall in (1, 2):
            gate = pn.send(worker, "pass_gate")
            waits = pn.send(worker, "note", stall)
            await until(lambda s=stall: warnings() == s, "the warning")
            await until_ticked(worker, 2)
            assert warnings() == stall
            gate.cancel()
            assert await waits == stall
            await until_ticked(worker, 2)

    run(main)
    assert warnings() == 2
    assert "its oldest message has waited" in caplog.text


def test_with_slow_0_no_stall_is_logged(caplog: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn(max_inflight=1, slow=0, timeout=0.2)
        gate = pn.send(worker, "pass_gate")
        waits = pn.send(worker, "note", 1)
        await until_ticked(worker, 3)
        gate.cancel()
        assert await waits == 1

    run(main)
    assert "slow" not in caplog.text
