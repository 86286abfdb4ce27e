"""Who functions and classes are, and the namespaces that they live in.

- An *ident* names one function or class for ever: the origin that first
  sent it and a serial number there.
- A *home* is a module of an origin, or a console's globals there. Here a
  *namespace* stands in for it, for all messages that come from there.
- A *space* is where a function finds its globals: an importable module (its
  name), a home, or a dict that only one message knows.

The tables hold definitions weakly, except the newest of each qualified name
in a namespace.
"""

from __future__ import annotations

import builtins
import collections
import itertools
import os
import sys
import types
import weakref
from typing import Any

Ident = tuple[str, int]
Home = tuple[str, str]
Space = str | Home | dict[str, Any]

_MARK = "__pulsar_native_home__"
_CONSOLES = 256


class Origin:
    """This process as a source of definitions; another one after a fork."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.id = os.urandom(16).hex()
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

    def release(self) -> list[types.ModuleType]:
        """Let go of all; the modules that stood for them."""
        modules = [space.module for space in self._spaces.values()]
        for home in list(self._spaces):
            self._drop(home)
        self._consoles.clear()
        return modules


def _is_own(home: Home) -> bool:
    return home[0] == origin.id


def _is_console(names: dict[str, Any]) -> bool:
    """True for named globals, unless they are made for one function."""
    return isinstance(names.get("__name__"), str) and bool(
        names.get("__builtins__", True)
    )


namespaces = Namespaces()
os.register_at_fork(after_in_child=origin.renew)
