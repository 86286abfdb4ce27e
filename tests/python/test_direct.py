"""Direct links: two processes that talk are introduced by the arbiter, and
nothing that is said between them is lost, doubled or overtaken by that."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import direct_commands
import pytest
from actors_help import failure, run, until, wait_until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")


async def spawn(count: int, **options: Any) -> list[Any]:
    """So many actors, in processes of their own."""
    options = {"kind": "process"} | options
    return list(
        await asyncio.gather(*(pn.spawn(**options) for _ in range(count)))
    )


async def stat(actor: Any, name: str) -> int:
    found = await pn.send(actor, "stats")
    return int(found[name])


def relayed() -> int:
    """What the arbiter has passed on."""
    arbiter = pn.arbiter()
    assert arbiter is not None
    return int(arbiter.mailbox.stats()["relayed"])


async def becomes(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Poll until an awaitable gives something true."""
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


async def have_links(number: int, *actors: Any) -> None:
    """Wait until each of these speaks over so many direct links."""
    for actor in actors:

        async def there(actor: Any = actor) -> bool:
            return await stat(actor, "direct") == number

        await becomes(there, f"{number} links of {actor}")


async def meet(a: Any, b: Any) -> None:
    """Have two of them talk until they have a link of their own."""
    await pn.send(a, "ask_on", b, 1)
    await have_links(1, a, b)


def test_the_first_message_is_relayed_and_later_ones_are_not() -> None:
    async def main() -> None:
        a, b = await spawn(2)
        await meet(a, b)
        before = relayed()
        assert before in (1, 2)  # an ask; its answer may come directly
        assert await pn.send(a, "ask_on", b, 200) == list(range(200))
        assert await pn.send(b, "ask_on", a, 200) == list(range(200))
        assert relayed() == before
        arbiter = pn.arbiter()
        assert arbiter is not None
        assert arbiter.mailbox.stats()["direct"] == 0
        assert await stat(a, "relayed") == 0

    run(main)


def test_a_name_is_known_from_the_first_message_on() -> None:
    async def main() -> None:
        a, _ = await spawn(2)
        for _life in range(2):
            b = await pn.spawn(name="bee")
            await pn.send(a, "ask_on", "bee", 1)
            await have_links(1, a, b)
            before = relayed()
            await pn.send(a, "say", "bee", 1, 500)
            await pn.send(a, "ask_on", b, 1)
            await pn.send(a, "ask_on", "bee", 1)
            assert relayed() == before
            found = await pn.send(b, "taken", a.aid)
            assert found == [*range(501), 0, 0]
            os.kill(b.pid, signal.SIGKILL)
            await pn.send(a, "fate", b)

    run(main)


def test_order_holds_across_the_change_in_both_directions() -> None:
    async def main() -> None:
        a, b = await spawn(2)
        await asyncio.gather(
            pn.send(a, "say", b, 0, 10_000), pn.send(b, "say", a, 0, 10_000)
        )
        await have_links(1, a, b)
        for of, at in ((a, b), (b, a)):
            await pn.send(of, "ask_on", at, 1)  # behind all tells
            assert await pn.send(at, "taken", of.aid) == [*range(10_000), 0]
        assert relayed() < 20_000

    run(main)


def test_actors_talk_while_the_arbiter_is_blocked(tmp_path: Path) -> None:
    async def main() -> None:
        a, b = await spawn(2)
        await meet(a, b)
        mark = tmp_path / "done"
        asking = pn.send(a, "ask_and_mark", b, 500, str(mark))
        await asyncio.sleep(0)
        wait_until(mark.exists, "they have talked")  # the loop stands still
        assert await asking is None

    run(main)


def test_two_first_messages_at_once_open_one_link() -> None:
    async def main() -> None:
        for _ in range(5):
            a, b = await spawn(2)
            before = await stat(a, "links")
            await asyncio.gather(
                *(
                    pn.send(one, "ask_on", other, 20)
                    for one, other in ((a, b), (b, a)) * 3
                )
            )
            await have_links(1, a, b)
            assert await stat(a, "links") == before + 1
            assert await stat(b, "links") == before + 1

    run(main)


