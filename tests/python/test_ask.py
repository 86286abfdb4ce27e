"""Asks and tells: what the caller gets, whatever happens to the message."""

from __future__ import annotations

import asyncio
import logging
import pickle
import random
import threading
from typing import Any

import actors_commands as commands
import pytest
from actors_help import ask, failure, run, until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    255,
    256,
    2**31,
    -(2**31),
    2**63 - 1,
    2**63,
    -(2**63),
    -(2**63) - 1,
    2**4000,
    0.0,
    -0.0,
    1e308,
    float("inf"),
    1j,
    "",
    "text",
    "\0",
    "\ud800",
    "ünï\U0001f600",
    b"",
    b"\0\xff",
    bytearray(b"x"),
    (),
    (1,),
    ((), ((),)),
    [],
    [[]],
    {},
    {"a": 1, 2: {}},
    {1},
    frozenset({2}),
    ...,
    NotImplemented,
    range(3),
    slice(1, 2),
    int,
    ValueError("a value"),
]


class Sub(int):
    """An int of a type of its own."""


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


# --- results ---


def test_values_arrive_as_they_left() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for value in SCALARS:
            found = await pn.send(worker, "echo", value)
            assert same(found, value), (found, value)

    run(main)


def test_a_subclass_of_int_keeps_its_type() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        found = await pn.send(worker, "echo", Sub(5))
        assert type(found) is Sub and found == 5
        found = await pn.send(worker, "echo", (Sub(5), "x"))
        assert type(found[0]) is Sub

    run(main)


def test_nan_arrives() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        found = await pn.send(worker, "echo", float("nan"))
        assert found != found

    run(main)


def test_deep_tuples_arrive() -> None:
    deep: Any = ()
    for _ in range(200):
        deep = (deep,)

    async def main() -> None:
        worker = await pn.spawn()
        assert await pn.send(worker, "echo", deep) == deep

    run(main)


def test_an_argument_too_deep_fails_and_the_link_lives_on() -> None:
    deep: Any = ()
    for _ in range(200_000):
        deep = (deep,)

    async def main() -> None:
        worker = await pn.spawn()
        error = await failure(pn.send(worker, "echo", deep))
        assert isinstance(error, RecursionError | pickle.PicklingError)
        assert await pn.send(worker, "ping") == "pong"

    run(main)
    while deep:  # taken apart here, not by a recursion of its deallocator
        deep = deep[0]


def test_the_receiver_gets_a_copy() -> None:
    async def main() -> None:
        worker, mine = await pn.spawn(), [1]
        for target in (worker, "arbiter"):
            future = pn.send(target, "echo", mine)
            mine.append(2)
            found = await future
            assert found == mine[:-1] and found is not mine

    run(main)


def test_a_command_may_give_any_awaitable() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        assert await pn.send(worker, "awaitable_result", 7) == 7

    run(main)


def test_sixty_four_mebibytes_go_and_come() -> None:
    blob = random.randbytes(1 << 20) * 64

    async def main() -> None:
        worker = await pn.spawn()
        assert await pn.send(worker, "echo", blob) == blob
        assert await pn.send(worker, "size", blob) == len(blob)
        assert len(await pn.send(worker, "data", 1 << 26)) == 1 << 26
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_small_asks_pass_between_large_ones() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        large = [pn.send(worker, "echo", b"x" * (4 << 20)) for _ in range(4)]
        small = [pn.send(worker, "add", n) for n in range(100)]
        assert await asyncio.gather(*small) == [n + 1 for n in range(100)]
        assert {len(x) for x in await asyncio.gather(*large)} == {4 << 20}

    run(main)


@pytest.mark.parametrize("edge", [32 << 10, 64 << 10, 256 << 10])
def test_sizes_around_a_chunk_arrive(edge: int) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for size in range(edge - 200, edge + 40):
            assert await pn.send(worker, "size", b"x" * size) == size

    run(main)


# --- exceptions ---


@pytest.mark.parametrize("command", ["fails", "fails_later", "fails_at_once"])
def test_an_exception_arrives_with_its_remote_traceback(command: str) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        error = await failure(pn.send(worker, command, KeyError, "lost"))
        assert type(error) is KeyError and error.args == ("lost",)
        cause = error.__cause__
        assert isinstance(cause, pn.RemoteTraceback)
        assert f"in {command}" in str(cause)
        assert "KeyError: 'lost'" in str(cause)

    run(main)


