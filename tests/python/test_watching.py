"""The ends of actors, as those hear of them who wait for that."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import pytest
from actors_help import run, until

import pulsar_native as pn
from pulsar_native._down import Down, Ends
from pulsar_native._process import exit_of

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "subprocess", "thread", "coroutine"]


def node() -> Any:
    """The arbiter, whose loop this is."""
    actor = pn.arbiter()
    assert actor is not None
    return actor


async def end_of(proxy: Any) -> Down:
    """What ``on_end`` calls its callback with."""
    future = asyncio.get_running_loop().create_future()
    node().on_end(proxy.number, future.set_result)
    down: Down = await future
    return down


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_each_kind_is_told_once(kind: str) -> None:
    async def main() -> None:
        proxy = await pn.spawn(kind=kind, name="short")
        told: list[Down] = []
        node().on_end(proxy.number, told.append)
        proxy.stop()
        down = (await until(lambda: told, "its end"))[0]
        await proxy.join()
        assert (down.aid, down.name) == (proxy.aid, "short")
        assert (down.number, down.reason) == (proxy.number, "stopped")
        assert (down.exit_code, down.signal) == (0, None)
        assert 0 < down.uptime < 60
        assert abs(down.when - time.time()) < 60
        assert len(told) == 1

    run(main)


def test_it_is_told_behind_the_failed_asks() -> None:
    async def main() -> None:
        proxy = await pn.spawn()
        order = []
        asked = pn.send(proxy, "run", _sleep)
        asked.add_done_callback(lambda future: order.append(future))
        node().on_end(proxy.number, order.append)
        proxy.kill()
        await until(lambda: len(order) == 2, "both are told")
        first, second = order
        assert first is asked
        assert isinstance(first.exception(), pn.ActorDown)
        assert isinstance(second, Down)
        assert second.signal == signal.SIGKILL
        assert second.exit_code is None

    run(main)


async def _sleep(actor: Any) -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_has_ended_is_told_too(kind: str) -> None:
    async def main() -> None:
        proxy = await pn.spawn(kind=kind)
        proxy.stop()
        await proxy.join()
        down = await end_of(proxy)
        assert down.aid == proxy.aid
        assert down.reason == "stopped"

    run(main)


def test_one_that_never_was_is_not_found() -> None:
    async def main() -> None:
        with pytest.raises(pn.ActorNotFound):
            node().on_end(12345, print)

    run(main)


@pytest.mark.parametrize("kind", ["process", "coroutine"])
def test_a_callback_that_was_taken_back_is_not_called(kind: str) -> None:
    async def main() -> None:
        proxy = await pn.spawn(kind=kind)
        told: list[str] = []
        first = node().on_end(proxy.number, lambda _: told.append("first"))
        node().on_end(proxy.number, lambda _: told.append("second"))
        first.cancel()
        first.cancel()
        proxy.stop()
        await until(lambda: told, "its end")
        assert told == ["second"]

    run(main)


def test_a_callback_may_be_taken_back_between_the_end_and_its_call() -> None:
    async def main() -> None:
        proxy = await pn.spawn(kind="coroutine")
        told: list[str] = []
        node().on_end(proxy.number, lambda _: second.cancel())
        second = node().on_end(proxy.number, lambda _: told.append("second"))
        third = asyncio.create_task(end_of(proxy))
        proxy.kill()
        await third
        assert told == []

    run(main)


def test_a_callback_that_fails_disturbs_nobody() -> None:
    async def main() -> None:
        heard: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, what: heard.append(what))
        proxy = await pn.spawn(kind="coroutine")
        node().on_end(proxy.number, lambda _: 1 / 0)
        waiting = asyncio.create_task(end_of(proxy))
        await asyncio.sleep(0)
        proxy.kill()
        assert (await waiting).reason == "killed"
        assert isinstance(heard[0]["exception"], ZeroDivisionError)

    run(main)


def test_the_last_that_it_wrote_is_in_the_report() -> None:
    async def main() -> None:
        proxy = await pn.spawn()
        pn.send(proxy, "run", _write_and_die)
        down = await end_of(proxy)
        assert down.stderr.endswith("so it ends\n")
        assert len(down.stderr.encode()) <= 8192
        assert down.signal == signal.SIGABRT

    run(main)


def _write_and_die(actor: Any) -> None:
    os.write(2, b"x" * 9000 + b"\nso it ends\n")
    os.abort()


def test_many_coroutine_actors_are_watched_at_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        told: list[Down] = []
        proxies = [await pn.spawn(kind="coroutine") for _ in range(2000)]
        for proxy in proxies:
            node().on_end(proxy.number, told.append)
        for proxy in proxies:
            proxy.kill()
        while len(told) < len(proxies):
            await asyncio.sleep(0)
        assert {down.number for down in told} == {p.number for p in proxies}
        assert not node()._watches.numbers()
        assert loop.is_running()

    run(main)


def test_a_dumped_core_is_told() -> None:
    async def main() -> None:
        proxy = await pn.spawn(kind="process")
        proxy.kill()
        await proxy.join()
        for core in (False, True):
            proxy._exit = exit_of(0, signal.SIGSEGV, core)
            down = proxy._report()
            assert down.core is core
            assert down.error().core is core
            assert ("core dumped" in down.reason) is core

    run(main)


# --- ends that are kept ---


def _down(number: int, **more: Any) -> Down:
    return Down(f"aid{number}", "actor", number, "gone", **more)


def test_an_end_is_found_by_number_aid_and_name() -> None:
    ends = Ends()
    down = _down(7)
    ends.keep(down, "seven")
    for key in (7, "aid7", "seven"):
        assert ends.get(key) is down
    for key in (8, "aid8", "actor"):
        assert ends.get(key) is None


def test_a_name_leads_to_who_had_it_last() -> None:
    ends = Ends()
    for number in range(1, 1001):
        ends.keep(_down(number), "worker")
    found = ends.get("worker")
    assert found is not None and found.number == 1000
    ends.keep(_down(1001))  # the first is forgotten, its name is not
    assert ends.get(1) is None and ends.get("aid1") is None
    assert ends.get("worker") is found


def test_a_second_report_of_an_end_keeps_its_names() -> None:
    ends = Ends()
    ends.keep(_down(7), "seven")
    better = _down(7, exit_code=3)
    ends.keep(better)
    assert ends.get("seven") is better


def test_of_older_ends_the_bulk_is_dropped() -> None:
    ends = Ends()
    ends.keep(_down(1, stderr="x" * 8000, stacks="all", flight=(1, 2)))
    whole = ends.get(1)
    assert whole is not None and len(whole.stderr) == 8000
    for number in range(2, 34):
        ends.keep(_down(number, stderr="y"))
    brief = ends.get(1)
    assert brief is not None
    assert (len(brief.stderr), brief.stacks, brief.flight) == (1024, "", ())


def test_a_report_travels_by_pickle() -> None:
    import pickle

    down = _down(3, core=True, oom=None, traceback="T", flight=((1, "a"),))
    assert pickle.loads(pickle.dumps(down)) == down
