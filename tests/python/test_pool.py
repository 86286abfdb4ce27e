"""Pools: least-loaded asks, keys, scaling, reloading, limits."""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pool_workers
import pytest
from actors_help import alive, failure, run, until
from pool_workers import Worker

import pulsar_native as pn
from pulsar_native._pool_choice import hash_key, weigh

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "subprocess", "thread", "coroutine"]
QUICK = ["process", "thread", "coroutine"]  # to start


# --- a sequence of roles ---


@pytest.mark.parametrize("kind", KINDS)
def test_spawn_of_a_number_gives_a_pool(kind: str) -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(3, Worker, "x", name="w", kind=kind)
            assert isinstance(pool, pn.Pool)
            assert issubclass(pn.Pool, Sequence)
            assert len(pool) == 3 and list(pool) == [pool[0], *pool[1:]]
            assert [role.name for role in pool] == ["w-0", "w-1", "w-2"]
            assert len(sup.children) == 3
            assert await pool.send("double", 4) == 8
            assert await pool.send(Worker.double, 5) == 10
            assert await pool.broadcast("double", 1) == [2, 2, 2]

    run(main)


def test_a_pool_of_workers_without_a_class_or_a_name() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(2)
            assert await pool.broadcast("ping") == ["pong", "pong"]
            assert await pool.send("echo", 5) == 5

    run(main)


def test_an_empty_pool_refuses_asks() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(1, Worker, name="none")
            await pool.scale(0)
            assert len(pool) == 0
            for put in (pool.send, pool.tell, pool.send.options(retry=True)):
                error = await failure(put("double", 1))
                assert isinstance(error, pn.ActorNotFound)
            with pytest.raises(pn.ActorNotFound):
                pool.by_key(1)
            assert await pool.broadcast("double", 1) == []
            await pool.scale(1)
            assert await pool.send("double", 1) == 2

    run(main)


# --- which worker ---


def test_an_ask_goes_to_the_worker_with_the_fewest() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(3, Worker)
            waiting = [pool.send("wait") for _ in range(6)]
            for role in pool:
                await until_asked(role, 2)
            await pn.send(pool[1], "open")
            # Two are done, those of the second worker: it gets the next.
            await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
            second = await pn.send(pool[1], "me")
            assert await pool.send("me") == second
            await pool.broadcast("open")
            pids = await asyncio.gather(*waiting)
            assert sorted(pids.count(pid) for pid in set(pids)) == [2, 2, 2]

    run(main)


async def until_asked(role: Any, count: int) -> None:
    while await pn.send(role, "count") < count:
        await asyncio.sleep(0)


def test_tells_go_round() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(3, Worker)
            for _ in range(9):
                await pool.tell("me")
            for role in pool:
                await until_asked(role, 3)

    run(main)


def test_map_gives_every_answer() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(2, Worker)
            found = [x async for x in pool.map("double", range(100))]
            assert found == list(range(0, 200, 2))
            loose = pool.map(Worker.double, range(50), ordered=False, limit=4)
            assert sorted([x async for x in loose]) == list(range(0, 100, 2))

    run(main)


def test_a_worker_that_is_away_is_not_chosen() -> None:
    async def main() -> None:
        async with pn.supervisor(backoff=30.0, backoff_max=60.0) as sup:
            pool = await sup.spawn(2, Worker)
            first, second = await pool.broadcast("me")
            os.kill(first, signal.SIGKILL)
            await until(lambda: pool[0].state == "away", "its end is seen")
            for _ in range(5):
                assert await pool.send("me") == second

    run(main)


def test_asks_wait_for_a_successor_if_none_is_up() -> None:
    async def main() -> None:
        async with pn.supervisor(backoff=0.01) as sup:
            pool = await sup.spawn(1, Worker)
            first = await pool.send("me")
            os.kill(first, signal.SIGKILL)
            await until(lambda: pool[0].state == "away", "its end is seen")
            assert await pool.send("me") != first
            assert pool[0].generation == 1

    run(main)


# --- retry, options ---


def test_a_workers_death_fails_its_asks() -> None:
    async def main() -> None:
        async with pn.supervisor(backoff=0.01) as sup:
            pool = await sup.spawn(2, Worker)
            error = await failure(pool.send("die"))
            assert isinstance(error, pn.ActorDown)
            assert await pool.send("double", 1) == 2

    run(main)


def test_with_retry_another_worker_is_asked(tmp_path: Path) -> None:
    async def main() -> None:
        async with pn.supervisor(backoff=30.0, backoff_max=60.0) as sup:
            pool = await sup.spawn(2, Worker)
            pids = await pool.broadcast("me")
            retrying = pool.send.options(retry=True)
            found = await retrying("die_once", str(tmp_path / "once"))
            assert found in pids

    run(main)


def test_options_are_those_of_send() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(1, Worker)
            error = await failure(pool.send.options(deadline=0.01)("wait"))
            assert isinstance(error, pn.AskTimeout)
            with pytest.raises(TypeError):
                pool.send.options(colour="blue")  # type: ignore[call-arg]
            assert await pool.send.options(deadline=20)("double", 2) == 4
            await pool.send("open")

    run(main)