def test_an_own_exception_arrives_with_its_attributes() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        with pytest.raises(commands.Odd) as caught:
            await pn.send(worker, "fails", commands.Odd, "a", {"b": 1})
        assert caught.value.extra == {"b": 1}

    run(main)


def test_an_exception_from_the_arbiter_to_itself_arrives() -> None:
    async def main() -> None:
        with pytest.raises(commands.Odd):
            await pn.send("arbiter", "fails", commands.Odd, "a")
        with pytest.raises(commands.Odd):
            await pn.send("arbiter", "fails_later", commands.Odd, "a")

    run(main)


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        (commands.Picky, ("x", "y"), "x and y"),
        (commands.Locked, (), "locked"),
    ],
)
def test_an_exception_that_cannot_travel_is_a_remote_error(
    kind: type, arguments: tuple[str, ...], text: str
) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        error = await failure(pn.send(worker, "fails", kind, *arguments))
        assert type(error) is pn.RemoteError
        assert error.type_name.endswith(kind.__name__)
        assert text in error.message
        assert "in fails" in error.traceback
        assert await pn.send(worker, "ping") == "pong"

    run(main)


@pytest.mark.parametrize("command", ["fails", "fails_later", "fails_at_once"])
@pytest.mark.parametrize(
    "kind", [StopIteration, StopAsyncIteration, GeneratorExit]
)
@pytest.mark.parametrize("target", ["worker", "arbiter"])
def test_what_futures_refuse_goes_to_the_caller(
    command: str, kind: type, target: str
) -> None:
    async def main() -> None:
        worker = await pn.spawn(name="worker")
        error = await failure(pn.send(target, command, kind))
        assert isinstance(error, Exception)
        if not isinstance(error, RuntimeError | StopAsyncIteration):
            assert isinstance(error, pn.RemoteError), repr(error)
            assert error.type_name == kind.__name__
        assert await pn.send(worker, "ping") == "pong"

    run(main)


@pytest.mark.parametrize("command", ["fails", "fails_later", "fails_at_once"])
@pytest.mark.parametrize("target", ["worker", "arbiter"])
def test_a_cancelled_error_out_of_a_command_ends_nobody(
    command: str, target: str
) -> None:
    async def main() -> None:
        await pn.spawn(name="worker")
        future = pn.send(target, command, asyncio.CancelledError)
        done, _ = await asyncio.wait([future], timeout=10)
        assert done
        assert future.cancelled() or isinstance(
            future.exception(), pn.RemoteError
        )
        assert await pn.send(target, "ping") == "pong"

    run(main)


def test_an_exception_group_arrives() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        error = await failure(
            pn.send(worker, "fails", ExceptionGroup, "g", [KeyError(1)])
        )
        assert isinstance(error, ExceptionGroup)
        assert isinstance(error.exceptions[0], KeyError)

    run(main)


def test_a_remote_timeout_error_arrives_as_such() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        with pytest.raises(TimeoutError, match="mine"):
            await pn.send(worker, "fails", TimeoutError, "mine")

    run(main)


# --- what cannot be pickled ---


def test_an_unpicklable_argument_fails_at_the_sender() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for target in (worker, "arbiter"):
            future = pn.send(target, "echo", threading.Lock())
            assert future.done()
            assert isinstance(
                future.exception(), TypeError | pickle.PicklingError
            )
            assert await pn.send(target, "ping") == "pong"

    run(main)


@pytest.mark.parametrize("target", ["worker", "arbiter"])
def test_an_unpicklable_result_is_an_exception_at_the_caller(
    target: str,
) -> None:
    async def main() -> None:
        await pn.spawn(name="worker")
        error = await failure(pn.send(target, "unpicklable"))
        assert isinstance(error, Exception)
        assert "pickle" in str(error) and "lock" in str(error)
        assert await pn.send(target, "ping") == "pong"

    run(main)


@pytest.mark.parametrize("target", ["worker", "arbiter"])
def test_an_argument_that_explodes_there_fails_the_ask(target: str) -> None:
    async def main() -> None:
        await pn.spawn(name="worker")
        with pytest.raises(LookupError, match="boom"):
            await pn.send(target, "echo", commands.Explodes())
        assert await pn.send(target, "ping") == "pong"

    run(main)


