"""The warm reserve: a process forked ahead is as good as a fresh one."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from actors_help import (
    Program,
    ask,
    children_of,
    failure,
    run,
    until,
    wait_until,
)

import pulsar_native as pn
from pulsar_native import _forkserver, _leftovers

pytestmark = pytest.mark.usefixtures("nothing_left")


def spares(preload: tuple[str, ...] = ()) -> list[int]:
    """The processes that the fork server keeps forked ahead."""
    server = _forkserver.server_pid(preload)
    assert server is not None
    found = []
    for pid in _leftovers._children(server):
        stat = _leftovers._stat(pid)
        if stat and stat.name == _forkserver.SPARE and stat.state != "Z":
            found.append(pid)
    return found


async def spares_come(
    count: int = 1, preload: tuple[str, ...] = ()
) -> list[int]:
    """Wait until so many are there and wait themselves."""

    def there() -> list[int] | None:
        found = spares(preload)
        return found if len(found) == count else None

    found: list[int] = await until(there, f"{count} spares")
    return found


async def from_reserve(**options: Any) -> Any:
    """An actor that was forked ahead, and the proof of it."""
    await pn.spawn(**options)  # whose channel tells what is wanted
    waiting = await spares_come(1, tuple(options.get("preload", ())))
    proxy = await pn.spawn(**options)
    assert proxy.pid in waiting
    return proxy


async def fresh(**options: Any) -> Any:
    """One that was forked when it was asked for."""
    while True:
        before = spares() if _forkserver.server_pid() else []
        # More at once than there are spares, or one may come in time each.
        proxies = await asyncio.gather(
            *(pn.spawn(**options) for _ in range(4))
        )
        for proxy in proxies:
            if proxy.pid not in before:
                return proxy


def _surroundings(actor: Any) -> dict[str, Any]:
    """All that an actor inherits; what is its own of the process."""
    status = Path("/proc/self/status").read_text()
    wanted = ("Umask", "PPid", "SigBlk", "SigIgn", "NoNewPrivs", "Name")
    fds = [os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)]
    return {
        "environ": dict(os.environ),
        "cwd": os.getcwd(),
        "path": sys.path,
        "argv": sys.argv,
        "status": [
            line for line in status.splitlines() if line.startswith(wanted)
        ],
        "streams": [fd.partition(":")[0] for fd in fds],
        "descriptors": len(os.listdir("/proc/self/fd")),
        "filters": [str(entry) for entry in warnings.filters],
        "level": logging.getLogger("reserve.test").level,
        "handlers": len(logging.getLogger().handlers),
        "children": _leftovers._children(os.getpid()),
        "nice": os.nice(0),
    }


def test_a_spare_has_the_surroundings_of_its_spawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        await pn.spawn()
        waiting = await spares_come()
        # All that was different when it was forked.
        monkeypatch.setenv("RESERVE_TEST", "set later")
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["later"])
        logging.getLogger("reserve.test").setLevel(37)
        umask = os.umask(0o027)
        try:
            proxy = await pn.spawn()
            assert proxy.pid in waiting
            other = await fresh()
        finally:
            os.umask(umask)
            logging.getLogger("reserve.test").setLevel(0)
        found = await ask(proxy, _surroundings)
        assert found["environ"]["RESERVE_TEST"] == "set later"
        assert "HOME" not in found["environ"]
        assert found["cwd"] == str(tmp_path)
        assert found["argv"] == ["later"]
        assert found["level"] == 37
        assert found == await ask(other, _surroundings)

    run(main)


def test_taken_spares_are_replaced() -> None:
    async def main() -> None:
        seen: set[int] = set()
        await pn.spawn(reserve=2)
        for _ in range(3):
            waiting = await spares_come(2)
            assert not seen & set(waiting)
            taken = [await pn.spawn(reserve=2) for _ in range(2)]
            seen.update(actor.pid for actor in taken if actor.pid)
            assert set(waiting) <= seen

    run(main)


def test_more_at_once_than_the_reserve_has() -> None:
    async def main() -> None:
        await pn.spawn(reserve=2)
        waiting = await spares_come(2)
        actors = await asyncio.gather(*(pn.spawn() for _ in range(6)))
        pids = {actor.pid for actor in actors}
        assert len(pids) == 6 and set(waiting) <= pids
        answers = [await pn.send(actor, "ping") for actor in actors]
        assert answers == ["pong"] * 6

    run(main)


def test_without_a_reserve_nothing_is_forked_ahead() -> None:
    async def main() -> None:
        first = await pn.spawn(reserve=0)
        await pn.send(first, "ping")
        await asyncio.sleep(0.2)  # four times what the reserve waits
        assert spares() == []

    run(main)


def test_spares_end_with_their_arbiter() -> None:
    async def main() -> None:
        await pn.spawn(reserve=3)
        await spares_come(3)

    run(main)
    wait_until(lambda: not spares(), "the spares end")


def test_spares_have_the_preloaded_modules() -> None:
    preload = ("colorsys",)

    async def main() -> None:
        proxy = await from_reserve(preload=preload)
        assert await ask(proxy, _has_module, "colorsys")

    run(main)


def test_ends_of_spares_are_told_as_those_of_others() -> None:
    async def main() -> None:
        for end, words in (
            (_exit, "exited with code 7"),
            (_kill, "killed by SIGKILL"),
        ):
            proxy = await from_reserve()
            error = await failure(ask(proxy, end))
            assert isinstance(error, pn.ActorDown)
            assert words in str(error)

    run(main)


def test_a_spare_that_was_killed_is_replaced() -> None:
    async def main() -> None:
        await pn.spawn()
        [pid] = await spares_come()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: pid not in spares(), "its end is seen")
        proxy = await pn.spawn()
        assert await pn.send(proxy, "ping") == "pong"
        assert await spares_come() != [pid]

    run(main)


def test_a_spare_is_its_own_source_of_randomness() -> None:
    async def main() -> None:
        drawn = []
        for _ in range(3):
            proxy = await from_reserve()
            drawn.append(await ask(proxy, _draw))
        assert len(set(drawn)) == 3

    run(main)


def test_subprocess_actors_have_no_reserve() -> None:
    async def main() -> None:
        proxy = await pn.spawn(kind="subprocess", reserve=2)
        assert await pn.send(proxy, "ping") == "pong"
        server = _forkserver.server_pid(child="pulsar_native._exec:main")
        assert server is not None
        assert children_of(server).keys() == {proxy.pid}

    run(main)


@pytest.mark.parametrize("value", [-1, 1001, 2.0, True])
def test_a_reserve_that_cannot_be_is_refused(value: Any) -> None:
    async def main() -> None:
        with pytest.raises((TypeError, ValueError), match="reserve"):
            pn.spawn(reserve=value)

    run(main)


def test_rehearsing_leaves_nothing() -> None:
    """The server and every spare rehearse, so this must be no more than a
    life that ends."""
    code = (
        "import gc, logging, os, signal, sys, threading\n"
        "from pulsar_native import _child, _context, _spec\n"
        "def look():\n"
        "    gc.collect()\n"
        "    return (sorted(os.listdir('/proc/self/fd')),\n"
        "        dict(os.environ), os.getcwd(), list(sys.path),\n"
        "        list(sys.argv), logging.getLogger().handlers[:],\n"
        "        signal.getsignal(signal.SIGTERM),\n"
        "        signal.getsignal(signal.SIGINT),\n"
        "        threading.enumerate(), _context.living_actors(),\n"
        "        _context.owner(), dict(_spec._server_environ))\n"
        "before = look()\n"
        "_child.prepare(False)\n"
        "assert look() == before, (before, look())\n"
        "assert len(os.listdir('/proc/self/task')) == 1\n"
        "from pulsar_native import _rehearsal\n"
        "assert _rehearsal.rehearse()\n"
    )
    with Program("-c", code) as program:
        assert program.result() == (0, "", "")


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="objects are immortal from 3.12 on"
)
def test_what_the_server_has_loaded_is_not_written_to() -> None:
    async def main() -> None:
        proxy = await pn.spawn(preload=["preload_things"], reserve=0)
        assert await ask(proxy, _are_immortal) == []

    run(main)


def test_objects_of_preloaded_modules_end_as_ever() -> None:
    async def main() -> None:
        proxy = await pn.spawn(preload=["preload_things"], reserve=0)
        names = ["attribute", "bound", "closure", "instance", "list"]
        ended = await ask(proxy, _drop_all)
        assert sorted(ended) == [*names, "plain", "tuple"]

    run(main)


def _are_immortal(actor: Any) -> list[str]:
    """Those that are not what they should be."""
    import preload_things as things

    most = 2**31
    kept = [things, things.Thing, things.function, things.constants]
    wrong = [repr(thing) for thing in kept if sys.getrefcount(thing) < most]
    mortal = [*things.held.values(), things.held]
    wrong += [repr(thing) for thing in mortal if sys.getrefcount(thing) > most]
    return wrong


def _drop_all(actor: Any) -> list[str]:
    import preload_things as things

    things.held.clear()
    gc.collect()
    return things.Thing.ended


def _exit(actor: Any) -> None:
    os._exit(7)


def _kill(actor: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _draw(actor: Any) -> tuple[float, bytes]:
    return random.random(), os.urandom(8)


def _has_module(actor: Any, name: str) -> bool:
    return name in sys.modules
