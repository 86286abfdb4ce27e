"""``stream``: items of another actor, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from ._native import Scope, Stream, current_cell
from ._scope import deadline
from .actor import Actor
from .arbiter import use_actor
from .commands import StreamCommand, StreamMethod
from .messages import Target
from .proxy import ActorProxy

__all__ = ["Stream", "stream"]

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")

_WINDOW = 64


class Streamer(Protocol):
    """Asks for streams, as ``stream`` does."""

    @overload
    def __call__(
        self,
        target: ActorProxy[S] | Actor | str,
        command: StreamMethod[S, P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Stream[T]: ...
    @overload
    def __call__(
        self,
        target: Target,
        command: StreamCommand[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Stream[T]: ...
    @overload
    def __call__(
        self, target: Target, command: str, /, *args: Any, **kwargs: Any
    ) -> Stream[Any]: ...


class Ask(Streamer, Protocol):
    """The type of ``stream``."""

    def options(
        self, *, window: int = _WINDOW, deadline: float | None = None
    ) -> Streamer:
        """``stream`` with options, since its own keywords are the command's.

        *window*, 1 to 65536, is how many items may be under way or wait here
        untaken. *deadline*, in seconds from each call on, is as ``with
        deadline(...)`` around it: until then the stream must have ended.
        Raises TypeError for what is no option, and TypeError or ValueError
        for a *window* or *deadline* that cannot be.
        """


def _options(
    *, window: int = _WINDOW, deadline: float | None = None
) -> Callable[..., Stream[Any]]:
    if not isinstance(window, int):
        raise TypeError(f"a window is a number of items, not {window!r}")
    if not 1 <= window <= 65536:
        raise ValueError(f"a window is 1 to 65536 items, not {window}")
    Scope(deadline)  # refuses what cannot be

    def stream_with_options(
        target: Any, command: Any, /, *args: Any, **kwargs: Any
    ) -> Stream[Any]:
        cell = current_cell() or use_actor().mailbox
        with _deadline(deadline):
            return cell.stream(target, command, args, kwargs, window)

    return stream_with_options


_deadline = deadline


def _with_options(function: Callable[..., Any]) -> Ask:
    vars(function)["options"] = _options
    return cast(Ask, function)


@_with_options
def stream(
    target: Any, command: Any, /, *args: Any, **kwargs: Any
) -> Stream[Any]:
    """Ask *target* for a stream: an asynchronous iterator over what
    *command*, an asynchronous generator, yields there.

    async for row in pn.stream(worker, "rows", query):
        ...

    Arguments are as those of ``send``. The command may also be a plain
    generator, or return an asynchronous iterator. It is asked at once and
    runs ahead of its consumer, but only as far as the window allows: 64 items
    and 4 MiB (``stream.options``) that have not been taken.

    Leaving ends the command: at the end of an ``async with`` block, by
    ``aclose()``, or when nobody refers to the stream any more, as after a
    ``break``. The generator is closed then, its ``finally`` blocks run; that
    is not waited for.

    Iterating gives all items in order, then raises what the command raised,
    or ActorDown if the target has ended before; AskTimeout as soon as the
    ``deadline`` around the call has passed, ahead of items that wait; and
    what ``send`` fails with, CommandError for a command that gives no stream
    among that. Only one task may wait for an item at a time. Raises as
    ``send`` does.
    """
    cell = current_cell() or use_actor().mailbox
    return cell.stream(target, command, args, kwargs, _WINDOW)