def test_a_result_that_explodes_here_fails_the_ask() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        with pytest.raises(LookupError, match="boom"):
            await pn.send(worker, "result_explodes")
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_an_actor_itself_does_not_travel() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        error = await failure(pn.send(worker, "echo", pn.arbiter()))
        assert isinstance(error, pickle.PicklingError)
        assert "proxy" in str(error)

    run(main)


# --- unknown commands and actors ---


def test_an_unknown_command_is_command_not_found() -> None:
    async def main() -> None:
        worker, other = await pn.spawn(), await pn.spawn(name="other")
        for target in (worker, "arbiter", other):
            with pytest.raises(pn.CommandNotFound, match="no_such"):
                await pn.send(target, "no_such", 1)
        for target in (worker, "arbiter", other, "other"):
            found = await pn.send(worker, "pass_on_failure", target, "no_such")
            assert found == (
                "CommandNotFound",
                'Command "no_such" not available',
            )

    run(main)


def test_an_unknown_actor_is_actor_not_found() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        stranger = pn.ActorProxy("nobody", "nobody", 12345)
        for target in ("nobody", stranger, ""):
            future = pn.send(target, "ping")
            error = await failure(future)
            assert isinstance(error, pn.ActorNotFound)
            found = await pn.send(worker, "pass_on_failure", target, "ping")
            assert found[0] == "ActorNotFound"
        assert await pn.send(worker, "ping") == "pong"

    run(main)


@pytest.mark.parametrize("target", [None, 5, b"arbiter", object()])
def test_what_is_no_target_is_refused_at_once(target: Any) -> None:
    async def main() -> None:
        with pytest.raises(TypeError):
            pn.send(target, "ping")
        with pytest.raises(TypeError):
            pn.tell(target, "ping")

    run(main)


@pytest.mark.parametrize("name", ["x" * 1025, "\ud800"])
def test_a_command_name_that_cannot_travel_is_refused(name: str) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        assert isinstance(await failure(pn.send(worker, name)), ValueError)
        assert isinstance(
            await failure(pn.send(name, "ping")),
            ValueError | pn.ActorNotFound,
        )
        assert await pn.send(worker, "ping") == "pong"

    run(main)


@pytest.mark.parametrize("name", [None, 5, b"ping", object()])
def test_what_is_no_command_is_refused(name: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        with pytest.raises((TypeError, AttributeError)):
            await pn.send(worker, name)

    run(main)


def test_wrong_arguments_are_the_type_error_of_the_call() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        with pytest.raises(TypeError, match="ping"):
            await pn.send(worker, "ping", 1, 2, 3)
        with pytest.raises(TypeError, match="missing"):
            await pn.send(worker, "echo")

    run(main)


# --- callers that give up ---


async def _late_reply_is_dropped(waiting: Any) -> None:
    worker = await pn.spawn()
    logged: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: logged.append(context)
    )
    with pytest.raises(TimeoutError):
        await waiting(pn.send(worker, "nap", 0.1, "late"))
    await pn.send(worker, "nap", 0.15)
    assert await pn.send(worker, "echo", "after") == "after"
    assert logged == []


async def _wait_for(future: Any) -> None:
    await asyncio.wait_for(future, 0.02)


async def _timeout(future: Any) -> None:
    async with asyncio.timeout(0.02):
        await future


@pytest.mark.parametrize("waiting", [_wait_for, _timeout])
def test_a_late_reply_to_a_caller_that_gave_up_is_dropped(
    waiting: Any,
) -> None:
    run(lambda: _late_reply_is_dropped(waiting))


def test_an_ask_cancelled_at_once_still_leaves() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        future = pn.send(worker, "hear_later", "cancelled")
        future.cancel()
        assert await pn.send(worker, "heard_so_far") == ["cancelled"]

    run(main)


def test_a_result_set_by_the_caller_himself_hurts_nobody() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        future = pn.send(worker, "add", 1)
        future.set_result("mine")
        assert await pn.send(worker, "add", 5) == 6
        assert await future == "mine"

    run(main)


