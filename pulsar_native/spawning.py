"""``spawn``, and what type checkers see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from ._making import Making, is_option
from .arbiter import use_actor
from .utils.config import Config

if TYPE_CHECKING:
    from ._monitor import ActorProxyMonitor

__all__ = ["SpawnOptions", "spawn"]

P = ParamSpec("P")
T = TypeVar("T")

_Hooks: TypeAlias = Callable[..., Any] | Sequence[Callable[..., Any]] | None


class SpawnOptions(TypedDict, total=False):
    """The keywords that ``spawn`` keeps for itself."""

    kind: str | None
    name: str | None
    aid: str | None
    cfg: Config | None
    extra: dict[str, Any]
    # hooks
    start: _Hooks
    stopping: _Hooks
    periodic_task: _Hooks
    on_info: _Hooks
    on_params: _Hooks
    # settings
    timeout: float
    drain_timeout: float
    exit_timeout: float
    spawn_timeout: float
    concurrency: str
    workers: int
    thread_workers: int
    logging: str
    preload: Sequence[str]
    reserve: int
    message_bytes: int
    outbox_messages: int
    outbox_bytes: int
    link_idle: float
    mailbox_messages: int
    mailbox_bytes: int
    mailbox_policy: str
    max_inflight: int
    ask_timeout: float | None
    slow: float
    spin: float
    debug: bool


class Spawner(Protocol):
    """Spawns actors with options that are settled."""

    @overload
    def __call__(
        self, cls: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[ActorProxyMonitor[T]]: ...
    @overload
    def __call__(
        self, /, **attributes: Any
    ) -> asyncio.Future[ActorProxyMonitor[None]]: ...


class Spawn(Protocol):
    """The type of ``spawn``."""

    @overload
    def __call__(
        self, cls: type[T], /, *args: Any, **params: Any
    ) -> asyncio.Future[ActorProxyMonitor[T]]: ...
    @overload
    def __call__(
        self, /, **params: Any
    ) -> asyncio.Future[ActorProxyMonitor[None]]: ...

    def options(self, **options: Unpack[SpawnOptions]) -> Spawner:
        """``spawn`` with these options: all that is given to what this gives
        is the constructor's, or an attribute if there is no class.

        Raises TypeError for what is no option.
        """


def _options(**options: Any) -> Callable[..., asyncio.Future[Any]]:
    for name in options:
        if not is_option(name):
            raise TypeError(f"spawn has no option {name!r}")

    def spawn_with_options(
        cls: type | None = None, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[Any]:
        actor = use_actor()
        if cls is None:
            return actor.spawn(None, *args, **options, **kwargs)
        return actor.spawn(Making(cls, args, kwargs), **options)

    return spawn_with_options


def _with_options(function: Callable[..., Any]) -> Spawn:
    vars(function)["options"] = _options
    return cast(Spawn, function)


@_with_options
def spawn(
    cls: type | None = None, /, *args: Any, **params: Any
) -> asyncio.Future[Any]:
    """Start an actor; the future is its proxy, after its handshake.

    With a class the actor has an object of it, ``actor.instance``, made there
    by ``cls(*args, **kwargs)`` before any hook runs; its methods that are
    commands are the actor's. Options are taken out of the keywords; all
    others are the constructor's. ``spawn.options(...)(cls, ...)`` keeps the
    two apart.

    The options: *kind* says in what it runs; *name*, 1 to 255 bytes of text,
    is unique among the arbiter's living actors; *aid* may be chosen; hooks
    (``start``, ``stopping``, ``periodic_task``, ``on_info``, ``on_params``)
    are a callable or a list of them; names of settings set them; *extra* is a
    dict. Without a class the rest become attributes of the actor: neither
    names that an Actor has, nor ``_...``.

    In the arbiter's process the future has the attribute ``aid``. In another
    actor the arbiter is asked, and the new actor belongs to the arbiter.

    Raises at once: RuntimeError without a running loop, off its thread or
    when the arbiter stops; NameTaken; ValueError or TypeError for a kind,
    name, attribute or setting that cannot be (where the arbiter is asked, the
    future fails with them). The future fails with what the constructor
    raised, its remote traceback as the cause; with ActorStartError if the
    actor ends before its handshake, its ``start`` raises, or
    ``spawn_timeout`` seconds pass; and with what pickling raised if a
    parameter cannot be pickled.
    """
    return use_actor().spawn(cls, *args, **params)
