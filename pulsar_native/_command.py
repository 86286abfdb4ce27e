"""What ``command`` makes of functions and methods.

                       a result        a stream of items
    a function         Command         StreamCommand
    a method           Method          StreamMethod

The type parameters are there for type checkers, which see by them what
``send`` takes and gives: P the arguments without the first one, R the result
as it is awaited, T an item, S the class of a method, C what calling a method
gives.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterable
from types import FunctionType, MethodType
from typing import (
    Any,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    overload,
)

from . import _context
from ._importable import is_importable
from ._native import BaseCommand, Request
from .exceptions import CommandError

__all__ = [
    "AnyCommand",
    "Command",
    "Method",
    "Serializer",
    "StreamCommand",
    "StreamMethod",
    "make_command",
    "methods_of",
]

P = ParamSpec("P")
C_co = TypeVar("C_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)
S_contra = TypeVar("S_contra", contravariant=True)


class Serializer(Protocol):
    """What a command may have in place of pickle."""

    def dumps(self, value: Any, /) -> bytes:
        """*value*, an argument or a result, as bytes."""

    def loads(self, data: bytes, /) -> Any:
        """The value of what ``dumps`` gave, in another process."""


class AnyCommand(BaseCommand):
    """The base of the four types of commands.

    *name* is what it is sent by, *ack* whether its sender gets a reply,
    *method* whether it is called with the actor's own object in place of a
    request, *thread* whether it runs in the actor's executor, *owner* the
    class of a method, *serializer* what dumps its arguments and its result in
    place of pickle, or None, *kill* whether it costs its process when it is
    past its deadline. *function* is what the actor calls;
    ``__wrapped__`` is the function itself.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        ack: bool = True,
        thread: bool = False,
        serializer: Serializer | None = None,
        kill: bool = False,
    ) -> None:
        self._fill(name, ack, thread, serializer, None, "", function, kill)

    def _fill(
        self,
        name: str,
        ack: bool,
        thread: bool,
        serializer: Serializer | None,
        owner: type | None,
        attribute: str,
        function: Callable[..., Any],
        kill: bool,
    ) -> None:
        self.kill = kill
        self.name = self.__name__ = name
        self.ack = ack
        self.method = isinstance(self, Method | StreamMethod)
        self.wire = (".", ":")[not self.method] + name
        self.thread = thread
        self.serializer = serializer
        self.serial = 0
        self.owner = owner
        self.attribute = attribute
        self.function = _InThread(function) if thread else function
        self.__wrapped__ = function
        self.__doc__ = function.__doc__
        self.__module__ = getattr(function, "__module__", "") or ""
        self.__qualname__ = getattr(function, "__qualname__", name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def _serializer(self) -> Serializer:
        """What arguments that came serialized are loaded by: asked by the
        core where ``serializer`` is None."""
        found: Serializer | None = self.serializer
        if found is None and hasattr(self.function, "find"):
            found = self.function.find().serializer  # of a module not imported
        if found is None:
            raise CommandError(f"command {self.name} has no serializer here")
        return found

    def __set_name__(self, owner: type, attribute: str) -> None:
        # Again, if the class is made anew, as dataclass(slots=True) does; but
        # another class that has it as well does not own it.
        home = self.__qualname__.split(".")[-2:-1]
        if self.method and (self.owner is None or [owner.__name__] == home):
            self.owner = owner
            self.attribute = attribute

    # --- pickling ---

    def __reduce__(self) -> Any:
        owner = self.owner
        if owner is not None and vars(owner).get(self.attribute) is self:
            return getattr, (owner, self.attribute)
        if self.is_importable():
            return self.__qualname__
        return self.spell()

    def spell(self) -> Any:
        """As ``__reduce__``, but with all that it consists of: so a method
        goes as a part of its class."""
        state = (
            self.name,
            self.ack,
            self.thread,
            self.serializer,
            self.owner,
            self.attribute,
            self.__wrapped__,
            self.kill,
        )
        # Empty first, then the function: it may refer to its own command.
        return _bare, (type(self),), state, None, None, _fill_bare

    def is_importable(self) -> bool:
        """Whether other processes find it by its name in its module."""
        found: Any = sys.modules.get(self.__module__)
        for part in self.__qualname__.split("."):
            found = getattr(found, part, None)
        return found is self and is_importable(self.__module__)


def _bare(kind: type[AnyCommand]) -> AnyCommand:
    return kind.__new__(kind)


def _fill_bare(bare: AnyCommand, state: tuple[Any, ...]) -> None:
    bare._fill(*state)


class Command(AnyCommand, Generic[P, R_co]):
    """A function registered by ``command``.

    ``send`` takes it in place of its name.
    """

    def __call__(
        self,
        request: Request,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the function here, with (request, args, kwargs)."""
        return self.__wrapped__(request, *args, **(kwargs or {}))


class StreamCommand(AnyCommand, Generic[P, T_co]):
    """An asynchronous generator function registered by ``command``."""

    def __call__(
        self,
        request: Request,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> AsyncIterator[T_co]:
        """Run the function here, with (request, args, kwargs)."""
        items: AsyncIterator[T_co]
        items = self.__wrapped__(request, *args, **(kwargs or {}))
        return items


class Method(AnyCommand, Generic[S_contra, P, C_co, R_co]):
    """A method of a class, registered there by ``command``.

    As an attribute of the class ``send`` takes it; as an attribute of an
    object it is that object's method, as if nothing had decorated it.
    """

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[P, C_co]: ...
    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        return MethodType(self.__wrapped__, instance)

    def __call__(
        self, instance: S_contra, /, *args: P.args, **kwargs: P.kwargs
    ) -> C_co:
        """Call the method of *instance* here."""
        result: C_co = self.__wrapped__(instance, *args, **kwargs)
        return result


class StreamMethod(AnyCommand, Generic[S_contra, P, T_co]):
    """A method that is an asynchronous generator; otherwise as Method."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self, instance: object, owner: type
    ) -> Callable[P, AsyncIterator[T_co]]: ...
    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        return MethodType(self.__wrapped__, instance)

    def __call__(
        self, instance: S_contra, /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[T_co]:
        """Call the method of *instance* here."""
        items: AsyncIterator[T_co]
        items = self.__wrapped__(instance, *args, **kwargs)
        return items


def make_command(
    name: str,
    function: Callable[..., Any],
    *,
    method: bool,
    ack: bool,
    thread: bool,
    serializer: Serializer | None,
    kill: bool,
) -> AnyCommand:
    """A command of the type that fits. TypeError if it cannot be."""
    stream = inspect.isasyncgenfunction(function)
    if thread and (stream or inspect.iscoroutinefunction(function)):
        raise TypeError(
            f"{name} is asynchronous, and thread=True is for plain functions"
        )
    if kill and (thread or stream or inspect.iscoroutinefunction(function)):
        raise TypeError(
            f"{name} does not hold its actor's loop: on_deadline='kill' is "
            f"for plain functions without thread=True"
        )
    kind: type[AnyCommand]
    if method:
        kind = StreamMethod if stream else Method
    else:
        kind = StreamCommand if stream else Command
    return kind(name, function, ack, thread, serializer, kill)


# --- in a thread ---


class _InThread:
    """Runs a function in the executor of the actor that calls it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__ = function

    def __call__(
        self, first: Any, /, *args: Any, **kwargs: Any
    ) -> asyncio.Future[Any]:
        actor = _context.get_actor()
        if actor is None:
            raise RuntimeError("a command with thread=True needs an actor")
        call = functools.partial(self.__wrapped__, first, *args, **kwargs)
        # The executor runs it in a copy of the context that is current here.
        return actor._loop.run_in_executor(
            actor.executor(), _run_guarded, call
        )


def _run_guarded(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except StopIteration as error:  # a future refuses it
        raise RuntimeError("a command raised StopIteration") from error


# --- the commands of a class ---


class _Table(dict[str, AnyCommand]):
    """The commands of a class; one for all its actors, and as long as they."""

    __slots__ = ("__weakref__",)


_tables: weakref.WeakKeyDictionary[type, weakref.ref[_Table]]
_tables = weakref.WeakKeyDictionary()


def methods_of(cls: type) -> dict[str, AnyCommand]:
    """The commands that are methods of *cls*, by name; not to be changed.

    Those of its bases too. What overrides a command without being decorated
    takes its place, if it is a function; otherwise the command is gone.
    """
    known = _tables.get(cls)
    table = None if known is None else known()
    if table is None:
        table = _collect_methods(cls)
        _tables[cls] = weakref.ref(table)
    return table


def _collect_methods(cls: type) -> _Table:
    by_attribute: dict[str, AnyCommand] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            if isinstance(value, AnyCommand) and value.method:
                by_attribute[attribute] = value
            elif attribute in by_attribute:
                overridden = by_attribute.pop(attribute)
                if isinstance(value, FunctionType):
                    by_attribute[attribute] = _with_function(overridden, value)
    return _Table((found.name, found) for found in by_attribute.values())


def _with_function(
    command: AnyCommand, function: Callable[..., Any]
) -> AnyCommand:
    asynchronous = inspect.iscoroutinefunction(function)
    return make_command(
        command.name,
        function,
        method=True,
        ack=command.ack,
        thread=command.thread and not asynchronous,
        serializer=command.serializer,
        kill=command.kill and not asynchronous,
    )
