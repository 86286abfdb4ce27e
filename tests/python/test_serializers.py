"""Commands with a serializer of their own: their arguments and results go by
it, others' do not, and what it raises reaches the asker."""

from __future__ import annotations

from typing import Any

import pytest
import serializer_commands as commands
from actors_help import ask, failure, program_output, run

import pulsar_native as pn
from pulsar_native import kinds

KINDS = sorted({"process", "thread", "coroutine"} & set(kinds._kinds))

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", [commands.by_json, "by_json"])
def test_arguments_and_result_go_by_the_serializer(
    kind: str, command: Any
) -> None:
    async def main() -> None:
        actor = await pn.spawn(kind=kind)
        found = await pn.send(actor, command, (1, 2), None, key=("v",))
        assert found == [[[1, 2], None], {"key": ["v"]}]
        assert await pn.send(actor, command) == [[], {}]

    run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_coroutines_and_threads_too(kind: str) -> None:
    async def main() -> None:
        actor = await pn.spawn(kind=kind)
        later = await pn.send(actor, commands.by_json_later, (1,))
        assert later == [1]
        threaded = await pn.send(actor, commands.by_json_in_thread, (1,))
        assert threaded == [[1], False]

    run(main)


def test_tells_too() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await pn.tell(worker, commands.json_tell, (1, 2))
        assert await pn.send(worker, "told") == [1, 2]
        await pn.send(worker, "json_tell", {"a": ()})
        assert await pn.send(worker, "told") == {"a": []}

    run(main)


def test_each_value_is_dumped_and_loaded_once() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        here = commands.JSON.dumped, commands.JSON.loaded
        there = await pn.send(worker, "counts")
        await pn.send(worker, commands.by_json, 1, 2, three=3)
        assert commands.JSON.dumped == here[0] + 3
        assert commands.JSON.loaded == here[1] + 1
        dumped, loaded = await pn.send(worker, "counts")
        assert (dumped, loaded) == (there[0] + 1, there[1] + 3)

    run(main)


def test_other_commands_are_pickled() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        before = commands.JSON.dumped
        assert await pn.send(worker, "echo", (1, {2})) == (1, {2})
        assert commands.JSON.dumped == before

    run(main)


def test_large_values() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        text = "x" * 300_000
        for _ in range(6):
            found = await pn.send(worker, commands.by_json, text)
            assert found == [[text], {}]

    run(main)


def test_methods_too() -> None:
    async def main() -> None:
        counter = await pn.spawn(commands.Counter)
        assert await pn.send(counter, commands.Counter.add, (1,)) == [[1]]
        # By name the sender cannot know that it is a method with a serializer.
        assert await pn.send(counter, "add", (2,)) == ([1], (2,))

    run(main)


def test_between_workers() -> None:
    async def main() -> None:
        one, other = await pn.spawn(), await pn.spawn()
        found = await ask(one, commands.ask_by_name, other, "by_json", (1,))
        assert found == [[[1]], {}]

    run(main)


def test_asking_oneself() -> None:
    async def main() -> None:
        found = await pn.send("arbiter", commands.by_json, (1,))
        assert found == [[[1]], {}]

    run(main)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "args, kwargs, error, text",
    [
        (("no dumps",), {}, LookupError, "cannot dump"),
        (("no bytes",), {}, TypeError, "Bad.dumps gave str, not bytes"),
        (("no loads",), {}, LookupError, "cannot load"),
        ((), {"answer": "no dumps"}, LookupError, "cannot dump"),
        ((1,), {"answer": "no loads"}, LookupError, "cannot load"),
    ],
)
def test_what_a_serializer_raises_reaches_the_asker(
    kind: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    async def main() -> None:
        actor = await pn.spawn(kind=kind)
        for _ in range(3):
            found = await failure(
                pn.send(actor, commands.by_bad, *args, **kwargs)
            )
            assert isinstance(found, error)
            assert text in str(found)
        assert await pn.send(actor, commands.by_bad, 1) == "fine"
        assert await pn.send(actor, "ping") == "pong"

    run(main)


@pytest.mark.parametrize("wrong", [object(), 1, "json"])
def test_what_cannot_be_a_serializer_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="dumps and loads"):
        pn.command(serializer=wrong)


MAIN = """
import asyncio, json
import pulsar_native as pn

class Json:
    def dumps(self, value):
        return json.dumps(value).encode()
    def loads(self, data):
        return json.loads(data)

@pn.command(serializer=Json())
def twice(request, value):
    return (value, value)

async def main():
    worker = await pn.spawn()
    print(await pn.send(worker, twice, (1,)))
    print(await pn.send(worker, "twice", "a"))
    pn.command(name="later", serializer=Json())(lambda request, v: (v,))
    print(await pn.send(worker, "later", 5))

asyncio.run(main())
"""


def test_commands_of_main_take_their_serializer_along() -> None:
    assert program_output("-c", MAIN).splitlines() == [
        "[[1], [1]]",
        "['a', 'a']",
        "[5]",
    ]


MODULE = """
import asyncio, sys
import pulsar_native as pn

async def main():
    worker = await pn.spawn()
    assert "serializer_commands" not in sys.modules
    import serializer_commands as commands
    print(await pn.send(worker, commands.by_json, (1,)))
    print(await pn.send(worker, "by_json", (2,)))

asyncio.run(main())
"""


def test_actor_imports_the_module_for_the_serializer() -> None:
    assert program_output("-c", MODULE).splitlines() == [
        "[[[1]], {}]",
        "[[[2]], {}]",
    ]
