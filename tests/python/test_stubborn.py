"""Programs that do to actors what nobody should."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from typing import Any

import pytest
from actors_help import Program, failure, run

import pulsar_native as pn


class _Raises(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("a filter that raises")


UNSTOPPABLE = """
import logging, pulsar_native as pn
class Raises(logging.Filter):
    def filter(self, record): raise RuntimeError("no")
logging.getLogger("pulsar_native.arbiter").addFilter(Raises())
def start(actor): raise ValueError("no start")
pn.arbiter(start=start).start()
"""


def test_a_log_filter_that_raises_does_not_keep_a_program_alive() -> None:
    with Program("-c", UNSTOPPABLE) as program:
        assert program.result()[0] == 1


def test_a_log_filter_that_raises_does_not_keep_an_actor_alive() -> None:
    def stop_loudly(actor: Any) -> None:
        actor.logger.addFilter(_Raises())
        actor.stop(ValueError("enough"))

    async def main() -> None:
        worker = await pn.spawn()
        await asyncio.wait([pn.send(worker, "run", stop_loudly)])
        await worker.join(10)

    run(main)


class _LeavesWhilePickled:
    def __reduce__(self) -> Any:
        raise SystemExit(3)


class _LeavesWhileUnpickled:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


def test_a_result_whose_pickling_exits_ends_its_actor_only() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        asked = pn.send(worker, "run", lambda actor: _LeavesWhilePickled())
        error = await failure(asked)
        assert isinstance(error, pn.ActorDown)
        assert "SystemExit" in error.reason

    run(main)


def test_a_result_whose_unpickling_exits_is_a_remote_error() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        asked = pn.send(worker, "run", lambda actor: _LeavesWhileUnpickled())
        error = await failure(asked)
        assert isinstance(error, pn.RemoteError)
        assert error.type_name == "SystemExit"
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_arguments_whose_pickling_exits_leave_it_to_the_sender() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        with pytest.raises(SystemExit):
            pn.send(worker, "echo", _LeavesWhilePickled())
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_a_command_that_cancels_all_tasks_leaves_its_actor_alive() -> None:
    def cancel_all(actor: Any) -> None:
        for task in asyncio.all_tasks():
            task.cancel()

    async def main() -> None:
        worker = await pn.spawn()
        await pn.send(worker, "run", cancel_all)
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_asks_behind_a_lost_link_fail_at_once() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        asked = pn.send(worker, "run", lambda actor: os.closerange(3, 999))
        assert isinstance(await failure(asked), pn.ActorDown)
        begun = time.monotonic()
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown)
        assert time.monotonic() - begun < 3

    run(main)


def test_a_cancelled_spawn_leaves_neither_actor_nor_name() -> None:
    async def main() -> None:
        spawned = pn.spawn(name="x")
        spawned.cancel()
        root: Any = pn.arbiter()
        deadline = time.monotonic() + 10
        while root.managed_actors and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert not root.managed_actors
        assert (await pn.spawn(name="x")).name == "x"

    run(main)


def test_a_spawn_ends_though_the_fork_server_never_answers() -> None:
    async def main() -> None:
        error = await failure(
            pn.spawn(preload=["never_ready"], spawn_timeout=0.3)
        )
        assert isinstance(error, pn.ActorStartError)
        assert "no handshake" in error.reason

    folder = os.path.dirname(__file__)
    sys.path.insert(0, folder)
    try:
        run(main)
    finally:
        sys.path.remove(folder)


def test_a_subprocess_of_an_actor_has_a_blocking_standard_error() -> None:
    def write_much(actor: Any) -> int:
        code = "import os, sys; sys.exit(not os.get_blocking(2))"
        return subprocess.run([sys.executable, "-c", code]).returncode

    async def main() -> None:
        assert await pn.send(await pn.spawn(), "run", write_much) == 0

    run(main)


@pytest.mark.parametrize(
    "params", [{"cfg": {}}, {"extra": 3}, {"start": 3}], ids=str
)
def test_spawn_refuses_what_could_only_fail_there(params: Any) -> None:
    async def main() -> None:
        with pytest.raises(TypeError):
            pn.spawn(**params)

    run(main)


def test_a_proxy_in_a_forked_child_cannot_end_the_actor() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        pid = os.fork()
        if pid == 0:
            try:
                worker.kill()
            except pn.ForkedError:
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert await pn.send(worker, "ping") == "pong"

    run(main)
