"""What actors say to each other: ``send``, ``tell``, ``call``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import (
    Any,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    overload,
)

from ._builtins import call as _call
from ._context import get_actor, owner
from ._native import BaseCommand, Scope, current_cell
from ._progress import OnProgress, watch
from ._retry import send_again
from ._scope import deadline, last_deadline
from .actor import Actor
from .arbiter import latest_of_main, use_actor
from .commands import Command, Method, is_kill
from .proxy import ActorProxy

__all__ = ["Target", "call", "send", "send_threadsafe", "tell"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

Target: TypeAlias = ActorProxy[Any] | Actor | str
"""Who gets a message: a proxy, an actor, an aid or a name."""


class Sender(Protocol):
    """Sends, as ``send`` does."""

    @overload
    def __call__(
        self,
        target: ActorProxy[S] | Actor | str,
        command: Method[S, P, Any, R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> asyncio.Future[R]: ...
    @overload
    def __call__(
        self,
        target: Target,
        command: Command[P, R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> asyncio.Future[R]: ...
    @overload
    def __call__(
        self, target: Target, command: str, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[Any]: ...


class Send(Sender, Protocol):
    """The type of ``send``."""

    def options(
        self,
        *,
        deadline: float | None = None,
        on_progress: OnProgress | None = None,
        retry: bool = False,
        on_deadline: Literal["kill"] | None = None,
    ) -> Sender:
        """``send`` with options, since its own keywords are the command's.

        *deadline*, in seconds from each call on, is as ``with deadline(...)``
        around it. *on_progress* is called as ``f(done, total, note)``, in the
        loop, with what the command says by ``request.progress``, until the
        future is done; total is None if it is not known. With *retry* an ask
        that a role's actor had when it ended is sent again to the next one,
        so the command may run more than once; the target must be a Role, else
        the call raises TypeError. With *on_deadline* "kill" a plain function
        that is past its deadline costs its process; see ``command``. Raises
        TypeError for what is no option, and TypeError or ValueError for a
        *deadline* or an *on_deadline* that cannot be.
        """


def _options(**options: Any) -> Callable[..., asyncio.Future[Any]]:
    seconds = options.pop("deadline", None)
    on_progress = options.pop("on_progress", None)
    retry = options.pop("retry", False)
    on_deadline = options.pop("on_deadline", None)
    for name in options:
        raise TypeError(f"send has no option {name!r}")
    Scope(seconds)  # refuses what cannot be
    limit = last_deadline if is_kill(on_deadline) else deadline
    if on_progress is not None and not callable(on_progress):
        raise TypeError(f"on_progress must be callable, not {on_progress!r}")

    def send_with_options(
        target: Any, command: Any, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[Any]:
        with limit(seconds):
            if retry:
                future = send_again(target, command, args, kwargs)
            else:
                future = send(target, command, *args, **kwargs)
        if on_progress is not None:
            watch(future, on_progress)
        return future

    return send_with_options


def _with_options(function: Callable[..., Any]) -> Send:
    vars(function)["options"] = _options
    return cast(Send, function)


@_with_options
def send(
    target: Any, command: Any, /, *args: Any, **kwargs: Any
) -> asyncio.Future[Any]:
    """Ask *target* to run *command*; the future is its reply.

    *target* is a proxy, an actor, an aid, a name, ``'arbiter'`` or
    ``'monitor'``. *command* is a name, or what ``command`` has made of a
    function or of a method. The message leaves whether or not the future is
    awaited. A command without a reply gives None as soon as it is accepted.

    Cancelling the future, or a timeout around it, ends the waiting; a command
    that has not begun is dropped, the coroutine of one that runs is
    cancelled, and what it asked in its turn; a plain function runs on.

    The future fails with what the command raised, ActorDown if the target
    ends before it replies, AskTimeout at the ``deadline`` around the call,
    ActorNotFound, CommandNotFound, MailboxFull, MessageTooBig, or with what
    pickling raised. Raises RuntimeError off the
    loop's thread, TypeError for a target or command of another type,
    ForkedError for a proxy from before a fork.
    """
    cell = current_cell() or use_actor().mailbox
    return cell.send(target, command, args, kwargs)


@overload
def tell(
    target: ActorProxy[S] | Actor | str,
    command: Method[S, P, Any, Any],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> asyncio.Future[None]: ...
@overload
def tell(
    target: Target,
    command: Command[P, Any],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> asyncio.Future[None]: ...
@overload
def tell(
    target: Target, command: str, /, *args: Any, **kwargs: Any
) -> asyncio.Future[None]: ...
def tell(
    target: Any, command: Any, /, *args: Any, **kwargs: Any
) -> asyncio.Future[None]:
    """Have *target* run *command* without a reply.

    The future is None once the message is accepted; it fails, and the call
    raises, as ``send`` does for what is known at the sender. What the command
    raises is logged by the target.
    """
    cell = current_cell() or use_actor().mailbox
    return cell.tell(target, command, args, kwargs)


@overload
def call(
    target: Target,
    function: Callable[P, Awaitable[R]],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> asyncio.Future[R]: ...
@overload
def call(
    target: Target,
    function: Callable[P, R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> asyncio.Future[R]: ...
def call(
    target: Any, function: Any, /, *args: Any, **kwargs: Any
) -> asyncio.Future[Any]:
    """Have *target* call ``function(*args, **kwargs)``; the future is what
    that gives, awaited if it can be.

    The function goes by name where the target can import it, else by value.
    Fails as ``send`` does; raises TypeError for what cannot be called, and
    for a command, which goes by ``send``.
    """
    if isinstance(function, BaseCommand):
        raise TypeError(f"{function!r} is a command: use send")
    if not callable(function):
        raise TypeError(f"call takes a callable, not {function!r}")
    return send(target, _call, function, *args, **kwargs)


@overload
def send_threadsafe(
    target: ActorProxy[S] | Actor | str,
    command: Method[S, P, Any, R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Future[R]: ...
@overload
def send_threadsafe(
    target: Target,
    command: Command[P, R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Future[R]: ...
@overload
def send_threadsafe(
    target: Target, command: str, /, *args: Any, **kwargs: Any
) -> Future[Any]: ...
def send_threadsafe(
    target: Any, command: Any, /, *args: Any, **kwargs: Any
) -> Future[Any]:
    """``send`` from any thread; gives a ``concurrent.futures.Future``.

    The sender is the current actor: known in the threads of its
    ``executor()``; else the actor whose process this is, or the main
    thread's arbiter. RuntimeError if there is none. The loop's own thread
    must not wait for the result.
    """
    actor = get_actor() or owner() or latest_of_main()
    if actor is None or actor.stopped():
        raise RuntimeError("no actor runs in this process")
    return actor.send_threadsafe(target, command, *args, **kwargs)
