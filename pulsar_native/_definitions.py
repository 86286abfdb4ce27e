"""What becomes of functions and classes that come by value.

Everything that a pickle made by ``_byvalue`` calls while it is loaded is
here; loading needs nothing but ``pickle.loads``. What comes back to its
origin, while the original lives, is the original.

*Records* are definitions made at a module's level. They travel with all
definitions that they need, and each is installed once. Names that exist in
a namespace are not reset; only a newer definition of the same origin takes
the place of an older one.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import io
import marshal
import os
import pickle
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from enum import Enum, Flag
from typing import Any, NewType, cast

from ._namespaces import Home, Ident, Space, known, namespaces, origin

# Left on what is made and not yet filled; a load that failed leaves it too,
# and the next one fills.
UNFILLED = "__pulsar_native_unfilled__"

_installing = threading.RLock()


def _after_fork() -> None:
    global _installing
    _installing = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


# Called by pickles: functions, cells, modules.


def globals_of(space: Space) -> dict[str, Any]:
    if isinstance(space, str):
        return importlib.import_module(space).__dict__
    if isinstance(space, dict):
        space.setdefault("__builtins__", builtins)
        return space
    return namespaces.open(space).names


def make_function(
    ident: Ident,
    home: Home | None,
    shared: bool,
    space: Space,
    code: bytes | types.CodeType,
    name: str,
    closure: tuple[types.CellType, ...] | None,
) -> types.FunctionType:
    """The function *ident*, if this process has it, or one to be filled."""
    if shared or ident[0] == origin.id:
        function = known.find(ident)
        if function is not None:
            return function  # type: ignore[no-any-return]
    if isinstance(code, bytes):
        code = cast(types.CodeType, marshal.loads(code))
    function = types.FunctionType(code, globals_of(space), name, None, closure)
    function.__dict__[UNFILLED] = True
    known.add(function, ident, home)
    return function


def fill_function(function: types.FunctionType, state: Any) -> None:
    """Bind the globals that *function* needs; fill it if it is new.

    The last part of *state* is modules: loading it has imported them.
    """
    space, names, cells, attributes, more, _ = state
    if isinstance(space, dict):
        for name, (value, _) in names.items():
            space.setdefault(name, value)
    elif isinstance(space, tuple):
        namespace = namespaces.open(space)
        for name, (value, ident) in names.items():
            namespace.bind(name, value, ident)
    if not function.__dict__.pop(UNFILLED, False):
        return
    for cell, content in zip(function.__closure__ or (), cells, strict=True):
        if content and is_empty(cell):
            (cell.cell_contents,) = content
    for name, value in attributes.items():
        setattr(function, name, value)
    function.__dict__.update(more)


def is_empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def fill_cell(cell: types.CellType, state: tuple[object, ...]) -> None:
    (cell.cell_contents,) = state


def make_module(home: Home) -> types.ModuleType:
    return namespaces.open(home).module


def fill_module(module: types.ModuleType, state: dict[str, Any]) -> None:
    for name, value in state.items():
        module.__dict__.setdefault(name, value)


def singleton(home: Home, name: str, cls: Any, state: Any) -> object:
    """What *home* calls *name*; an instance of *cls* if there is none."""
    names = namespaces.open(home).names
    if name not in names:
        instance = cls.__new__(cls)
        instance.__dict__.update(state)
        names[name] = instance
    return names[name]


def make_tracked(
    ident: Ident, make: Callable[..., Any], args: tuple[Any, ...]
) -> Any:
    """An object whose identity matters, made once by ``make(*args)``."""
    obj = known.find(ident)
    if obj is None:
        obj = make(*args)
        known.add(obj, ident, None)
    return obj


def make_cached_property(
    function: Callable[[Any], Any], name: str | None
) -> functools.cached_property[Any]:
    prop = functools.cached_property(function)
    prop.attrname = name
    return prop


def make_new_type(name: str, supertype: Any, module: str | None) -> Any:
    make: Any = NewType  # a type checker wants a name that is known
    new_type = make(name, supertype)
    new_type.__module__ = module or ""
    return new_type


def make_lru_cache(
    function: Callable[..., Any], parameters: dict[str, Any], more: Any
) -> Any:
    wrapper = functools.lru_cache(**parameters)(function)
    wrapper.__dict__.update(more)
    return wrapper


# Called by pickles: classes.


def make_class(
    ident: Ident,
    home: Home | None,
    meta: type[type],
    name: str,
    bases: tuple[type, ...],
    start: dict[str, Any],
    members: dict[str, tuple[object, tuple[object, ...]]] | None,
) -> type:
    """The class *ident*, if this process has it, or one to be filled."""
    cls = known.find(ident)
    if cls is not None:
        return cls  # type: ignore[no-any-return]
    if members is None:
        cls = _bare_class(meta, name, bases, start)
    else:
        cls = _bare_enum(meta, name, bases, start, members)
    type.__setattr__(cls, UNFILLED, True)
    known.add(cls, ident, home)
    return cls


def _bare_class(
    meta: Any,
    name: str,
    bases: tuple[type, ...],
    start: dict[str, Any],
) -> type:
    try:
        return cast(type, meta(name, bases, dict(start)))
    except TypeError:  # __init_subclass__ or the metaclass wants arguments
        with _init_subclass_silenced(bases):
            try:
                return cast(type, meta(name, bases, dict(start)))
            except TypeError:
                make: Any = vars(type)["__new__"]
                return cast(type, make(meta, name, bases, dict(start)))


@contextlib.contextmanager
def _init_subclass_silenced(bases: tuple[type, ...]) -> Iterator[None]:
    """Make classes without it: what it did comes with the class's state."""

    def silent(cls: type, /, **_: object) -> None:
        pass

    name = "__init_subclass__"
    replaced: list[tuple[type, object]] = []
    with _installing:
        try:
            for base in bases:
                for cls in base.__mro__:
                    if isinstance(cls.__dict__.get(name), classmethod):
                        replaced.append((cls, cls.__dict__[name]))
                        type.__setattr__(cls, name, classmethod(silent))
                        break
            yield
        finally:
            for cls, method in reversed(replaced):
                type.__setattr__(cls, name, method)


