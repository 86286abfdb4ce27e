"""Commands as objects, methods as commands, functions by ``call``."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import math
import operator
import pickle
import weakref
from pathlib import Path
from typing import Any

import pytest
import typed_commands as commands
from actors_help import ask, failure, run, until
from typed_commands import Counter, Deaf, Doubling

import pulsar_native as pn
from pulsar_native import _pickling
from pulsar_native._command import methods_of

pytestmark = pytest.mark.usefixtures("nothing_left")

KINDS = ["process", "thread"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# --- the decorator ---


def test_a_method_registers_in_its_class_only() -> None:
    with pytest.raises(pn.CommandNotFound):
        pn.get_command("forget_it")
    with pytest.raises(pn.CommandNotFound):
        pn.get_command("add_twice")
    assert sorted(methods_of(Counter)) == [
        "add",
        "add_twice",
        "fails",
        "get",
        "reset",
        "thread",
    ]


def test_a_method_is_a_command_on_the_class_and_a_method_on_objects() -> None:
    assert isinstance(Counter.add, pn.Method)
    assert Counter.add.owner is Counter
    assert Counter.add.name == "add" and Counter.forget_it.name == "reset"
    assert Counter.add.__doc__ == "Add some steps."
    counter = Counter(5)
    assert asyncio.run(counter.add(2)) == 7
    assert asyncio.run(counter.add_twice(1)) == 9
    assert Counter.get(counter) == counter.get() == 9


def test_subclasses_inherit_and_override() -> None:
    assert methods_of(Doubling)["get"] is Counter.get
    assert methods_of(Doubling)["add"] is not Counter.add
    assert asyncio.run(Doubling(1).add_twice(2)) == 9
    assert "add" not in methods_of(Deaf)


def test_the_same_method_in_two_bases_is_that_of_the_first() -> None:
    class Other:
        @pn.command()
        def get(self) -> str:
            return "other"

    class Both(Other, Counter):
        pass

    assert methods_of(Both)["get"] is Other.get


def test_a_class_that_is_made_anew_owns_its_methods() -> None:
    @dataclasses.dataclass(slots=True)
    class Slotted:
        n: int = 0

        @pn.command()
        def get(self) -> int:
            return self.n

    assert Slotted.get.owner is Slotted
    assert methods_of(Slotted)["get"] is Slotted.get
    assert pickle.loads(_pickling.dumps(Slotted.get)) is Slotted.get


def test_a_method_that_another_class_borrows_stays_of_its_own() -> None:
    class Borrower:
        take = Counter.get

    assert Counter.get.owner is Counter
    assert methods_of(Borrower) == {"get": Counter.get}


def test_classes_with_commands_are_collected_when_nobody_uses_them() -> None:
    class Gone:
        @pn.command()
        def get(self) -> int:
            return 1

    table = methods_of(Gone)
    assert methods_of(Gone) is table
    ends = [weakref.ref(Gone), weakref.ref(table)]
    del Gone, table
    gc.collect()
    assert [end() for end in ends] == [None, None]


def test_functions_inside_functions_are_no_methods() -> None:
    @pn.command()
    def local_to_a_test(request: pn.Request) -> None:
        pass

    assert isinstance(local_to_a_test, pn.Command)
    assert pn.get_command("Local_to_a_test") is local_to_a_test


def test_a_static_method_is_a_function() -> None:
    class Namespace:
        @pn.command()
        @staticmethod
        def in_a_namespace(request: pn.Request) -> str:
            return "static"

    assert pn.get_command("in_a_namespace") is Namespace.in_a_namespace

    async def main() -> None:
        worker = await pn.spawn()
        found = await pn.send(worker, Namespace.in_a_namespace)
        assert found == "static"

    run(main)


def test_asynchronous_generators_have_types_of_their_own() -> None:
    @pn.command()
    async def streams_in_a_test(request: pn.Request) -> Any:
        yield 1

    class Streams:
        @pn.command()
        async def items(self) -> Any:
            yield 1

    assert isinstance(streams_in_a_test, pn.StreamCommand)
    assert isinstance(Streams.items, pn.StreamMethod)

    async def main() -> list[int]:
        return [item async for item in Streams().items()]

    assert run(main) == [1]


@pytest.mark.parametrize("wrong", ["", 3, b"name"])
def test_a_name_is_a_text(wrong: Any) -> None:
    with pytest.raises(TypeError, match="name of a command"):
        pn.command(name=wrong)


def test_parentheses_are_needed() -> None:
    with pytest.raises(TypeError, match="parentheses"):
        pn.command(lambda request: None)  # type: ignore[call-overload]


def test_only_plain_functions_run_in_threads() -> None:
    async def later(request: pn.Request) -> None:
        pass

    async def items(request: pn.Request) -> Any:
        yield 1

    for function in (later, items):
        with pytest.raises(TypeError, match="thread=True"):
            pn.command(thread=True)(function)


def test_commands_of_modules_are_pickled_by_name() -> None:
    for command in (Counter.add, commands.where, commands.has_another_name):
        data = pickle.dumps(command)
        assert pickle.loads(data) is command
        assert len(data) < 100


def test_a_local_class_and_its_commands_travel() -> None:
    class Local:
        @pn.command(thread=True)
        def who(self) -> type:
            return Local

        @pn.command(name="other")
        def renamed(self) -> Any:
            return self.who

    def look(actor: Any, cls: type[Local]) -> Any:
        found = methods_of(cls)
        assert cls.who.owner is cls and found["other"] is cls.renamed
        assert cls.who.thread and cls().renamed()() is cls
        return cls.who, cls

    async def main() -> None:
        worker = await pn.spawn()
        command, cls = await ask(worker, look, Local)
        assert cls is Local and command is Local.who

    run(main)


# --- names and threads ---


def test_a_command_goes_by_the_name_that_it_was_given() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        assert await pn.send(worker, "renamed") == "renamed"
        assert await pn.send(worker, commands.has_another_name) == "renamed"
        error = await failure(pn.send(worker, "has_another_name"))
        assert isinstance(error, pn.CommandNotFound)

    run(main)


def test_a_command_in_a_thread_leaves_its_actor_free(
    kind: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "file")

    async def main() -> None:
        worker = await pn.spawn(kind=kind, name="worker")
        assert await pn.send(worker, commands.where) == ("worker", False)
        waiting = pn.send(worker, commands.wait_for, path)
        await pn.send(worker, commands.make_file, path)
        assert await waiting == "there it is"

    run(main)


def test_a_command_in_a_thread_sees_that_it_was_cancelled(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        begun, ended = tmp_path / "begun", tmp_path / "ended"
        paths = str(begun), str(ended)
        asked = pn.send(worker, commands.until_cancelled, *paths)
        await until(begun.exists, "it has begun")
        asked.cancel()
        await until(ended.exists, "it has ended")

    run(main)


def test_a_command_in_a_thread_sees_that_it_is_late(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        begun, ended = tmp_path / "begun", tmp_path / "ended"
        send = pn.send.options(deadline=0.2)
        paths = str(begun), str(ended)
        error = await failure(send(worker, commands.until_cancelled, *paths))
        assert isinstance(error, pn.AskTimeout)
        await until(lambda: ended.exists() or not begun.exists(), "its end")

    run(main)


def test_what_is_raised_in_a_thread_comes_out(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        error = await failure(pn.send(worker, commands.raises, LookupError))
        assert isinstance(error, LookupError)
        assert error.args == ("in a thread",)
        assert "in raises" in str(error.__cause__)
        error = await failure(pn.send(worker, commands.raises, StopIteration))
        assert isinstance(error, RuntimeError)
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_a_command_of_the_program_runs_in_a_thread_too(kind: str) -> None:
    @pn.command(thread=True)
    def local_thread(request: pn.Request) -> Any:
        return commands.where.__wrapped__(request)

    async def main() -> None:
        worker = await pn.spawn(kind=kind, name="worker")
        assert await pn.send(worker, local_thread) == ("worker", False)

    run(main)


# --- options of send ---


def test_a_deadline_may_be_given_as_an_option(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        send = pn.send.options(deadline=0.01)
        error = await failure(send(worker, "call", asyncio.sleep, 60))
        assert isinstance(error, pn.AskTimeout)
        assert await pn.send.options(deadline=60)(worker, "ping") == "pong"
        assert await pn.send.options()(worker, "echo", 3) == 3

    run(main)


def test_keywords_of_commands_are_no_options(kind: str) -> None:
    async def echo(**kwargs: Any) -> Any:
        return kwargs

    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        asked = pn.send.options(deadline=60)(worker, "call", echo, deadline=1)
        assert await asked == {"deadline": 1}

    run(main)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(TypeError, match="'deadlien'"):
        pn.send.options(deadlien=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        pn.send.options(deadline="1")  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        pn.send.options(deadline=float("nan"))


def test_send_is_still_a_function() -> None:
    assert pickle.loads(pickle.dumps(pn.send)) is pn.send
    assert pn.send.__name__ == "send" and pn.send.__doc__


# --- call ---


async def twice(n: int) -> int:
    await asyncio.sleep(0)
    return 2 * n


def test_call_runs_any_function(kind: str) -> None:
    n = 3

    async def main() -> None:
        worker = await pn.spawn(kind=kind, name="worker")
        assert await pn.call(worker, math.factorial, 20) == math.factorial(20)
        assert await pn.call(worker, int, "ff", base=16) == 255
        assert await pn.call(worker, twice, 4) == 8
        assert await pn.call(worker, lambda k: k * n, 5) == 15
        assert await pn.call("worker", operator.add, [1], [2]) == [1, 2]
        name = await pn.call(worker, lambda: pn.get_actor().name)
        assert name == "worker"

    run(main)


def test_call_fails_as_the_function_does(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        error = await failure(pn.call(worker, math.sqrt, -1))
        assert isinstance(error, ValueError)
        assert isinstance(error.__cause__, pn.RemoteTraceback)
        error = await failure(pn.call("nobody", math.sqrt, 1))
        assert isinstance(error, pn.ActorNotFound)

    run(main)


def test_call_refuses_what_is_no_function() -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="callable"):
            pn.call("nobody", 3)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="send"):
            pn.call("nobody", Counter.add)

    run(main)


def test_definitions_by_value_are_the_same_when_they_return() -> None:
    found = pickle.loads(_pickling.dumps(Counter))
    assert found is Counter
