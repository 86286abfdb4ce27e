"""Functions as a worker gets them: short, once it knows them.

Those that it can import go as the text ``module:name``. Of others, which go by
value, a worker is told once if nothing that they consist of can change: what
it gets is ``(key, pickled)``, and later the key.
"""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    ModuleType,
)
from typing import Any

from . import _pickling
from ._importable import is_importable

__all__ = ["Call", "Sent", "definition_of", "is_async", "place_of"]

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
Sent = tuple[Any, tuple[Any, ...], dict[str, Any]]

_REMEMBERED = 1000  # functions
_FUNCTIONS = frozenset({FunctionType, BuiltinFunctionType})
_CONSTANTS = frozenset({type(None), bool, int, float, complex, str, bytes})
_MISSING = object()

_keys = itertools.count(1)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether it is a coroutine function."""
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & inspect.CO_COROUTINE)


# --- by name ---

_places: dict[Callable[..., Any], str | None] = {}


def place_of(function: Callable[..., Any]) -> str | None:
    """Where a worker finds it, if that is in a module."""
    if type(function) not in _FUNCTIONS:
        return None
    try:
        return _places[function]
    except KeyError:
        pass
    if len(_places) >= _REMEMBERED:
        _places.clear()
    place = _places[function] = _look_up(function)
    return place


def _look_up(function: Callable[..., Any]) -> str | None:
    module, name = function.__module__, function.__qualname__
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is function and is_importable(module):
        return f"{module}:{name}"
    return None


# --- by value ---


class Definition:
    """A function that goes by value, and all that it refers to."""

    __slots__ = ("_code", "_names", "key", "pickled")

    def __init__(self, function: FunctionType, names: dict[str, Any]) -> None:
        self.key = next(_keys)
        self.pickled = _pickling.dumps(function)
        self._code = function.__code__
        self._names = names

    def holds(self, function: FunctionType) -> bool:
        """Whether that is as it was."""
        if function.__code__ is not self._code:
            return False
        spaces = function.__globals__
        for name, value in self._names.items():
            if spaces.get(name, _MISSING) is not value:
                return False
        return True


_definitions: dict[FunctionType, Definition | None] = {}


def definition_of(function: Any) -> Definition | None:
    """What a worker may be told once; None for what goes as it is."""
    if type(function) is not FunctionType:
        return None
    known = _definitions.get(function, _MISSING)
    if known is None:
        return None
    if isinstance(known, Definition) and known.holds(function):
        return known
    if len(_definitions) >= _REMEMBERED:
        _definitions.clear()
    names = _names_of(function)
    try:
        made = None if names is None else Definition(function, names)
    except Exception:
        made = None  # sending it will say why
    _definitions[function] = made
    return made


def _names_of(function: FunctionType) -> dict[str, Any] | None:
    """The globals that it may refer to; None if it is more than its code and
    these, or one of them goes by value itself."""
    code = function.__code__
    if (
        "<" in function.__qualname__
        or function.__closure__
        or function.__dict__
        or function.__defaults__
        or function.__kwdefaults__
        or any(isinstance(const, CodeType) for const in code.co_consts)
    ):
        return None
    names = {}
    for name in code.co_names:  # attributes too: most are missing
        value = function.__globals__.get(name, _MISSING)
        if value is not _MISSING and not _is_settled(value):
            return None
        names[name] = value
    return names


def _is_settled(value: Any) -> bool:
    """Whether what stands for it in a pickle is never anything else."""
    if type(value) in _CONSTANTS:
        return True
    if isinstance(value, ModuleType):
        return is_importable(value.__name__)
    if isinstance(value, type) or type(value) in _FUNCTIONS:
        module = getattr(value, "__module__", None)
        return isinstance(module, str) and is_importable(module)
    return False
