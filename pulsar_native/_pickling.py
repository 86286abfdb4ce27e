"""How values travel between actors of different processes.

``dumps`` is ``pickle.dumps`` of protocol 5, except that functions and
classes that the receiver cannot import go by value (``_byvalue``,
``_definitions``), and that large memory may stay outside (``_memory``).
``loads`` is ``pickle.loads``.

Exceptions travel with the text of their traceback; an exception that cannot
travel arrives as ``RemoteError``.
"""

from __future__ import annotations

import asyncio
import io
import pickle
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ._byvalue import ByValuePickler
from ._memory import keeper
from .exceptions import RemoteError, RemoteTraceback

__all__ = [
    "dumps",
    "dumps_exception",
    "explain",
    "is_plain",
    "loads",
    "loads_exception",
]

_E = TypeVar("_E", bound=BaseException)

_PROTOCOL = 5
_PLAIN = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray}
)
# What a future refuses, or what would mean something else to who awaits it.
_UNRAISABLE = (
    StopIteration,
    StopAsyncIteration,
    GeneratorExit,
    asyncio.CancelledError,
)

_CONTAINERS = frozenset({tuple, list, dict})
_LENGTH = 16
_DEPTH = 4

_plain_dumps = pickle.dumps

loads = pickle.loads


def is_plain(obj: object) -> bool:
    """True if *obj* surely holds no function, class or instance of one.

    Sees a few small containers, of exactly the built-in types; of deep or
    long ones it says False, since pickling those the other way is no slower.
    """
    return type(obj) in _PLAIN or _is_plain(obj, _DEPTH)


def _is_plain(obj: Any, depth: int) -> bool:
    """``is_plain`` of what may be a container."""
    kind = type(obj)
    if kind not in _CONTAINERS or len(obj) > _LENGTH or not depth:
        return False
    if kind is dict:
        for item in obj.values():
            if type(item) not in _PLAIN and not _is_plain(item, depth - 1):
                return False
    for item in obj:
        if type(item) not in _PLAIN and not _is_plain(item, depth - 1):
            return False
    return True


def dumps(obj: object, buffers: list[memoryview] | None = None) -> bytes:
    """Pickle *obj* for an actor in another process.

    Large memory of arrays is appended to *buffers*, if given, instead of
    being pickled; ``loads`` needs it then, in that order.

    Raises what pickle raises for an object that cannot be pickled:
    ``PicklingError``, ``TypeError``, ``RecursionError``, or whatever the
    object's own methods raise.
    """
    if type(obj) is tuple:
        # Arguments, mostly: a tuple and a dict, of scalars.
        for part in obj:
            kind = type(part)
            if kind is tuple and len(part) <= _LENGTH:
                for item in part:
                    if type(item) not in _PLAIN:
                        break
                else:
                    continue
            elif kind is dict:
                if not part:
                    continue
            elif kind in _PLAIN:
                continue
            if not _is_plain(part, _DEPTH):
                break
        else:
            return _plain_dumps(obj, _PROTOCOL)
    elif is_plain(obj):
        return _plain_dumps(obj, _PROTOCOL)
    file = io.BytesIO()
    stays = None if buffers is None else keeper(buffers)
    ByValuePickler(file, stays).dump(obj)
    return file.getvalue()


def explain(
    error: _E, args: Sequence[object], kwargs: Mapping[str, object]
) -> _E:
    """Note on *error* which argument of a message could not be pickled.

    *args* and *kwargs* are what ``dumps`` raised *error* for. They are
    pickled again, one by one, until one fails.
    """
    named: list[tuple[str, object]] = [
        (f"argument {position}", value)
        for position, value in enumerate(args, 1)
    ]
    named += [(f"argument {key!r}", value) for key, value in kwargs.items()]
    for name, value in named:
        try:
            dumps(value)
        except Exception:
            kind = type(value)
            error.add_note(
                f"{name}, of type {kind.__module__}.{kind.__qualname__}, "
                "cannot be pickled"
            )
            break
    return error


def dumps_exception(exc: BaseException) -> bytes:
    """Pickle *exc* with its traceback, for ``loads_exception``.

    Raises nothing, except ``MemoryError``.
    """
    name = _type_name(exc)
    message = _message(exc)
    text = _traceback_text(exc)
    notes = _notes(exc)
    return _plain_dumps((name, message, text, notes, _probed(exc)), _PROTOCOL)


def loads_exception(data: bytes | memoryview | bytearray) -> BaseException:
    """The exception that ``dumps_exception`` pickled.

    Its cause is a ``RemoteTraceback``. It is a ``RemoteError`` if the
    exception could not be pickled, cannot be made here, or is none that a
    future takes. Raises nothing, except ``MemoryError``.
    """
    name, message, text, notes, pickled = "", "", "", [], None
    exc: BaseException | None = None
    try:
        name, message, text, notes, pickled = loads(data)
        exc = _unpickled(pickled)
        BaseException.__setattr__(exc, "__cause__", RemoteTraceback(text))
    except MemoryError:
        raise
    except BaseException as error:
        if not name:
            name, message = _type_name(error), _message(error)
        exc = RemoteError(name, message, text)
        exc.__cause__ = RemoteTraceback(text)
        for note in notes:
            exc.add_note(note)
    return exc


def _probed(exc: BaseException) -> bytes | None:
    """*exc* pickled; None if it would not arrive."""
    try:
        pickled = dumps(exc)
        _unpickled(pickled)
    except MemoryError:
        raise
    except BaseException:
        return None
    return pickled


def _unpickled(pickled: bytes | None) -> BaseException:
    if pickled is None:
        raise pickle.UnpicklingError("the exception was not pickled")
    exc = loads(pickled)
    if not isinstance(exc, BaseException) or isinstance(exc, _UNRAISABLE):
        raise pickle.UnpicklingError(f"a {type(exc)} cannot be raised here")
    return exc


def _type_name(exc: BaseException) -> str:
    kind = type(exc)
    module = _text(kind.__dict__.get("__module__", "builtins"))
    name = type.__dict__["__qualname__"].__get__(kind)
    return name if module == "builtins" else f"{module}.{name}"


def _message(exc: BaseException) -> str:
    try:
        return _text(str(exc))
    except MemoryError:
        raise
    except BaseException:
        return "<exception str() failed>"


def _notes(exc: BaseException) -> list[str]:
    try:
        return [_text(note) for note in exc.__notes__]
    except MemoryError:
        raise
    except BaseException:  # no notes, or not a list of them
        return []


def _text(value: Any) -> str:
    """A string of exactly the built-in type."""
    return str.__str__(value) if isinstance(value, str) else repr(value)


def _traceback_text(exc: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(exc))
    except MemoryError:
        raise
    except BaseException:
        pass
    try:
        lines = traceback.format_tb(exc.__traceback__)
    except MemoryError:
        raise
    except BaseException:
        lines = []
    head = "Traceback (most recent call last):\n" if lines else ""
    return f"{head}{''.join(lines)}{_type_name(exc)}: {_message(exc)}\n"