def _bare_enum(
    meta: Any,
    name: str,
    bases: tuple[type, ...],
    start: dict[str, Any],
    members: dict[str, tuple[object, tuple[object, ...]]],
) -> type:
    """An enumeration made without the user's __new__ and __init__.

    Each member is the index of its value until it is made.
    """
    values = list(members.values())

    def new(cls: Any, index: int) -> Any:
        value, args = values[index]
        member = cls._member_type_.__new__(cls, *args)
        member._value_ = value
        return member

    def init(self: object, *args: object) -> None:
        """The members' attributes come with the class's state."""

    body = meta.__prepare__(name, bases)
    body["__new__"] = new
    body["__init__"] = init
    for key, value in start.items():
        if key != "_boundary_":
            body[key] = value
    for index, member_name in enumerate(members):
        body[member_name] = index
    more = {"boundary": start["_boundary_"]} if "_boundary_" in start else {}
    cls: type = meta(name, bases, body, **more)
    type.__delattr__(cls, "__init__")
    type.__delattr__(cls, "__new_member__")
    return cls


def fill_class(cls: type, state: Any) -> None:
    attributes, registered, members = state
    if UNFILLED not in cls.__dict__:
        return
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)
    for name, more in members.items():
        cls.__members__[name].__dict__.update(more)  # type: ignore[attr-defined]
    for subclass in registered:
        cls.register(subclass)  # type: ignore[attr-defined]
    type.__delattr__(cls, UNFILLED)


def is_enum(cls: type) -> bool:
    """True for an enumeration with members of its own."""
    return issubclass(cls, Enum) and bool(cls.__members__)


def is_flag(cls: type) -> bool:
    return issubclass(cls, Flag)


# Called by pickles: records.

# ident, stamp, home, qualname, current, kind, head, body
Record = tuple[Ident, int, Home, str, bool, str, bytes, bytes]
_MAKERS: dict[str, Callable[..., Any]] = {
    "function": make_function,
    "class": make_class,
}
_FILLERS: dict[str, Callable[[Any, Any], None]] = {
    "function": fill_function,
    "class": fill_class,
}


def reference(ident: Ident) -> Any:
    """A definition, inside a record; see ``_PartLoader``."""
    raise pickle.UnpicklingError(f"no record of definition {ident!r}")


class _PartLoader(pickle.Unpickler):
    """Loads a part of a record: references are found by *resolve*."""

    def __init__(self, data: bytes, resolve: Callable[[Ident], Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._resolve = resolve

    def find_class(self, module: str, name: str) -> Any:
        if name == "reference" and module == __name__:
            return self._resolve
        return super().find_class(module, name)


class _Batch:
    """Records that are installed together: first all made, then filled."""

    def __init__(self, records: Iterable[Record], kept: list[Any]) -> None:
        self._records = {record[0]: record for record in records}
        self._kept = kept
        self._made: dict[Ident, Any] = {}

    def install(self) -> None:
        try:
            for ident in self._records:
                self._kept.append(self._resolve(ident))
            for record in self._records.values():
                self._fill(record)
        except BaseException:
            for ident, obj in self._made.items():
                known.drop(obj, ident)
            raise
        for ident, obj in self._made.items():
            record = self._records[ident]
            namespaces.open(record[2]).keep(record[3], obj, ident)

    def _resolve(self, ident: Ident) -> Any:
        obj = known.find(ident)
        if obj is None:
            record = self._records.get(ident)
            if record is None:
                return reference(ident)
            args = _PartLoader(record[6], self._resolve).load()
            obj = self._made[ident] = _MAKERS[record[5]](*args)
        return obj

    def _fill(self, record: Record) -> None:
        ident, stamp, home, qualname, current, kind, _, body = record
        obj = known.find(ident)
        if ident[0] == origin.id and ident not in self._made:
            return
        if ident in self._made or stamp > _stamps.get(ident, 0):
            state = _PartLoader(body, self._resolve).load()
            _FILLERS[kind](obj, state)
            _stamps.set(obj, ident, stamp)
        if current and "." not in qualname:
            namespaces.open(home).bind(qualname, obj, ident)


class _Stamps:
    """The newest state seen of each living definition's globals."""

    def __init__(self) -> None:
        self._stamps: dict[Ident, int] = {}

    def get(self, ident: Ident, default: int) -> int:
        return self._stamps.get(ident, default)

    def set(self, obj: object, ident: Ident, stamp: int) -> None:
        if ident not in self._stamps:
            weakref.finalize(obj, self._stamps.pop, ident, None).atexit = False
        self._stamps[ident] = stamp


_stamps = _Stamps()


def define(kept: list[Any], ident: Ident, records: tuple[Record, ...]) -> Any:
    """The definition *ident*, after *records* have been installed.

    *kept* is one list for all of a message; it owns what the message
    brings until the message is loaded.
    """
    if records:
        with _installing:
            _Batch(records, kept).install()
    obj = known.find(ident)
    return reference(ident) if obj is None else obj
