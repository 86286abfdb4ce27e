"""Where functions and classes are found: here, and by the receiver."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

from ._importable import is_importable
from ._namespaces import Home, known, namespaces, origin
from ._native import BaseCommand

_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8


def goes_by_reference(obj: Any) -> bool:
    """True if the receiver finds the function or class *obj* by name."""
    if known.ident(obj) is not None:
        return False
    name = obj.__module__
    if not isinstance(name, str) or not is_importable(name):
        return False
    return look_up(sys.modules[name], obj.__qualname__) is obj


def look_up(place: object, qualname: str) -> object:
    found: Any = place
    for name in qualname.split("."):
        try:
            found = getattr(found, name)
        except Exception:  # an attribute may run anybody's code
            return None
    return found


def look_up_at(home: Home, qualname: str) -> object:
    name, _, rest = qualname.partition(".")
    found = (namespaces.names(home) or {}).get(name)
    return look_up(found, rest) if rest else found


def has_place(obj: Any) -> bool:
    """True for what is made at a module's level, or in a class there."""
    if "<" in obj.__qualname__:
        return False
    if isinstance(obj, types.FunctionType):
        return namespaces.home_of_function(obj) is not None
    return True


def home_of(obj: Any) -> Home | None:
    """The namespace in which *obj* has its name, if it is known."""
    home = known.home(obj)
    if home is not None:
        return home
    name = obj.__module__
    functions = (obj,) if isinstance(obj, types.FunctionType) else methods(obj)
    for function in functions:
        if function.__globals__.get("__name__") == name:
            home = namespaces.home_of_function(function)
            if home is not None:
                return home
    if not isinstance(name, str):
        return None
    if name in sys.modules:
        return origin.id, name
    # A console's class: there it is, even if no function tells where.
    return (origin.id, f"{name}#") if isinstance(obj, type) else None


def owner_of(
    function: types.FunctionType, home: Home
) -> tuple[type, str] | None:
    """The class that has *function* as a method, and the method's name."""
    qualname, _, name = function.__qualname__.rpartition(".")
    if not qualname:
        return None
    namespace = namespaces.get(home)
    kept = namespace.newest.get(qualname) if namespace else None
    owner = kept[1] if kept else look_up_at(home, qualname)
    if not isinstance(owner, type):
        return None
    method = owner.__dict__.get(name)
    if isinstance(method, staticmethod):
        method = method.__func__
    return (owner, name) if method is function else None


def space_of(function: types.FunctionType) -> str | Home | None:
    """Where the receiver finds the globals of *function*; None if nowhere."""
    home = namespaces.home_of_function(function)
    if home is not None and home[0] == origin.id and is_importable(home[1]):
        return home[1]
    return home


def made_in_python(cls: type) -> bool:
    return (cls.__flags__ & (_HEAP_TYPE | _IMMUTABLE_TYPE)) == _HEAP_TYPE


def methods(cls: type) -> Iterator[types.FunctionType]:
    for value in cls.__dict__.values():
        parts: tuple[object, ...] = (value,)
        if isinstance(value, classmethod | staticmethod):
            parts = (value.__func__,)
        elif isinstance(value, property):
            parts = (value.fget, value.fset, value.fdel)
        elif isinstance(value, functools.cached_property):
            parts = (value.func,)
        elif isinstance(value, BaseCommand):
            parts = (getattr(value, "__wrapped__", None),)
        for part in parts:
            if isinstance(part, types.FunctionType):
                yield part
