"""The commands of this process: registered, found, sent to other processes."""

from __future__ import annotations

import importlib
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import (
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from . import _pickling
from ._command import (
    AnyCommand,
    Command,
    Method,
    Serializer,
    StreamCommand,
    StreamMethod,
    make_command,
)
from ._native import Request
from .exceptions import CommandNotFound

__all__ = [
    "AnyCommand",
    "Command",
    "Method",
    "Serializer",
    "StreamCommand",
    "StreamMethod",
    "command",
    "dump_since",
    "get_command",
    "is_kill",
    "kills",
    "latest_serial",
    "load",
    "table",
]

P = ParamSpec("P")
C = TypeVar("C")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")

logger = logging.getLogger("pulsar_native.commands")

# Commands of this process by name; a command that another process has sent
# stands here too, unless this process registered the name itself.
table: dict[str, AnyCommand] = {}

# Whether this program has ever said that a command may cost its process.
kills = False

_serials = itertools.count(1)
_latest = 0


class Registering(Protocol):
    """The decorator that ``command`` gives, as type checkers see it.

    A function whose first parameter takes a Request is a command of its own,
    any other one a method.
    """

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, f: Callable[Concatenate[Request, P], AsyncIterator[T]], /
    ) -> StreamCommand[P, T]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, f: Callable[Concatenate[Request, P], Awaitable[R]], /
    ) -> Command[P, R]: ...
    @overload
    def __call__(
        self, f: Callable[Concatenate[Request, P], R], /
    ) -> Command[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, f: Callable[Concatenate[S, P], AsyncIterator[T]], /
    ) -> StreamMethod[S, P, T]: ...
    @overload
    def __call__(
        self, f: Callable[Concatenate[S, P], Coroutine[Any, Any, R]], /
    ) -> Method[S, P, Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(
        self, f: Callable[Concatenate[S, P], Awaitable[R]], /
    ) -> Method[S, P, Awaitable[R], R]: ...
    @overload
    def __call__(
        self, f: Callable[Concatenate[S, P], R], /
    ) -> Method[S, P, R, R]: ...


class RegisteringTell(Protocol):
    """The decorator of commands without a reply."""

    @overload
    def __call__(
        self, f: Callable[Concatenate[Request, P], Any], /
    ) -> Command[P, None]: ...
    @overload
    def __call__(
        self, f: Callable[Concatenate[S, P], C], /
    ) -> Method[S, P, C, None]: ...


@overload
def command(  # type: ignore[overload-overlap]
    ack: Literal[False],
    *,
    name: str | None = None,
    thread: bool = False,
    serializer: Serializer | None = None,
    on_deadline: Literal["kill"] | None = None,
) -> RegisteringTell: ...
@overload
def command(
    ack: bool = True,
    *,
    name: str | None = None,
    thread: bool = False,
    serializer: Serializer | None = None,
    on_deadline: Literal["kill"] | None = None,
) -> Registering: ...
def command(
    ack: bool = True,
    *,
    name: str | None = None,
    thread: bool = False,
    serializer: Serializer | None = None,
    on_deadline: Literal["kill"] | None = None,
) -> Any:
    """Register a function or a method as a command.

    It is sent by *name*, or its own, in lower case. The same name again
    replaces the former.

    A function is called as ``function(request, *args, **kwargs)``, with
    ``request.actor``, ``request.caller`` and ``request.connection``. Actors
    that run already know the command too, as soon as somebody of this process
    sends it to them.

    What is defined in the body of a class is a method: a command of that
    class and its subclasses only, for actors that ``spawn`` makes of them. It
    is called as a method, without a request.

    Both may be coroutine functions, or return any awaitable. With *ack* False
    the sender gets no reply. With *thread* a plain function runs in a thread
    of the actor's ``executor()``, and the actor does other things meanwhile.

    With a *serializer*, an object with ``dumps(value) -> bytes`` and
    ``loads(bytes) -> value``, each argument and the result are dumped and
    loaded by that in place of pickle, whenever the sender knows the command
    (by its object, or since its module is imported); a sender that knows
    nothing but the name pickles, and gets a pickled answer. What the
    serializer raises is the ask's failure.

    With *on_deadline* "kill" a plain function that runs past the deadline of
    its ask costs the process of its actor: the ask fails with AskTimeout,
    what else the actor had with ActorDown. So does one for whose answer nobody
    waits any more, as its future was cancelled or its asker has ended. Only
    an actor that has a process runs it; a thread or coroutine refuses it with
    CommandError.

    Raises TypeError for what cannot be a command, and for *thread* or
    *on_deadline* with an asynchronous function, or both; ValueError for
    another *on_deadline*.
    """
    if not isinstance(ack, bool):
        raise TypeError("write @command(), with parentheses")
    if name is not None and (not isinstance(name, str) or not name):
        raise TypeError(f"the name of a command is a text, not {name!r}")
    if serializer is not None and not (
        callable(getattr(serializer, "dumps", None))
        and callable(getattr(serializer, "loads", None))
    ):
        raise TypeError(f"{serializer!r} has no dumps and loads")
    if name is not None and name[0] in ".:":
        raise ValueError(f"no name of a command begins as {name!r} does")

    kill = is_kill(on_deadline)

    def register(function: Callable[..., Any]) -> AnyCommand:
        if not callable(function):
            raise TypeError(f"a command must be callable, not {function!r}")
        method = _is_method(function)
        made = make_command(
            (name or function.__name__).lower(),
            function,
            method=method,
            ack=ack,
            thread=thread,
            serializer=serializer,
            kill=kill,
        )
        if not method:
            _shipped.discard(made.name)
            _add(made)
        return made

    return register


def is_kill(on_deadline: Any) -> bool:
    """Whether that is "kill", and not None; ValueError for all else."""
    global kills
    if on_deadline not in (None, "kill"):
        raise ValueError(f"on_deadline is 'kill' or None, not {on_deadline!r}")
    kills = kills or on_deadline is not None
    return on_deadline is not None


def _is_method(function: Any) -> bool:
    """Whether it is defined in the body of a class, and not static."""
    place = getattr(function, "__qualname__", "").rpartition(".")[0]
    return (
        bool(place)
        and not place.endswith("<locals>")
        and not isinstance(function, staticmethod)
    )


def _add(made: AnyCommand) -> None:
    global _latest
    made.serial = _latest = next(_serials)
    table[made.name] = made


def get_command(name: str) -> AnyCommand:
    """The command of this name, without case; CommandNotFound if absent.

    Methods are not among them.
    """
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

    Those that the receiver can import go by name, and are imported when
    first used; others go by value. One that cannot be pickled
    is left out with a warning: nobody has sent it yet.
    """
    entries: list[tuple[str, bool, object]] = []
    for made in list(table.values()):
        if made.serial <= serial:
            continue
        if made.is_importable():
            entries.append((made.name, made.ack, made.__module__))
            continue
        try:
            pickled = _pickling.dumps(made)
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
        made = (
            Command(name, _Importer(name, source), ack)
            if isinstance(source, str)
            else _unpickled(name, source)
        )
        if made is not None:
            _shipped.add(name)
            _add(made)


_shipped: set[str] = set()


def _unpickled(name: str, pickled: bytes) -> AnyCommand | None:
    try:
        made: AnyCommand = _pickling.loads(pickled)
    except Exception:
        logger.exception("the definition of command %s is of no use", name)
        return None
    return made


class _Importer:
    """Stands for a command of a module that is not imported yet."""

    def __init__(self, name: str, module: str) -> None:
        self.name = name
        self.__module__ = module
        self.__qualname__ = self.__name__ = name

    def find(self) -> AnyCommand:
        """That command, its module imported."""
        importlib.import_module(self.__module__)
        found = table.get(self.name)
        if found is None or found.function is self:
            raise CommandNotFound(self.name)
        return found

    def __call__(self, request: Request, /, *args: Any, **kwargs: Any) -> Any:
        return self.find().function(request, *args, **kwargs)
