"""Commands: functions that an actor runs on request."""

from __future__ import annotations

import importlib
import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from . import _pickling
from ._importable import is_importable
from ._native import BaseCommand, Request
from .exceptions import CommandError, CommandNotFound

__all__ = [
    "Command",
    "command",
    "dump_since",
    "get_command",
    "latest_serial",
    "load",
    "table",
]

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("pulsar_native.commands")

# Commands of this process by name; a command that another process has sent
# stands here too, unless this process registered the name itself.
table: dict[str, Command[..., Any]] = {}

_serials = itertools.count(1)
_latest = 0


class Command(BaseCommand, Generic[P, R]):
    """A function registered by ``command``.

    *name* is what it is sent by, *function* the function itself, *ack*
    whether the sender gets a reply. ``send`` takes it in place of its name.
    """

    def __init__(
        self,
        name: str,
        function: Callable[Concatenate[Request, P], R] | None,
        ack: bool = True,
    ) -> None:
        self.name = name
        self.ack = ack
        self.serial = 0
        self.__name__ = name
        if function is not None:
            self._adopt(function)

    def _adopt(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__doc__ = function.__doc__
        self.__module__ = getattr(function, "__module__", "") or ""
        self.__qualname__ = getattr(function, "__qualname__", self.name)
        self.__wrapped__ = function

    def __call__(
        self,
        request: Request,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> R:
        """Run the function here, with (request, args, kwargs)."""
        result: R = self.function(request, *args, **(kwargs or {}))
        return result

    def __repr__(self) -> str:
        return f"<Command {self.name}>"

    def __reduce__(self) -> Any:
        if self._is_importable():
            return self.__qualname__
        # Empty first, then the function: it may refer to its own command.
        return _bare, (self.name, self.ack), self.function, None, None, _fill

    def _is_importable(self) -> bool:
        found: Any = sys.modules.get(self.__module__)
        for part in self.__qualname__.split("."):
            found = getattr(found, part, None)
        return found is self and is_importable(self.__module__)


def _bare(name: str, ack: bool) -> Command[..., Any]:
    return Command(name, None, ack)


def _fill(bare: Command[..., Any], function: Callable[..., Any]) -> None:
    bare._adopt(function)


def command(
    ack: bool = True,
) -> Callable[[Callable[Concatenate[Request, P], R]], Command[P, R]]:
    """Register a function as a command, under its lower-cased name.

    It is called as ``function(request, *args, **kwargs)``, with
    ``request.actor``, ``request.caller`` and ``request.connection``; it may
    be a coroutine function, or return any awaitable. With *ack* False its
    sender gets no reply. The same name again replaces the former.

    Actors that run already know the command too, as soon as somebody of this
    process sends it to them.
    """
    if not isinstance(ack, bool):
        raise TypeError("write @command(), with parentheses")

    def register(
        function: Callable[Concatenate[Request, P], R],
    ) -> Command[P, R]:
        if not callable(function):
            raise TypeError(f"a command must be callable, not {function!r}")
        made = Command(function.__name__.lower(), function, ack)
        _shipped.discard(made.name)
        return _add(made)

    return register


def _add(made: Command[P, R]) -> Command[P, R]:
    global _latest
    made.serial = _latest = next(_serials)
    table[made.name] = made
    return made


def get_command(name: str) -> Command[..., Any]:
    """The command of this name, without case; CommandNotFound if absent."""
    found = table.get(name.lower())
    if found is None:
        raise CommandNotFound(name)
    return found


# --- definitions on their way to other processes ---


def latest_serial() -> int:
    """The serial of the command registered last in this process."""
    return _latest


def dump_since(serial: int) -> bytes:
    """The commands registered after *serial*, for ``load``.

    Those of modules that the receiver can import go by name, and are
    imported when first used; others go by value. One that cannot be pickled
    is left out with a warning: nobody has sent it yet.
    """
    entries: list[tuple[str, bool, object]] = []
    for made in list(table.values()):
        if made.serial <= serial:
            continue
        if is_importable(made.__module__):
            entries.append((made.name, made.ack, made.__module__))
            continue
        try:
            pickled = _pickling.dumps(made.function)
        except Exception as error:
            logger.warning("command %s cannot travel: %s", made.name, error)
        else:
            entries.append((made.name, made.ack, pickled))
    return _pickling.dumps(entries)


def load(data: bytes) -> None:
    """Register what ``dump_since`` gave, except names registered here."""
    for name, ack, source in _pickling.loads(data):
        known = table.get(name)
        if known is not None and name not in _shipped:
            continue
        function = (
            _Importer(name, source)
            if isinstance(source, str)
            else _unpickled(name, source)
        )
        if function is not None:
            _shipped.add(name)
            _add(Command(name, function, ack))


_shipped: set[str] = set()


def _unpickled(name: str, pickled: bytes) -> Callable[..., Any] | None:
    try:
        function: Callable[..., Any] = _pickling.loads(pickled)
    except Exception:
        logger.exception("the definition of command %s is of no use", name)
        return None
    return function


class _Importer:
    """Stands for a command of a module that is not imported yet."""

    def __init__(self, name: str, module: str) -> None:
        self.name = name
        self.__module__ = module
        self.__qualname__ = self.__name__ = name

    def __call__(self, request: Request, /, *args: Any, **kwargs: Any) -> Any:
        importlib.import_module(self.__module__)
        found = table.get(self.name)
        if found is None or found.function is self:
            raise CommandNotFound(self.name)
        return found.function(request, *args, **kwargs)


# --- the commands that every actor has ---


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


@_builtin(ack=False)
def stop(request: Request) -> None:
    """Stop the actor gracefully."""
    request.actor.stop()


@_builtin()
def notify(request: Request, info: dict[str, Any]) -> float:
    """Keep what the caller tells of itself; answer with the time."""
    now = time.time()
    request.actor._notified(request.caller, info, now)
    return now


@_builtin()
def spawn(request: Request, /, **params: Any) -> Any:
    """Spawn an actor; answer with its proxy after the handshake."""
    return request.actor.spawn(**params)


@_builtin()
def config(request: Request, action: str, name: str, *values: Any) -> Any:
    """``config('get', name)`` or ``config('set', name, value)``."""
    cfg = request.actor.cfg
    if action.lower() == "get" and not values:
        return cfg.get(name)
    if action.lower() == "set" and len(values) == 1:
        cfg.set(name, values[0])
        return True
    raise CommandError(
        f"config takes ('get', name) or ('set', name, value), not "
        f"{(action, name, *values)!r}"
    )