def test_a_future_that_is_dropped_unread_is_no_trouble() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for _ in range(100):
            pn.send(worker, "add", 1)
        assert await pn.send(worker, "ping") == "pong"

    run(main)


# --- many, and in order ---


@pytest.mark.parametrize("target", ["worker", "arbiter"])
def test_ten_thousand_asks_at_once(target: str) -> None:
    async def main() -> None:
        await pn.spawn(name="worker")
        asked = [pn.send(target, "add", n) for n in range(10_000)]
        assert await asyncio.gather(*asked) == list(range(1, 10_001))

    run(main)


@pytest.mark.parametrize("command", ["hear", "hear_later"])
def test_messages_start_in_the_order_in_which_they_were_sent(
    command: str,
) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for n in range(2000):
            pn.send(worker, command, n)
        assert await pn.send(worker, "heard_so_far") == list(range(2000))

    run(main)


def test_sync_and_async_commands_keep_one_order() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        for n in range(500):
            pn.send(worker, "hear" if n % 2 else "hear_later", n)
        assert await pn.send(worker, "heard_so_far") == list(range(500))

    run(main)


def test_large_and_small_messages_keep_one_order() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        sizes = [10 ** random.randrange(1, 7) for _ in range(60)]
        for size in sizes:
            pn.tell(worker, "hear", b"x" * size)
        heard = await pn.send(worker, "heard_so_far")
        assert [len(each) for each in heard] == sizes

    run(main)


def test_order_holds_through_the_arbiter() -> None:
    async def main() -> None:
        one, two = await asyncio.gather(pn.spawn(), pn.spawn())
        await ask(one, _send_many, two, 500)
        await until_heard(two, 500)
        assert await pn.send(two, "heard_so_far") == list(range(500))

    run(main)


def _send_many(actor: Any, target: Any, count: int) -> None:
    for n in range(count):
        pn.tell(target, "hear", n)


async def until_heard(worker: Any, count: int) -> None:
    while len(await pn.send(worker, "heard_so_far")) < count:
        pass


# --- tells ---


def test_a_tell_resolves_when_it_is_accepted() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        future = pn.tell(worker, "nap", 3600)
        assert future.done() and future.result() is None
        assert await pn.tell(worker, "hear", 1) is None
        assert await pn.send(worker, "heard_so_far") == [1]

    run(main)


def test_a_command_without_ack_is_a_tell() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        assert await pn.send(worker, "hear", 1) is None
        assert await pn.send(worker, commands.hear, 2) is None
        assert await pn.send(worker, "heard_so_far") == [1, 2]

    run(main)


