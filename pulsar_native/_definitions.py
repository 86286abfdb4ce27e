"""Functions and classes that came by value: who they are, where they live.

Everything that a pickle made by ``_byvalue`` calls while it is loaded is
here; loading needs nothing but ``pickle.loads``.

- An *ident* names one function or class for ever: the origin that first
  sent it and a serial number there. What comes back to its origin, while
  the original lives, is the original.
- A *space* is where a function finds its globals: a module of this process
  that can be imported (its name), a namespace (see below), or a dict of its
  own that only one message knows.
- A *namespace* stands in for one module of one origin, and for all messages
  that come from there. Names that exist in it are not reset; only a newer
  definition of the same origin takes the place of an older one.
- *Records* are definitions made at a module's level. They travel with all
  definitions that they need, and each is installed once.

The tables hold definitions weakly, except the newest of each qualified name
in a namespace.
"""

from __future__ import annotations

import builtins
import collections
import functools
import importlib
import io
import itertools
import marshal
import os
import pickle
import sys
import threading
import types
import uuid
import weakref
from collections.abc import Callable, Iterable
from enum import Enum, Flag
from typing import Any, NewType, cast

Ident = tuple[str, int]
Home = tuple[str, str]
Space = str | Home | dict[str, Any]

# Left on what is made and not yet filled; a load that failed leaves it too,
# and the next one fills.
_UNFILLED = "__pulsar_native_unfilled__"

_MARK = "__pulsar_native_home__"
_CONSOLES = 256