def test_many_actors_have_a_link_to_each_other_actor() -> None:
    async def main() -> None:
        actors = await spawn(5)
        await asyncio.gather(
            *(
                pn.send(one, "say", other, 0, 300)
                for one in actors
                for other in actors
                if one is not other
            )
        )
        await have_links(4, *actors)
        for one in actors:
            for other in actors:
                if one is not other:
                    await pn.send(one, "ask_on", other, 1)
                    found = await pn.send(other, "taken", one.aid)
                    assert found == [*range(300), 0]

    run(main)


def test_large_messages_come_whole_across_the_change() -> None:
    async def main() -> None:
        a, b = await spawn(2)
        size = 700_000
        await asyncio.gather(
            pn.send(a, "say", b, 0, 40, size),
            pn.send(b, "say", a, 0, 40, size),
        )
        await pn.send(a, "say", b, 40, 2, 30_000_000)
        for one, other, count in ((a, b, 42), (b, a, 40)):
            assert await pn.send(one, "ask_on", other, 2) == [0, 1]
            found = await pn.send(other, "taken", one.aid)
            assert found == [*range(count), 0, 1]
        await have_links(1, a, b)

    run(main)


def test_a_killed_process_ends_every_ask_with_the_whole_truth() -> None:
    async def main() -> None:
        chance = random.Random(random.getrandbits(64))
        for _ in range(8):
            a, b = await spawn(2)
            asking = pn.send(a, "ask_until_down", b)
            back = asyncio.ensure_future(pn.send(b, "ask_until_down", a))
            await asyncio.sleep(chance.random() * 0.05)
            os.kill(b.pid, signal.SIGKILL)
            _, ends = await asking
            assert len(ends) == 1, ends
            aid, _, number = ends.pop()
            assert (aid, number) == (b.aid, signal.SIGKILL)
            assert isinstance(await failure(back), pn.ActorDown)
            a.stop()

    run(main, seconds=60)


def test_an_end_is_told_to_all_who_have_talked_with_the_actor() -> None:
    async def main() -> None:
        a, b, c, d = await spawn(4, link_idle=0.2)
        for other in (a, c):
            await meet(other, b)
            await have_links(0, other, b)  # idle
        waiting = [pn.send(other, "fate", b) for other in (a, c, d)]
        await have_links(3, b)
        os.kill(b.pid, signal.SIGKILL)
        for reason, number in await asyncio.gather(*waiting):
            assert number == signal.SIGKILL, reason

    run(main)


def test_an_idle_link_is_closed_and_comes_back() -> None:
    async def main() -> None:
        a, b = await spawn(2, link_idle=0.2)
        links = await stat(a, "links")
        for round in range(3):
            await pn.send(a, "say", b, 1000 * round, 1000)
            await have_links(1, a, b)
            await have_links(0, a, b)

            async def closed() -> bool:
                return await stat(a, "links") == links

            await becomes(closed, "the end is closed")
        await pn.send(a, "ask_on", b, 1)
        assert await pn.send(b, "taken", a.aid) == [*range(3000), 0]

    run(main)


def test_order_holds_while_links_come_and_go() -> None:
    async def main() -> None:
        chance = random.Random(random.getrandbits(64))
        a, b = await spawn(2, link_idle=0.02)
        said = [0, 0]
        for _ in range(60):
            end = chance.randrange(2)
            count = chance.randrange(1, 40)
            one, other = ((a, b), (b, a))[end]
            await pn.send(one, "say", other, said[end], count)
            said[end] += count
            await asyncio.sleep(chance.choice((0, 0.01, 0.03, 0.06)))
        for end, (one, other) in enumerate(((a, b), (b, a))):
            await pn.send(one, "ask_on", other, 1)
            found = await pn.send(other, "taken", one.aid)
            assert found == [*range(said[end]), 0]

    run(main)


def test_without_link_idle_everything_is_relayed() -> None:
    async def main() -> None:
        a, b = await spawn(2)
        await pn.send(a, "ask_on", b, 50)
        assert await stat(a, "direct") == 0
        assert relayed() == 100

    async def with_arbiter() -> None:
        async with pn.Arbiter(link_idle=0):
            await main()

    run(with_arbiter)


