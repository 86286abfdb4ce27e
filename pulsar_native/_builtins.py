"""The commands that every actor has."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from ._claims import Claims
from ._down import Down
from ._lending import take
from ._native import Request
from ._ties import Ties, stop_because
from .commands import Command, table
from .exceptions import CommandError, HaltServer
from .proxy import ActorProxy

__all__ = ["call", "table"]


def _builtin(ack: bool = True) -> Callable[[Callable[..., Any]], Any]:
    def register(function: Callable[..., Any]) -> Command[..., Any]:
        made: Command[..., Any] = Command(function.__name__, function, ack)
        table[made.name] = made  # serial 0: known everywhere
        return made

    return register


@_builtin()
def ping(request: Request) -> str:
    """Answer 'pong'."""
    return "pong"


@_builtin()
def echo(request: Request, message: Any) -> Any:
    """Answer with the message."""
    return message


@_builtin()
async def info(request: Request) -> dict[str, Any] | None:
    """Answer with the actor's ``info()``, after its ``on_info`` hooks."""
    found: dict[str, Any] | None = await request.actor._full_info()
    return found


@_builtin()
def run(
    request: Request,
    function: Callable[..., Any],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Call ``function(actor, *args, **kwargs)``; await what it gives."""
    return function(request.actor, *args, **kwargs)


@_builtin()
def call(
    request: Request,
    function: Callable[..., Any],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Call ``function(*args, **kwargs)``; await what it gives."""
    return function(*args, **kwargs)


@_builtin()
def _pull(request: Request, token: int) -> Any:
    """Stream from an iterator that was lent as an argument."""
    return take(token)


@_builtin(ack=False)
def _halt(request: Request, reason: str, exit_code: int) -> None:
    """An actor has raised HaltServer: end the program, if this is one."""
    actor: Any = request.actor
    actor._halt(HaltServer(reason, exit_code))


@_builtin(ack=False)
def stop(request: Request) -> None:
    """Stop the actor gracefully."""
    request.actor.stop()


@_builtin()
async def _drain(request: Request, seconds: float | None) -> None:
    """Finish what it has, and stop; answer as that begins. The core turns
    away what comes behind this."""
    with _aside(request.actor):
        await request.actor._drain(seconds)


@_builtin()
async def _end(request: Request, drains: bool, seconds: float | None) -> None:
    """Stop, at once or, an arbiter, once all it has has drained."""
    if drains:
        await request.actor._drain(seconds)
    else:
        request.actor.stop()


@_builtin()
async def _stop_actor(
    request: Request, target: Any, drains: bool, seconds: float | None
) -> None:
    """Stop an actor that the caller cannot stop; answer once it has ended."""
    from ._draining import stop_target

    actor: Any = request.actor
    with _aside(actor):
        await stop_target(actor, target, drains, seconds)


@_builtin(ack=False)
def _kill(request: Request, target: Any) -> None:
    """Kill an actor that the caller cannot kill."""
    from ._draining import kill_target

    actor: Any = request.actor
    kill_target(actor, target)


@contextlib.contextmanager
def _aside(actor: Any) -> Iterator[None]:
    """The command that runs is none for which its actor's end waits."""
    task = asyncio.current_task()
    actor = getattr(actor, "_node", actor)
    actor._aside.add(task)
    try:
        yield
    finally:
        actor._aside.discard(task)


@_builtin()
async def kill_actor(
    request: Request, aid: Any, timeout: float = 5
) -> str | None:
    """Stop an actor that the arbiter or a monitor of it manages, or a whole
    monitor; answer once it has ended."""
    from ._draining import stop_target

    actor: Any = request.actor
    if not actor.is_arbiter():
        return None
    ended = stop_target(actor, aid, False, None)
    await asyncio.wait([ended], timeout=timeout)
    if not ended.done():
        actor.logger.warning("%s has not stopped within %s s", aid, timeout)
        return None
    ended.result()
    return f"killed {getattr(aid, 'aid', aid)}"


@_builtin()
def notify(request: Request, info: dict[str, Any]) -> float:
    """Keep what the caller tells of itself; answer with the time."""
    now = time.time()
    request.actor._notified(request.caller, info, now)
    return now


@_builtin()
def spawn(
    request: Request, cls: Any = None, /, *args: Any, **params: Any
) -> Any:
    """Spawn an actor; answer with its proxy after the handshake."""
    return request.actor.spawn(cls, *args, **params)


@_builtin()
async def _spawn_child(
    request: Request, making: Any, /, **options: Any
) -> ActorProxy:
    """As ``spawn``, of an actor that ends with the caller's node."""
    from ._orphans import stop_with

    manager: Any = request.actor
    made: ActorProxy = await manager.spawn(making, **options)
    stop_with(manager, made.number, request.caller.number)
    return made


@_builtin()
def claim(request: Request, proxy: ActorProxy, names: list[str]) -> None:
    """Let *names* lead to an actor that lives in the caller's node."""
    _claims_of(request).take(request.caller, proxy, names)


@_builtin(ack=False)
def release(request: Request, number: int, down: Down) -> None:
    """That actor has ended."""
    _claims_of(request).release(request.caller, number, down)


@_builtin()
def _tie(request: Request, id: int, one: Any, other: Any) -> None:
    """Have the arbiter bind two fates."""
    _ties_of(request).tie(id, one, other)


@_builtin(ack=False)
def _untie(request: Request, id: int) -> None:
    """Have it loose them."""
    _ties_of(request).untie(id)


@_builtin(ack=False)
def _stop_because(request: Request, reason: str) -> None:
    """Stop the actor gracefully, for that reason."""
    stop_because(request.actor, reason)


def _ties_of(request: Request) -> Ties:
    ties = getattr(request.actor, "_ties", None)
    if not isinstance(ties, Ties):
        raise CommandError(f"{request.actor!r} keeps no ties")
    return ties


def _claims_of(request: Request) -> Claims:
    claims = getattr(request.actor, "_claims", None)
    if not isinstance(claims, Claims):
        raise CommandError(f"{request.actor!r} keeps no names")
    return claims


@_builtin()
def config(request: Request, action: str, name: str, *values: Any) -> Any:
    """``config('get', name)`` or ``config('set', name, value)``."""
    cfg = request.actor.cfg
    if action.lower() == "get" and not values:
        return cfg.get(name)
    if action.lower() == "set" and len(values) == 1:
        cfg.set(name, values[0])
        request.actor._apply_limits()
        return True
    raise CommandError(
        f"config takes ('get', name) or ('set', name, value), not "
        f"{(action, name, *values)!r}"
    )