class Origin:
    """This process as a source of definitions; another one after a fork."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.id = uuid.uuid4().hex
        self._serials = itertools.count(1)

    def next_ident(self) -> Ident:
        return self.id, next(self._serials)


origin = Origin()


class Known:
    """Both ways between living objects and their idents. Owns nothing."""

    def __init__(self) -> None:
        self._idents: dict[int, tuple[weakref.ref[Any], Ident, Home | None]]
        self._idents = {}
        self._objects: weakref.WeakValueDictionary[Ident, Any]
        self._objects = weakref.WeakValueDictionary()

    def ident(self, obj: object) -> Ident | None:
        entry = self._idents.get(id(obj))
        return entry[1] if entry and entry[0]() is obj else None

    def home(self, obj: object) -> Home | None:
        entry = self._idents.get(id(obj))
        return entry[2] if entry and entry[0]() is obj else None

    def find(self, ident: Ident) -> Any:
        return self._objects.get(ident)

    def add(self, obj: object, ident: Ident, home: Home | None) -> None:
        key = id(obj)

        def forget(ref: weakref.ref[Any]) -> None:
            entry = self._idents.get(key)
            if entry is not None and entry[0] is ref:
                del self._idents[key]

        self._idents[key] = weakref.ref(obj, forget), ident, home
        self._objects.setdefault(ident, obj)

    def drop(self, obj: object, ident: Ident) -> None:
        self._idents.pop(id(obj), None)
        if self._objects.get(ident) is obj:
            del self._objects[ident]

    def identify(self, obj: object, home: Home | None) -> Ident:
        """The ident of *obj*, which gets one if it has none."""
        ident = self.ident(obj)
        if ident is None:
            ident = origin.next_ident()
            self.add(obj, ident, home)
        return ident


known = Known()


class Namespace:
    """The globals of one module of one origin, as they are here."""

    def __init__(self, module: types.ModuleType, own: bool) -> None:
        self.module = module
        self.names: dict[str, Any] = module.__dict__
        self.own = own
        self.bound: dict[str, tuple[Ident, object]] = {}
        self.newest: dict[str, tuple[Ident, object]] = {}

    def bind(self, name: str, value: object, ident: Ident | None) -> None:
        """Give *name* its value, unless it has one that should stay."""
        if name not in self.names:
            self.names[name] = value
        elif self.own or ident is None or not self._replaces(name, ident):
            return
        else:
            self.names[name] = value
        if ident is not None:
            self.bound[name] = ident, value

    def _replaces(self, name: str, ident: Ident) -> bool:
        bound = self.bound.get(name)
        return (
            bound is not None
            and bound[1] is self.names[name]
            and bound[0][0] == ident[0]
            and bound[0][1] <= ident[1]
        )

    def keep(self, qualname: str, obj: object, ident: Ident) -> None:
        """Own *obj*, in the place of an older definition of its name."""
        kept = self.newest.get(qualname)
        if kept is None or kept[0][0] != ident[0] or kept[0] < ident:
            self.newest[qualname] = ident, obj


class Namespaces:
    """The namespaces of all origins, kept until ``forget``.

    Globals that have a name but are no module's (a console has them) carry
    a mark that names their home. Of namespaces for those only the last used
    are kept.
    """

    def __init__(self) -> None:
        self._spaces: dict[Home, Namespace] = {}
        self._homes: dict[int, Home] = {}
        self._serials = itertools.count(1)
        # A function that has the marked globals keeps them.
        self._marked: weakref.WeakValueDictionary[Home, types.FunctionType]
        self._marked = weakref.WeakValueDictionary()
        self._consoles: collections.OrderedDict[Home, None]
        self._consoles = collections.OrderedDict()

    def open(self, home: Home) -> Namespace:
        """The namespace of *home*, made if there is none."""
        space = self._spaces.get(home)
        if space is None:
            names = self.names(home)
            module = types.ModuleType(home[1].partition("#")[0])
            if names is not None:
                space = Namespace(module, own=True)
                space.names = names
                space.module = sys.modules.get(home[1], module)
                return space
            module.__dict__["__builtins__"] = builtins
            space = self._spaces.setdefault(home, Namespace(module, own=False))
            self._homes[id(space.names)] = home
        if "#" in home[1]:
            self._use_console(home)
        return space

    def _use_console(self, home: Home) -> None:
        self._consoles[home] = None
        self._consoles.move_to_end(home)
        if len(self._consoles) > _CONSOLES:
            self._drop(self._consoles.popitem(last=False)[0])

    def _drop(self, home: Home) -> None:
        space = self._spaces.pop(home, None)
        if space is not None:
            del self._homes[id(space.names)]

    def get(self, home: Home) -> Namespace | None:
        """The namespace that stands in for *home* of another origin."""
        return self._spaces.get(home)

    def names(self, home: Home) -> dict[str, Any] | None:
        """The globals of *home*, if it is known here."""
        space = self._spaces.get(home)
        if space is not None:
            return space.names
        function = self._marked.get(home)
        if function is not None:
            return function.__globals__
        module = sys.modules.get(home[1])
        return getattr(module, "__dict__", None) if _is_own(home) else None

    def home_of(self, names: dict[str, Any]) -> Home | None:
        """Whose globals *names* are; None if nobody's."""
        home: Home | None = self._homes.get(id(names))
        if home is not None:
            return home
        name = names.get("__name__")
        if not isinstance(name, str):
            return None
        module = sys.modules.get(name)
        if getattr(module, "__dict__", None) is names:
            return origin.id, name
        home = names.get(_MARK)
        return home

    def home_of_function(self, function: types.FunctionType) -> Home | None:
        """Whose globals *function* has; they are marked if need be."""
        names = function.__globals__
        home = self.home_of(names)
        if home is None and _is_console(names):
            home = origin.id, f"{names['__name__']}#{next(self._serials)}"
            names[_MARK] = home
        if home is not None and "#" in home[1]:
            self._marked[home] = function
        return home

    def forget(self, origin_id: str) -> None:
        """Let go what came from an origin that is no more."""
        for home in [home for home in self._spaces if home[0] == origin_id]:
            self._drop(home)
            self._consoles.pop(home, None)


def _is_own(home: Home) -> bool:
    return home[0] == origin.id


def _is_console(names: dict[str, Any]) -> bool:
    """True for named globals, unless they are made for one function."""
    return isinstance(names.get("__name__"), str) and bool(
        names.get("__builtins__", True)
    )


namespaces = Namespaces()
_installing = threading.RLock()


def _after_fork() -> None:
    global _installing
    _installing = threading.RLock()
    origin.renew()


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
    function.__dict__[_UNFILLED] = True
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
    if not function.__dict__.pop(_UNFILLED, False):
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


def singleton(home: Home, name: str, cls: type, state: Any) -> object:
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
    type.__setattr__(cls, _UNFILLED, True)
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
    except TypeError:  # a metaclass or __init_subclass__ that wants more
        plain = cast(Any, type)
        return cast(type, plain.__new__(meta, name, bases, dict(start)))


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
    if _UNFILLED not in cls.__dict__:
        return
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)
    for name, more in members.items():
        cls.__members__[name].__dict__.update(more)  # type: ignore[attr-defined]
    for subclass in registered:
        cls.register(subclass)  # type: ignore[attr-defined]
    type.__delattr__(cls, _UNFILLED)


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
