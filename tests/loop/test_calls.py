"""call_soon and its handles: order, cancelling, contexts, errors, debug."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
import weakref
from typing import Any

import pytest

import pulsar_native as pn


def turn(loop: pn.Loop) -> None:
    """One turn: what is ready now, and nothing that this makes ready."""
    loop.stop()
    loop.run_forever()


def test_calls_come_in_order_and_those_they_make_a_turn_later(
    loop: pn.Loop,
) -> None:
    seen: list[int] = []

    def first() -> None:
        seen.append(1)
        loop.call_soon(seen.append, 3)

    loop.call_soon(first)
    loop.call_soon(seen.append, 2)
    turn(loop)
    assert seen == [1, 2]
    turn(loop)
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_arguments_arrive(loop: pn.Loop, count: int) -> None:
    seen: list[Any] = []
    loop.call_soon(lambda *args: seen.append(args), *range(count))
    loop.call_soon_threadsafe(lambda *args: seen.append(args), *range(count))
    loop.call_later(0, lambda *args: seen.append(args), *range(count))
    turn(loop)
    assert seen == [tuple(range(count))] * 3


def test_cancelled_call_is_not_made_and_lets_go(loop: pn.Loop) -> None:
    class Callback:
        def __call__(self) -> None:
            raise AssertionError("it was called")

    callback = Callback()
    gone = weakref.ref(callback)
    handle = loop.call_soon(callback)
    assert not handle.cancelled()
    handle.cancel()
    handle.cancel()
    assert handle.cancelled()
    del callback
    assert gone() is None
    turn(loop)


def test_cancelling_itself_while_it_runs_is_harmless(loop: pn.Loop) -> None:
    seen: list[Any] = []
    handles: list[asyncio.Handle] = []

    def callback(text: str) -> None:
        handles.pop().cancel()
        gc.collect()
        seen.append(text * 2)

    handles.append(loop.call_soon(callback, "ab" * 100))
    turn(loop)
    assert seen == ["ab" * 200]


def test_handles_are_asyncios_own(loop: pn.Loop) -> None:
    soon = loop.call_soon(print, 1)
    later = loop.call_later(50, print, 2)
    assert isinstance(soon, asyncio.Handle)
    assert not isinstance(soon, asyncio.TimerHandle)
    assert isinstance(later, asyncio.TimerHandle)
    for handle in (soon, later):
        assert handle._callback is print  # type: ignore[attr-defined]
        assert handle._loop is loop  # type: ignore[attr-defined]
        assert isinstance(handle._context, contextvars.Context)  # type: ignore[attr-defined]
        assert weakref.ref(handle)() is handle
        assert "print" in repr(handle)
        with pytest.raises(AttributeError):
            handle.anything = 1  # type: ignore[attr-defined]
    assert soon._args == (1,)  # type: ignore[attr-defined]
    assert later.when() == later._when  # type: ignore[attr-defined]
    assert later._scheduled  # type: ignore[attr-defined]
    later.cancel()
    assert "cancelled" in repr(later)


def test_handles_of_others_run_too(loop: pn.Loop) -> None:
    seen: list[int] = []
    handle = asyncio.Handle(seen.append, (1,), loop)
    cancelled = asyncio.Handle(seen.append, (2,), loop)
    loop._add_callback(handle)
    loop._add_callback(cancelled)
    cancelled.cancel()
    loop._add_callback(cancelled)
    loop._ready.append(handle)
    turn(loop)
    assert seen == [1, 1]


def test_queue_and_timers_can_be_looked_at(loop: pn.Loop) -> None:
    soon = loop.call_soon(print)
    late = loop.call_later(60, print)
    early = loop.call_later(50, print)
    assert list(loop._ready) == [soon]
    assert len(loop._ready) == 1 and loop._ready
    assert loop._scheduled[0] is early
    assert set(loop._scheduled) == {early, late}
    assert loop._ready.popleft() is soon
    with pytest.raises(IndexError):
        loop._ready.popleft()
    loop._scheduled.clear()
    assert not loop._scheduled


# --- contexts ---

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


def test_call_has_the_context_of_who_made_it_or_the_one_given(
    loop: pn.Loop,
) -> None:
    seen: list[str] = []
    variable.set("made")
    other = contextvars.copy_context()
    other.run(variable.set, "given")
    loop.call_soon(lambda: seen.append(variable.get()))
    loop.call_soon(lambda: seen.append(variable.get()), context=other)
    loop.call_later(0, lambda: seen.append(variable.get()), context=other)
    loop.call_soon(lambda: seen.append(variable.get()), context=None)
    variable.set("later")
    turn(loop)
    turn(loop)
    assert sorted(seen) == ["given", "given", "made", "made"]


def test_context_that_is_entered_already_is_reported(
    loop: pn.Loop, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    context = contextvars.copy_context()

    def inside() -> None:
        loop.call_soon(seen.append, 1, context=context)
        turn(loop)

    context.run(inside)
    assert not seen
    assert "is already entered" in caplog.text


# --- errors ---


def test_error_goes_to_the_exception_handler_and_the_rest_runs(
    loop: pn.Loop,
) -> None:
    said: list[dict[str, Any]] = []
    seen: list[int] = []
    loop.set_exception_handler(lambda loop, context: said.append(context))

    def fails() -> None:
        raise ValueError("so")

    handle = loop.call_soon(fails)
    loop.call_soon(seen.append, 1)
    turn(loop)
    assert seen == [1]
    [context] = said
    assert str(context["exception"]) == "so"
    assert context["handle"] is handle
    assert context["message"].startswith("Exception in callback")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_leaves_the_loop_which_can_go_on(
    loop: pn.Loop, error: type[BaseException]
) -> None:
    seen: list[int] = []

    def ends() -> None:
        raise error

    loop.call_soon(ends)
    loop.call_soon(seen.append, 1)
    with pytest.raises(error):
        loop.run_forever()
    assert not loop.is_running()
    turn(loop)
    assert seen == [1]


def test_wrong_arguments_are_type_errors(loop: pn.Loop) -> None:
    wrong: Any = loop
    for call in (
        lambda: wrong.call_soon(),
        lambda: wrong.call_soon(print, anything=1),
        lambda: wrong.call_later(1),
        lambda: wrong.call_later(None, print),
        lambda: wrong.call_later("1", print),
        lambda: wrong.call_at(None, print),
        lambda: wrong.call_at("x", print),
        lambda: wrong.call_at(1),
    ):
        with pytest.raises(TypeError):
            call()
    assert not loop._ready and not loop._scheduled


def test_callback_may_be_given_by_name(loop: pn.Loop) -> None:
    seen: list[int] = []
    loop.call_soon(callback=lambda: seen.append(1))
    loop.call_later(delay=0, callback=lambda: seen.append(2))
    turn(loop)
    turn(loop)
    assert sorted(seen) == [1, 2]


def test_closed_loop_takes_nothing(loop: pn.Loop) -> None:
    loop.close()
    for call in (
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
        lambda: loop.add_reader(0, print),
        lambda: loop.run_forever(),
    ):
        with pytest.raises(RuntimeError, match=r"^Event loop is closed$"):
            call()
    assert loop.remove_reader(0) is False


# --- debug mode ---


def test_debug_mode_finds_coroutines_and_wrong_threads(loop: pn.Loop) -> None:
    loop.set_debug(True)

    async def coroutine() -> None:
        pass

    wrong: Any = loop
    for what in (coroutine, 1):
        with pytest.raises(TypeError, match="call_soon"):
            wrong.call_soon(what)
        with pytest.raises(TypeError, match="call_at"):
            wrong.call_later(1, what)

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"Non-thread-safe"):
            await asyncio.to_thread(loop.call_soon, print)

    loop.run_until_complete(main())


def test_debug_mode_tells_where_a_handle_was_made(loop: pn.Loop) -> None:
    loop.set_debug(True)
    handle: Any = loop.call_soon(print)
    line = sys._getframe().f_lineno - 1
    assert handle._source_traceback[-1].lineno == line
    assert f"created at {__file__}:{line}" in repr(handle)


def test_debug_mode_warns_of_slow_calls(
    loop: pn.Loop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    seen: list[Any] = []
    loop.call_soon(lambda: seen.append(loop._current_handle))
    with caplog.at_level(logging.WARNING, "asyncio"):
        turn(loop)
    assert isinstance(seen[0], asyncio.Handle)
    assert loop._current_handle is None
    assert any("Executing" in r.getMessage() for r in caplog.records)