@pytest.mark.parametrize("retry", [False, True])
def test_a_deadline_may_cost_a_worker_not_the_pool(retry: bool) -> None:
    async def main() -> None:
        async with pn.supervisor(backoff=0.01) as sup:
            pool = await sup.spawn(2, Worker)
            put = pool.send.options(
                deadline=0.2, on_deadline="kill", retry=retry
            )
            error = await failure(put("busy", 3600.0))
            assert isinstance(error, pn.AskTimeout)
            await until(lambda: pool[0].generation == 1, "it is replaced")
            assert await pool.broadcast("double", 1) == [2, 2]
            with pytest.raises(ValueError):
                pool.send.options(on_deadline="shout")  # type: ignore[arg-type]

    run(main)


def test_cancelling_a_retried_ask_cancels_the_command() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(1, Worker)
            asked = pool.send.options(retry=True)("wait")
            await until_asked(pool[0], 1)
            asked.cancel()
            assert isinstance(await failure(asked), asyncio.CancelledError)
            await pool.scale(0)  # would wait for what runs

    run(main)


# --- keys ---


def test_a_key_keeps_its_worker() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(4, Worker, name="w")
            keys: list[Any] = [*range(20), "k", b"k", ("a", 1), ("a", "1")]
            places = {key: pool.by_key(key).role.name for key in keys}
            assert len(set(places.values())) > 1
            other = await pn.spawn()
            for key, place in places.items():
                assert pool.by_key(key).role.name == place
                assert (
                    await pn.call(other, pool_workers.key_of, pool, key)
                    == place
                )
            pid = await pool.by_key("k").send("me")
            assert await pool.by_key("k").send(Worker.me) == pid
            await pool.by_key("k").tell("open")

    run(main)


def test_only_keys_of_workers_that_come_or_go_move() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    keys = [hash_key(rng.randbytes(8)) for _ in range(4000)]

    def places(slots: range) -> list[int]:
        return [max(slots, key=lambda s: weigh(key, s)) for key in keys]

    for size in (1, 2, 5, 16):
        before, after = places(range(size)), places(range(size + 1))
        moved = [b for a, b in zip(before, after, strict=True) if a != b]
        assert set(moved) == {size}
        share = len(keys) / (size + 1)
        assert 0.7 * share < len(moved) < 1.3 * share
        counts = [after.count(slot) for slot in range(size + 1)]
        assert all(0.7 * share < count < 1.3 * share for count in counts)


def test_keys_of_different_types_and_shapes_differ() -> None:
    keys: list[Any] = [
        *(1, -1, "1", b"1", "", b"", 11, (1,), (1, 1), ((1,), 1)),
        *((), ("1",), ("", "1"), ("1", ""), "s1:1", ("a", "b"), ("ab",)),
    ]
    assert len({hash_key(key) for key in keys}) == len(keys)
    for wrong in (1.5, None, [1], (1, None)):
        with pytest.raises(TypeError):
            hash_key(wrong)


# --- scale ---


@pytest.mark.parametrize("kind", QUICK)
def test_scale_has_that_many_at_once(kind: str) -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(2, Worker, name="w", kind=kind)
            for size in (5, 1, 3, 3, 0, 2):
                await pool.scale(size)
                assert len(pool) == size == len(sup.children)
                assert await pool.broadcast("double", 1) == [2] * size
            names = [role.name for role in pool]
            assert names == ["w-0", "w-1"]

    run(main)


def test_scaling_down_drains_what_was_asked() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(3, Worker)
            pids = await pool.broadcast("me")
            # The first holds the loop; the others wait in the queue.
            asks = [pool.send("busy", 0.05, x) for x in range(12)]
            await pool.scale(1)
            assert await asyncio.gather(*asks) == list(range(12))
            assert [alive(pid) for pid in pids] == [True, False, False]

    run(main)


def test_scalings_at_the_same_time_end_with_the_last() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(2, Worker, name="w", kind="coroutine")
            await asyncio.gather(*(pool.scale(n) for n in (6, 1, 4, 0, 3)))
            assert len(pool) == 3 == len(sup.children)
            assert await pool.broadcast("double", 2) == [4, 4, 4]

    run(main)


def test_a_scaled_up_pool_is_left_alone_if_a_spawn_fails() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(1, Worker, name="w")
            taken = await pn.spawn(name="w-2")
            with pytest.raises(pn.NameTaken):
                await pool.scale(3)
            assert len(pool) == 1 == len(sup.children)
            await pn.stop(taken)
            await pool.scale(3)
            assert await pool.broadcast("double", 1) == [2, 2, 2]

    run(main)


def test_sizes_that_cannot_be_are_refused() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(1, kind="coroutine")
            with pytest.raises(ValueError):
                await pool.scale(-1)
            with pytest.raises(TypeError):
                await pool.scale(1.5)  # type: ignore[arg-type]

    run(main)


