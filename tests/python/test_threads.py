"""Loops and threads side by side: whose actor is it, what of a context do
others see, and what arrives that many threads send."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import context_commands as commands
import pytest
from actors_help import PATIENCE, failure, run, until
from context_commands import ask_threadsafe, error_of, in_thread

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")


def here() -> pn.Actor:
    actor = pn.get_actor()
    assert actor is not None
    return actor


def is_refusal(found: Any) -> bool:
    return (
        isinstance(found, str)
        and found.startswith("RuntimeError")
        and "send_threadsafe" in found
    )


# --- the current actor ---


@pytest.mark.parametrize("target", ["worker", "arbiter"])
def test_commands_and_their_tasks_know_their_actor(target: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(name="worker")
        aid = worker.aid if target == "worker" else "arbiter"
        assert await pn.send(target, "here") == aid
        assert await pn.send(target, "here_around_awaits") == [aid] * 3
        assert await pn.send(target, "here_in_tasks") == [
            aid,
            [aid, aid],
            aid,
            aid,
        ]

    run(main)


def test_every_executor_of_an_actor_knows_it() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        found = await pn.send(worker, "here_in_threads")
        assert found == [worker.aid] * 4
        # The default executor of the arbiter's loop is the program's.
        by_context, _, *own = await pn.send("arbiter", "here_in_threads")
        assert [by_context, *own] == ["arbiter"] * 3
        for target in (worker, "arbiter"):
            plain = await pn.send(target, "here_in_a_plain_thread")
            assert plain is None

    run(main)


def test_the_executor_has_no_more_threads_than_the_setting_says() -> None:
    async def main() -> None:
        worker = await pn.spawn(thread_workers=2)
        assert await pn.send(worker, "thread_workers") in (1, 2)

    run(main)


def test_the_executor_sees_the_context_of_who_submits() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        asked = [
            pn.send(worker, "colour_in_threads", str(n)) for n in range(20)
        ]
        found = await asyncio.gather(*asked)
        assert found == [[str(n)] * 2 for n in range(20)]
        assert await pn.send("arbiter", "colour_in_threads", "x") == ["x"] * 2

    run(main)


def test_hooks_know_their_actor() -> None:
    async def main() -> None:
        commands.noted.clear()
        worker = await pn.spawn(
            start=[commands.start, commands.start_later],
            periodic_task=commands.periodic,
            on_info=commands.on_info,
            stopping=commands.stopping,
        )
        await pn.send(worker, "info")
        found: dict[str, Any] = {}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while len(found) < 4:
            assert loop.time() < deadline, found
            found = await pn.send(worker, "extra")
        assert found == dict.fromkeys(
            ["start", "start later", "periodic", "info"], worker.aid
        )
        pn.tell(worker, "stop")
        await worker.join(PATIENCE)
        assert commands.noted == [(worker.aid, worker.aid)]

    run(main)


def test_hooks_of_the_arbiter_know_it() -> None:
    seen: list[Any] = []

    def look(actor: Any) -> None:
        seen.append(pn.get_actor() is actor)

    async def look_later(actor: Any) -> None:
        await asyncio.sleep(0)
        seen.append(pn.get_actor() is actor)

    async def main() -> None:
        arbiter = pn.arbiter(
            start=[look, look_later], stopping=[look, look_later]
        )
        assert arbiter is not None
        async with arbiter:
            assert await pn.send("arbiter", "here") == "arbiter"

    run(main)
    assert seen == [True] * 4


# --- sending from threads ---


@pytest.mark.parametrize("target", ["worker", "arbiter"])
def test_whatever_sends_off_the_loop_names_send_threadsafe(
    target: str,
) -> None:
    async def main() -> None:
        worker = await pn.spawn(name="worker")
        for text in await pn.send(target, "send_off_the_loop"):
            assert is_refusal(text), text
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_send_threadsafe_works_from_every_thread_of_an_actor() -> None:
    async def main() -> None:
        one, other = await pn.spawn(), await pn.spawn()
        for target in (other, "arbiter"):
            assert await pn.send(one, "threadsafe", target) == [one.aid] * 3

    run(main)


def test_another_loops_thread_has_no_actor_of_its_own_yet() -> None:
    async def in_another_loop(worker: Any) -> list[Any]:
        future = pn.send_threadsafe(worker, "who_asks")
        return [await asyncio.wrap_future(future), pn.get_actor()]

    async def main() -> None:
        worker = await pn.spawn()
        found = await asyncio.to_thread(
            in_thread, lambda: asyncio.run(in_another_loop(worker))
        )
        assert found == ["arbiter", None]

    run(main)


def test_send_threadsafe_that_was_cancelled_does_not_leave() -> None:
    async def main() -> None:
        commands.noted.clear()
        await pn.spawn()
        future = here().send_threadsafe("arbiter", "take_note", "cancelled")
        assert future.cancel()
        await asyncio.wrap_future(
            here().send_threadsafe("arbiter", "take_note", "sent")
        )
        assert [what for what, _ in commands.noted] == ["sent"]

    run(main)


def test_send_threadsafe_keeps_the_order_of_one_thread() -> None:
    async def main() -> None:
        commands.noted.clear()
        await pn.spawn()

        def tell_all() -> None:
            futures = [
                pn.send_threadsafe("arbiter", "take_note", n)
                for n in range(500)
            ]
            for future in futures:
                future.result(PATIENCE)

        await asyncio.to_thread(tell_all)
        assert [what for what, _ in commands.noted] == list(range(500))

    run(main)


def test_many_threads_may_send_at_once() -> None:
    async def main() -> None:
        workers = [await pn.spawn(), await pn.spawn()]

        def ask_often(n: int) -> None:
            for i in range(50):
                got = ask_threadsafe(workers[i % 2], "echo", (n, i))
                assert got == (n, i)

        await asyncio.gather(
            *(asyncio.to_thread(ask_often, n) for n in range(8))
        )

    run(main)


# --- contexts ---


@pytest.mark.parametrize("target", ["worker", "arbiter"])
def test_commands_under_way_together_have_a_context_each(
    target: str,
) -> None:
    async def main() -> None:
        await pn.spawn(name="worker")
        asked = [pn.send(target, "paint", str(n)) for n in range(10)]
        assert await asyncio.gather(*asked) == ["none"] * 10
        asked = [pn.send(target, "paint_slowly", str(n)) for n in range(20)]
        assert await asyncio.gather(*asked) == [
            ("none", str(n)) for n in range(20)
        ]
        assert await pn.send(target, "see") == "none"
        assert commands.colour.get() == "none"

    run(main)


@pytest.mark.parametrize("target", ["worker", "arbiter"])
def test_a_callers_context_does_not_reach_a_command(target: str) -> None:
    async def main() -> None:
        commands.colour.set("of the program")
        await pn.spawn(name="worker")
        other = await pn.spawn()
        assert await pn.send(target, "paint", "red") == "none"
        assert commands.colour.get() == "of the program"
        for callee in (other, target, "arbiter"):
            seen = await pn.send(target, "paint_and_ask", callee)
            assert seen == ("none", "of the caller")

    run(main)


def test_what_waits_for_its_turn_sees_no_others_context() -> None:
    # A command that is slow leaves the rest of its batch for a later turn,
    # which it has asked the loop for by sending.
    async def main() -> None:
        worker = await pn.spawn()
        asked = []
        for _ in range(20):
            asked.append(pn.send(worker, "paint_and_tell_itself"))
            asked.append(pn.send(worker, "see"))
        assert await asyncio.gather(*asked) == [None, "none"] * 20

    run(main)


def test_tasks_of_a_command_inherit_its_context() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for target in (worker, "arbiter"):
            seen = await pn.send(target, "paint_and_spawn_tasks")
            assert seen == ["outer"] * 3

    run(main)


# --- arbiters of other threads ---


def in_loop_thread(
    main: Callable[[], Awaitable[Any]],
) -> tuple[threading.Thread, list[Any]]:
    """Run a loop in a thread; what it gives ends up in the list."""
    found: list[Any] = []

    async def limited() -> Any:
        return await asyncio.wait_for(main(), PATIENCE)

    def call() -> None:
        try:
            found.append(asyncio.run(limited()))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, found


async def end_of(thread: threading.Thread) -> None:
    await until(lambda: not thread.is_alive(), "the other loop ends")


def test_a_loop_in_another_thread_has_another_arbiter() -> None:
    async def in_thread_main() -> Any:
        worker = await pn.spawn(name="same name")
        mine = here()
        assert pn.arbiter() is mine
        assert mine.tid == threading.get_ident()
        assert await pn.send("same name", "here") == worker.aid
        return mine, worker.aid, await pn.send(worker, "who_asks")

    async def main() -> None:
        worker = await pn.spawn(name="same name")
        mine = here()
        thread, found = in_loop_thread(in_thread_main)
        await end_of(thread)
        other, aid, asker = found[0]
        assert other is not mine
        assert other.number != mine.number
        assert other.tid != mine.tid
        assert asker == "arbiter"
        assert aid != worker.aid
        assert other.stopped()
        assert mine.is_running()
        assert here() is mine
        assert await pn.send("same name", "here") == worker.aid

    run(main)


def test_actors_of_one_arbiter_are_unknown_to_another() -> None:
    async def main() -> None:
        worker = await pn.spawn(name="mine")

        async def in_thread_main() -> Any:
            await pn.spawn()
            return [
                await failure(pn.send("mine", "ping")),
                await failure(pn.send(worker, "ping")),
            ]

        thread, found = in_loop_thread(in_thread_main)
        await end_of(thread)
        assert [type(error) for error in found[0]] == [pn.ActorNotFound] * 2
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_an_arbiter_refuses_the_thread_of_another() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        mine = here()

        async def in_thread_main() -> Any:
            await pn.spawn()
            return [
                error_of(mine.send, worker, "ping"),
                error_of(mine.spawn),
                await asyncio.wrap_future(
                    mine.send_threadsafe(worker, "who_asks")
                ),
            ]

        thread, found = in_loop_thread(in_thread_main)
        await end_of(thread)
        assert is_refusal(found[0][0]), found
        assert is_refusal(found[0][1]), found
        assert found[0][2] == "arbiter"
        assert len(mine.managed_actors) == 1  # type: ignore[attr-defined]

    run(main)


def test_arbiters_in_many_threads_work_side_by_side() -> None:
    async def one_of_many() -> Any:
        workers = await asyncio.gather(pn.spawn(), pn.spawn())
        got = await asyncio.gather(
            *(pn.send(workers[n % 2], "echo", n) for n in range(200))
        )
        assert got == list(range(200))
        return here().number

    threads = [in_loop_thread(one_of_many) for _ in range(4)]
    for thread, _ in threads:
        thread.join(PATIENCE)
    numbers = [found[0] for _, found in threads]
    assert len(set(numbers)) == 4
    assert all(isinstance(number, int) for number in numbers), numbers
    assert pn.get_actor() is None


def test_a_context_that_knows_an_actor_is_no_actor_elsewhere() -> None:
    """Carried to another loop, the variable does not win."""

    async def main() -> contextvars.Context:
        await pn.spawn()
        assert pn.get_actor() is pn.arbiter()
        return contextvars.copy_context()

    async def later() -> Any:
        return pn.get_actor()

    context = run(main)
    with asyncio.Runner() as runner:
        assert runner.run(later(), context=context) is None