def test_a_stopped_process_hears_all_in_order_when_it_goes_on() -> None:
    async def main() -> None:
        a, b, c = await spawn(3)
        os.kill(b.pid, signal.SIGSTOP)
        saying = pn.send(a, "say", b, 0, 900)
        await saying
        await meet(a, c)  # others are not held up
        os.kill(b.pid, signal.SIGCONT)
        await pn.send(a, "ask_on", b, 1)
        assert await pn.send(b, "taken", a.aid) == [*range(900), 0]
        await have_links(2, a)
        os.kill(b.pid, signal.SIGSTOP)
        await pn.send(a, "say", b, 900, 900)
        os.kill(b.pid, signal.SIGKILL)
        _, number = await pn.send(a, "fate", b)
        assert number == signal.SIGKILL

    run(main)


def test_a_process_without_free_descriptors_is_talked_to_by_relay() -> None:
    async def main() -> None:
        a, b = await spawn(2)
        await pn.send(b, "forbid_descriptors", True)
        assert await pn.send(a, "ask_on", b, 100) == list(range(100))
        assert await pn.send(b, "ask_on", a, 100) == list(range(100))
        assert await stat(a, "direct") == 0
        assert await stat(b, "direct") == 0
        await pn.send(b, "forbid_descriptors", False)

        async def again() -> bool:
            await pn.send(a, "ask_on", b, 1)
            return await stat(a, "direct") == 1

        await becomes(again, "the next attempt")
        await have_links(1, a, b)

    run(main)


def test_an_arbiter_without_free_descriptors_relays_on() -> None:
    async def main() -> None:
        a, b = await spawn(2)
        with direct_commands.no_free_descriptors():
            assert await pn.send(a, "ask_on", b, 100) == list(range(100))
            assert relayed() == 200

        async def again() -> bool:
            await pn.send(a, "ask_on", b, 1)
            return await stat(a, "direct") == 1

        await becomes(again, "the next attempt")

    run(main)


def test_a_broken_link_fails_its_asks_and_comes_back() -> None:
    async def main() -> None:
        a, b = await spawn(2)
        await meet(a, b)
        waiting = [pn.send(a, "fate", b), pn.send(b, "fate", a)]

        async def wait() -> bool:
            return await stat(a, "pending") == await stat(b, "pending") == 1

        await becomes(wait, "both wait")
        await pn.send(a, "break_direct_link")
        for reason, number in await asyncio.gather(*waiting):
            assert (reason, number) == ("the link to it was lost", None)
        assert await pn.send(a, "ask_on", b, 50) == list(range(50))

        async def again() -> bool:
            await pn.send(b, "ask_on", a, 1)
            return await stat(a, "direct") == await stat(b, "direct") == 1

        await becomes(again, "the next link")

    run(main)


def test_every_ask_ends_and_order_holds_though_links_break() -> None:
    async def main() -> None:
        chance = random.Random(random.getrandbits(64))
        a, b = await spawn(2, link_idle=0.1)
        for round in range(12):
            asking = [
                pn.send(one, "ask_many", other, 1000 * round, 1000)
                for one, other in ((a, b), (b, a))
            ]
            await asyncio.sleep(chance.random() * 0.06)
            await pn.send(chance.choice((a, b)), "break_direct_link")
            for answered, lost in await asyncio.gather(*asking):
                assert answered + lost == 1000
        for one, other in ((a, b), (b, a)):
            found = await pn.send(other, "taken", one.aid)
            assert found == sorted(set(found))  # in order, none twice

    run(main, seconds=60)


def test_a_process_keeps_descriptors_for_other_uses() -> None:
    async def main() -> None:
        a, *others = await spawn(8)
        await pn.send(a, "limit_descriptors", 24)
        for other in others:
            await pn.send(a, "ask_on", other, 2)
        await have_links(6, a)
        for other in others:
            assert await pn.send(a, "ask_on", other, 9) == list(range(9))
        assert await stat(a, "direct") == 6

    run(main)


def test_links_end_with_their_processes_and_none_is_left() -> None:
    async def main() -> None:
        a, b, c = await spawn(3)
        await meet(a, b)
        await pn.send(a, "ask_on", c, 1)
        await have_links(2, a)
        b.stop()
        await until(lambda: len(pn.arbiter()._children) == 2)
        await have_links(1, a)

        async def closed() -> bool:
            return await stat(a, "links") == await stat(c, "links")

        await becomes(closed, "the end is closed")

    run(main)