# --- reload ---


@pytest.mark.parametrize("kind", QUICK)
def test_reload_replaces_every_worker(kind: str) -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(3, Worker, name="w", kind=kind)
            before = [role.aid for role in pool]
            await pool.reload()
            after = [role.aid for role in pool]
            assert not set(before) & set(after)
            assert [role.generation for role in pool] == [1, 1, 1]
            assert await pool.broadcast("double", 1) == [2, 2, 2]
            assert len(sup.children) == 3

    run(main)


def test_reload_loses_no_ask_and_runs_none_twice(tmp_path: Path) -> None:
    log = str(tmp_path / "log")

    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(2, Worker)
            reloading = asyncio.ensure_future(pool.reload())
            asks: list[Any] = []
            for x in itertools.count():
                asks.append(pool.send("mark", log, x))
                if len(asks) % 20 == 0:
                    await asks[-1]
                if reloading.done():
                    break
            await reloading
            assert await asyncio.gather(*asks) == list(range(len(asks)))
            lines = Path(log).read_text().split()
            assert sorted(map(int, lines)) == list(range(len(asks)))

    run(main)


def test_others_lose_no_ask_while_a_pool_is_reloaded() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(2, Worker)
            other = await pn.spawn()
            asking = pn.call(other, pool_workers.ask_many, pool, 10, 0.5)
            while not asking.done():
                await pool.reload()
            assert await asking > 0

    run(main)


# --- limits ---


def test_a_worker_is_replaced_after_its_requests() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(2, Worker, max_requests=10)
            first = pool[0].aid
            for x in range(8):
                assert await pn.send(pool[0], "double", x) == 2 * x
            assert pool[0].aid == first  # those were not the pool's asks
            for x in itertools.count():
                assert await pool.send("double", x) == 2 * x
                if pool[0].generation >= 2:
                    break
            assert x >= 16

    run(main)


def test_a_worker_is_replaced_at_its_age() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(2, kind="thread", max_age=0.1)
            await until(
                lambda: all(role.generation >= 2 for role in pool),
                "both are replaced",
            )
            assert await pool.broadcast("ping") == ["pong", "pong"]

    run(main)


def test_a_worker_is_replaced_for_its_memory() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(1, Worker, max_memory=200 * 2**20)
            first = await pool.send("grow", 2**20)
            await pool.send("grow", 220 * 2**20)
            await until(lambda: pool[0].generation == 1, "it is replaced")
            assert await pool.send("me") != first

    run(main)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_requests": 0}, ValueError),
        ({"max_requests": 2.5}, TypeError),
        ({"max_age": -1}, ValueError),
        ({"max_age": "old"}, TypeError),
        ({"max_memory": 10**9, "kind": "thread"}, ValueError),
    ],
)
def test_limits_that_cannot_be_are_refused(
    options: dict[str, Any], error: type[Exception]
) -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            with pytest.raises(error):
                await sup.spawn(1, **options)

    run(main)


# --- other actors ---


@pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])
def test_a_pool_may_be_sent_to_other_actors(kind: str) -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(2, Worker)
            other = await pn.spawn(kind=kind)
            found = await pn.call(other, pool_workers.use, pool)
            assert found == [42, 4, 4, 6]
            back = await pn.send(other, "echo", pool)
            assert back == pool and hash(back) == hash(pool)
            await back.scale(3)  # the same, at home again
            assert len(pool) == 3

    run(main)


def test_other_actors_hear_of_its_size() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(2, Worker)
            other = await pn.spawn()
            for size in (4, 1):
                seeing = pn.call(other, pool_workers.size_seen, pool, size)
                await pool.scale(size)
                assert await seeing == size

    run(main)


def test_other_actors_cannot_scale_it() -> None:
    async def scale(pool: Any) -> str:
        try:
            await pool.scale(5)
        except RuntimeError as error:
            return str(error)
        return "it could"

    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(1, Worker)
            other = await pn.spawn()
            assert "another actor" in await pn.call(other, scale, pool)

    run(main)


def test_a_pool_may_be_kept_by_any_actor(tmp_path: Path) -> None:
    async def keep(actor: Any, path: str) -> list[int]:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(2, Worker)
            first = await pool.broadcast("me")
            await pool.reload()
            assert not set(first) & set(await pool.broadcast("me"))
            await pool.scale(3)
            assert await pool.send.options(retry=True)("die_once", path) > 0
            found: list[int] = await pool.broadcast("double", 4)
            return found

    async def main() -> None:
        other = await pn.spawn()
        path = str(tmp_path / "once")
        assert await pn.send(other, "run", keep, path) == [8, 8, 8]

    run(main)


def test_a_pool_outlives_its_pickle() -> None:
    async def main() -> None:
        async with pn.supervisor() as sup:
            pool = await sup.spawn(1, Worker)
            data = pickle.dumps(pool)
        error = await failure(pickle.loads(data).send("double", 1))
        assert isinstance(error, pn.ActorNotFound | pn.ActorDown)

    run(main)