def test_a_tell_that_fails_there_is_logged_here(caplog: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        pn.tell(worker, "fails", commands.Odd, "told")
        await until(lambda: "Odd: told" in caplog.text, "the log record")

    run(main)


def test_a_tell_to_nobody_fails_at_the_arbiter() -> None:
    async def main() -> None:
        assert isinstance(
            await failure(pn.tell("nobody", "ping")), pn.ActorNotFound
        )
        worker = await pn.spawn()
        await ask(worker, _tell_nobody)
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def _tell_nobody(actor: Any) -> None:
    pn.tell("nobody", "ping")


def test_what_was_sent_without_await_has_left_when_the_actor_is_asked() -> (
    None
):
    async def main() -> None:
        worker = await pn.spawn()
        pn.send(worker, "hear", "ask")
        pn.tell(worker, "hear", "tell")
        assert await pn.send(worker, "heard_so_far") == ["ask", "tell"]

    run(main)


# --- names ---


def test_every_keyword_belongs_to_the_command() -> None:
    names = "target command self args kwargs request actor ack timeout name"
    given = dict.fromkeys(names.split(" "), 1) | {"ä": 1}

    async def main() -> None:
        worker = await pn.spawn()
        for target in (worker, "arbiter"):
            found = await pn.send(target, "keywords", 1, **given)
            assert found == ((1,), given)
            pn.tell(target, "keywords", **given)
        found = await ask(worker, _send_keywords, given)
        assert found == ((), given)

    run(main)


async def _send_keywords(actor: Any, given: dict[str, Any]) -> Any:
    return await pn.send("arbiter", "keywords", **given)


def test_the_method_send_takes_every_keyword_too() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        arbiter = pn.arbiter()
        given = {"target": 1, "command": 2, "self": 3}
        found = await arbiter.send(worker, "keywords", **given)
        assert found == ((), given)
        asked = arbiter.send_threadsafe(worker, "keywords", **given)
        assert await asyncio.wrap_future(asked) == ((), given)

    run(main)


def test_send_threadsafe_takes_every_keyword_too() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        given = {"target": 1, "command": 2, "self": 3}
        asked = pn.send_threadsafe(worker, "keywords", **given)
        assert await asyncio.wrap_future(asked) == ((), given)

    run(main)


@pytest.mark.parametrize("name", ["CamelCase", "camelcase", "CAMELCASE"])
def test_commands_are_found_without_case(name: str) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        assert await pn.send(worker, name) == "camel"
        assert await pn.send("arbiter", name) == "camel"
        assert await pn.send(worker, commands.CamelCase) == "camel"

    run(main)


def test_builtin_commands_are_found_without_case() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        assert await pn.send(worker, "PING") == "pong"
        assert await pn.send(worker, "Echo", 1) == 1

    run(main)


# --- who talks to whom ---


def test_the_caller_is_known_to_the_command() -> None:
    async def main() -> None:
        one, two = await pn.spawn(name="one"), await pn.spawn(name="two")
        found = await pn.send(one, "caller")
        assert (found.aid, found.name) == ("arbiter", "arbiter")
        found = await pn.send(one, "pass_on", two, "caller")
        assert found == one and found.name == "one"
        found = await pn.send("arbiter", "caller")
        assert found.aid == "arbiter"
        found = await pn.send(one, "pass_on", "arbiter", "caller")
        assert found == one

    run(main)


def test_an_actor_asks_itself() -> None:
    async def main() -> None:
        worker = await pn.spawn(name="narcissus")
        for target in (worker, "narcissus", worker.aid):
            found = await pn.send(worker, "pass_on", target, "add", 1, 2)
            assert found == 3
        found = await pn.send("arbiter", "pass_on", "arbiter", "add", 1, 2)
        assert found == 3

    run(main)


def test_two_workers_ask_each_other_at_once() -> None:
    async def main() -> None:
        one, two = await asyncio.gather(pn.spawn(), pn.spawn())
        found = await asyncio.gather(
            pn.send(one, "ping_often", two, 1000),
            pn.send(two, "ping_often", one, 1000),
        )
        assert found == [1000, 1000]

    run(main)


def test_a_chain_through_every_actor_and_back() -> None:
    async def main() -> None:
        a, b, c = await asyncio.gather(*(pn.spawn() for _ in range(3)))
        found = await pn.send(
            a,
            "pass_on",
            b,
            "pass_on",
            "arbiter",
            "pass_on",
            c,
            "pass_on",
            a,
            "add",
            40,
            2,
        )
        assert found == 42

    run(main)


def test_a_proxy_from_one_worker_works_in_another() -> None:
    async def main() -> None:
        one, two = await asyncio.gather(pn.spawn(), pn.spawn())
        child = await pn.send(one, "pass_on", "arbiter", "spawn", name="kid")
        assert await pn.send(two, "pass_on", child, "add", 1) == 2
        assert await pn.send(two, "pass_on", "kid", "add", 1) == 2

    run(main)


def test_large_messages_pass_between_workers() -> None:
    async def main() -> None:
        one, two = await asyncio.gather(pn.spawn(), pn.spawn())
        blob = random.randbytes(8 << 20)
        assert await pn.send(one, "pass_on", two, "echo", blob) == blob

    run(main)


# --- limits ---


def test_a_full_outbox_fails_asks_at_once_and_recovers() -> None:
    async def main() -> None:
        pn.arbiter(outbox_messages=10)
        worker = await pn.spawn()
        await pn.send(worker, "ping")
        pn.send(worker, "block", 0.2)
        blob = b"x" * (1 << 20)
        asked = [pn.send(worker, "size", blob) for _ in range(40)]
        full = [f for f in asked if f.done()]
        assert full, "nothing was refused"
        for future in full:
            assert isinstance(future.exception(), pn.MailboxFull)
        rest = [f for f in asked if f not in full]
        assert set(await asyncio.gather(*rest)) == {1 << 20}
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_the_outbox_is_bounded_in_bytes_too() -> None:
    async def main() -> None:
        pn.arbiter(outbox_bytes=1 << 20)
        worker = await pn.spawn()
        pn.send(worker, "block", 0.1)
        blob = b"x" * (600 << 10)
        asked = [pn.send(worker, "size", blob) for _ in range(10)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert any(isinstance(r, pn.MailboxFull) for r in results)
        assert results[0] == len(blob)
        told = await asyncio.gather(
            *(pn.tell(worker, "hear", blob) for _ in range(10)),
            return_exceptions=True,
        )
        assert any(isinstance(r, pn.MailboxFull) for r in told)
        assert await retried(worker, "add", 6) == 7

    run(main)


async def retried(target: Any, command: str, *args: Any) -> Any:
    while True:
        try:
            return await pn.send(target, command, *args)
        except pn.MailboxFull:
            await asyncio.sleep(0.01)


def test_an_outbox_full_at_the_relay_fails_the_askers_ask() -> None:
    async def main() -> None:
        pn.arbiter(outbox_messages=10)
        one, two = await asyncio.gather(pn.spawn(), pn.spawn())
        pn.send(two, "block", 0.3)
        found = await ask(one, _flood, two)
        assert found["MailboxFull"] > 0
        assert await retried(two, "ping") == "pong"
        assert await pn.send(one, "pass_on", two, "ping") == "pong"

    run(main)


async def _flood(actor: Any, target: Any) -> dict[str, int]:
    blob = b"x" * (100 << 10)
    results = await asyncio.gather(
        *(pn.send(target, "size", blob) for _ in range(100)),
        return_exceptions=True,
    )
    names = [type(r).__name__ for r in results]
    return {name: names.count(name) for name in set(names)}


def test_an_argument_over_message_bytes_fails_at_the_sender() -> None:
    async def main() -> None:
        pn.arbiter(message_bytes=100_000)
        worker = await pn.spawn()
        for target in (worker, "arbiter"):
            # A list, which nobody passes by reference.
            error = await failure(pn.send(target, "size", [0] * 200_000))
            assert isinstance(error, ValueError)
            assert "100000" in str(error)
            assert await pn.send(target, "size", [0] * 20_000) == 20_000

    run(main)


@pytest.mark.parametrize("command", ["data", "fails"])
def test_a_reply_over_message_bytes_fails_the_ask(command: str) -> None:
    async def main() -> None:
        pn.arbiter(message_bytes=100_000)
        worker = await pn.spawn()
        by_value = (worker,) if command == "data" else (worker, "arbiter")
        for target in by_value:
            if command == "data":
                asked = pn.send(target, "data", 200_000)
            else:
                asked = ask(target, _fail_at_length)
            error = await failure(asked)
            assert isinstance(error, Exception), error
            assert await pn.send(target, "ping") == "pong"

    run(main)


def _fail_at_length(actor: Any) -> None:
    raise ValueError("x" * 200_000)


def test_a_limit_of_the_receiver_alone_refuses_the_message_only() -> None:
    async def main() -> None:
        worker = await pn.spawn(message_bytes=100_000)
        error = await failure(pn.send(worker, "size", b"x" * 200_000))
        assert isinstance(error, Exception)

    run(main)


# --- the arbiter itself ---


def test_the_arbiter_asks_itself_before_anything_is_spawned() -> None:
    async def main() -> None:
        assert await pn.send("arbiter", "add", 1, 2) == 3
        assert await pn.send("monitor", "ping") == "pong"
        assert await pn.send(pn.arbiter(), "ping") == "pong"
        assert await pn.send(pn.get_actor().proxy, "ping") == "pong"

    run(main)


def test_no_command_runs_inside_the_callers_send() -> None:
    async def main() -> None:
        seen = len(commands.heard)
        pn.send("arbiter", "hear", "here")
        assert len(commands.heard) == seen
        await pn.send("arbiter", "ping")
        assert commands.heard[seen:] == ["here"]

    run(main)


def test_asks_in_debug_mode_log_nothing(caplog: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn(debug=True)
        for _ in range(100):
            await pn.send(worker, "add", 1)
            await pn.send(worker, "nap", 0)

    with caplog.at_level(logging.WARNING):
        run(main, debug=True)
    slow = [r for r in caplog.records if "took" not in r.getMessage()]
    assert slow == []
