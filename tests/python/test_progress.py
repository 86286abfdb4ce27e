"""Progress: what a command says of itself while it runs."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from pathlib import Path
from typing import Any

import progress_commands as commands
import pytest
from actors_help import failure, run, until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "thread"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Seen(list[tuple[float, float | None, str]]):
    """What was said, in its order."""

    def __call__(self, done: float, total: float | None, note: str) -> None:
        self.append((done, total, note))


@pytest.mark.parametrize(
    "command",
    [commands.in_a_coroutine, commands.in_a_function, commands.in_a_thread],
    ids=lambda command: command.name,
)
def test_what_a_command_says_arrives_while_it_runs(
    kind: str, command: Any, tmp_path: Path
) -> None:
    path = tmp_path / "file"

    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        seen = Seen()
        send = pn.send.options(on_progress=seen)
        asked = send(worker, command, str(path))
        await until(lambda: seen, "something is said")
        assert seen == [(1.0, 4.0, "begun")] and not asked.done()
        path.touch()
        assert await asked == "done"

    run(main)


def test_a_method_tells_by_the_current_request(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"

    async def main() -> None:
        worker = await pn.spawn(commands.Worker, kind=kind)
        seen = Seen()
        send = pn.send.options(on_progress=seen)
        asked = send(worker, commands.Worker.in_a_method, str(path))
        await until(lambda: seen, "something is said")
        path.touch()
        assert await asked == "done"

    run(main)


def test_an_actor_may_tell_itself() -> None:
    async def main() -> None:
        seen = Seen()
        send = pn.send.options(on_progress=seen)
        asked = send("arbiter", commands.says_and_stays, 1)
        await until(lambda: seen, "something is said")
        asked.cancel()

    run(main)


def test_one_worker_sees_the_progress_of_another(kind: str) -> None:
    async def ask(other: Any) -> Any:
        seen = Seen()
        send = pn.send.options(on_progress=seen)
        asked = send(other, commands.says_and_stays, 1, 2, "three")
        while not seen:
            await asyncio.sleep(0.005)
        asked.cancel()
        return list(seen)

    async def main() -> None:
        one, two = await asyncio.gather(
            pn.spawn(kind=kind), pn.spawn(kind=kind)
        )
        assert await pn.call(one, ask, two) == [(1.0, 2.0, "three")]

    run(main)


def test_much_is_said_at_most_ten_times_a_second_and_the_last_arrives(
    kind: str,
) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        seen = Seen()
        send = pn.send.options(on_progress=seen)
        seconds = await send(worker, commands.often, 5000)
        assert seen[0][:2] == (1.0, 5000.0)
        assert seen[-1][:2] == (5000.0, 5000.0)
        assert seen == sorted(seen)
        assert len(seen) <= seconds * 10 + 2

    run(main)


def test_total_and_note_may_be_left_out(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        seen = Seen()
        send = pn.send.options(on_progress=seen)
        await send(worker, commands.says, 0.5)
        await send(worker, commands.says, 1, None, "é" * 1000)
        assert seen == [(0.5, None, ""), (1.0, None, "é" * 512)]

    run(main)


@pytest.mark.parametrize("said", [("1",), (1, "2"), (1, 2, b"x"), (1, 2, 3)])
def test_what_is_no_progress_is_refused(said: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind="thread")
        error = await failure(pn.send(worker, commands.says, *said))
        assert isinstance(error, TypeError)

    run(main)


def test_who_does_not_listen_hears_nothing(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        assert await pn.send(worker, commands.says, 1) is None
        await pn.tell(worker, commands.says, 1)
        assert await pn.send(worker, "ping") == "pong"
        seen = Seen()
        send = pn.send.options(on_progress=seen)
        assert await send(worker, "stop") is None  # not even asked
        await worker.join()
        assert not seen

    run(main)


def test_nothing_is_heard_after_the_reply(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        seen = Seen()
        send = pn.send.options(on_progress=seen)
        await send(worker, commands.tells_late)
        assert [done for done, _, _ in seen] == [1.0]
        await pn.send.options(deadline=60)(worker, commands.often, 1)
        assert [done for done, _, _ in seen] == [1.0]

    run(main)


def test_a_callback_is_called_in_the_context_of_its_ask(kind: str) -> None:
    name = contextvars.ContextVar("name", default="")

    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        names: list[str] = []

        async def ask(mine: str) -> None:
            name.set(mine)
            note = lambda *said: names.append(name.get())  # noqa: E731
            send = pn.send.options(on_progress=note)
            await send(worker, commands.says, 1)

        await asyncio.gather(ask("a"), ask("b"))
        assert sorted(names) == ["a", "b"]

    run(main)


def test_a_callback_that_raises_harms_nobody(kind: str) -> None:
    def raises(told: list[Any], *said: Any) -> None:
        told.append(said)
        raise ValueError("in the callback")

    async def main() -> None:
        errors: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, found: errors.append(found))
        worker = await pn.spawn(kind=kind)
        told: list[Any] = []
        send = pn.send.options(on_progress=functools.partial(raises, told))
        assert await send(worker, commands.says, 1) is None
        assert told and isinstance(errors[0]["exception"], ValueError)

    run(main)


def test_a_callback_must_be_callable() -> None:
    with pytest.raises(TypeError, match="on_progress"):
        pn.send.options(on_progress=3)  # type: ignore[arg-type]
