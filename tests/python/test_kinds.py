"""Kinds of actors are entries of a registry, to which anybody may add."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from actors_help import environment, failure, run

import pulsar_native as pn
from pulsar_native import _native, kinds
from pulsar_native.kinds import Exit, dump_spec

pytestmark = pytest.mark.usefixtures("nothing_left")

CHILD = """
import sys
from pulsar_native.kinds import run_actor
sys.exit(run_actor(int(sys.argv[1])))
"""


class Popened:
    """A kind as somebody else would write it: a child process, by Popen."""

    def __init__(self, manager: Any) -> None:
        self.manager = manager

    def dump(self, facts: dict[str, Any], values: dict[str, Any]) -> bytes:
        return dump_spec(facts, values)

    def launch(self, child: Any, spec: bytes) -> None:
        if child.name == "unlucky":
            raise OSError("no more of these")
        ours, theirs = _native.link_pair()
        try:
            self.manager.mailbox.connect(child.number, ours)
            child.carrier = PopenedCarrier(self.manager, child, theirs)
        finally:
            os.close(theirs)
        self.manager.greet(child, spec)

    def descriptors(self) -> Iterator[int]:
        return iter(())

    def close(self, forked: bool = False) -> None:
        pass


class PopenedCarrier:
    """Looks every 10 ms whether its process has ended."""

    near = False

    def __init__(self, manager: Any, child: Any, link: int) -> None:
        self.manager, self.child = manager, child
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(link)],
            pass_fds=[link],
            env=environment(),
        )
        self.timer = manager._loop.call_later(0.01, self.look)
        manager.child_started(child, self.process.pid)

    def look(self) -> None:
        code = self.process.poll()
        if code is None:
            self.timer = self.manager._loop.call_later(0.01, self.look)
        else:
            end = Exit(f"returned {code}", code)
            self.manager.child_ended(self.child, end)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> bool:
        self.process.kill()
        return True

    def drain(self) -> None:
        pass

    def output(self) -> str:
        return ""

    def descriptors(self) -> Iterator[int]:
        return iter(())

    def close(self, forked: bool = False) -> None:
        self.timer.cancel()


@pytest.fixture
def popened() -> Iterator[None]:
    pn.register_kind("popened", Popened)
    yield
    del kinds._kinds["popened"]


def test_a_kind_from_outside_is_spawned_as_any_other(popened: None) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind="popened", name="outsider")
        assert worker.kind == "popened"
        assert await pn.send("outsider", "run", lambda a: a.kind) == "popened"
        other = await pn.spawn()
        assert await pn.send(other, "run", ask_ping, worker) == "pong"
        waiting = pn.send(worker, "run", sleep)
        worker.kill()
        error = await failure(waiting)
        assert isinstance(error, pn.ActorDown)
        assert error.reason == "returned -9"
        await worker.join(10)

    run(main)


async def ask_ping(actor: Any, target: Any) -> Any:
    return await pn.send(target, "ping")


async def sleep(actor: Any) -> None:
    import asyncio

    await asyncio.sleep(3600)


def test_a_start_that_fails_in_a_kind_from_outside(popened: None) -> None:
    async def main() -> None:
        for params in ({"name": "unlucky"}, {"start": exit_at_once}):
            error = await failure(pn.spawn(kind="popened", **params))
            assert isinstance(error, pn.ActorStartError), repr(error)
        assert await pn.send(await pn.spawn(name="unlucky"), "ping")

    run(main)


def exit_at_once(actor: Any) -> None:
    os._exit(7)


def test_a_shutdown_stops_actors_of_a_kind_from_outside(
    popened: None,
) -> None:
    async def main() -> None:
        pn.arbiter(concurrency="popened")
        worker = await pn.spawn()
        assert worker.kind == "popened"
        await pn.shutdown()
        assert not worker.is_alive()

    run(main)


@pytest.mark.parametrize("name", ["magic", "", None, 5, "Process"])
def test_the_error_of_an_unknown_kind_names_those_that_there_are(
    name: Any,
) -> None:
    with pytest.raises(ValueError) as caught:
        pn.get_kind(name)
    for kind in ("process", "subprocess"):
        assert repr(kind) in str(caught.value)


def test_an_unknown_kind_is_refused_by_spawn_and_by_the_setting() -> None:
    async def main() -> None:
        for params in ({"kind": "magic"}, {"concurrency": "magic"}):
            with pytest.raises(ValueError, match="'subprocess'"):
                pn.spawn(**params)
        with pytest.raises(ValueError, match="'subprocess'"):
            pn.Config(concurrency="magic")

    run(main)


@pytest.mark.parametrize(
    ("name", "kind"), [(5, Popened), ("", Popened), ("x", 5)]
)
def test_what_cannot_be_a_kind_is_not_registered(name: Any, kind: Any) -> None:
    with pytest.raises(TypeError):
        pn.register_kind(name, kind)


def test_a_variable_of_the_environment_chooses_every_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        monkeypatch.setenv("PULSAR_NATIVE_KIND", "subprocess")
        worker = await pn.spawn(kind="process")
        assert worker.kind == "subprocess"
        other = await pn.send(worker, "run", spawn_there)
        assert await pn.send(other, "run", lambda a: a.kind) == "subprocess"
        monkeypatch.setenv("PULSAR_NATIVE_KIND", "magic")
        with pytest.raises(ValueError, match="magic"):
            pn.spawn()

    run(main)


async def spawn_there(actor: Any) -> Any:
    return await pn.spawn(kind="process")
