"""The pickler that sends by value what the receiver cannot import.

By reference go functions and classes that are found under their names in an
importable module. All others go by value (``_definitions`` says what becomes
of them):

- those made at a module's level as records: the message carries each record
  that it needs, without asking whether the receiver has it, and the bytes of
  a record are kept as long as they are true;
- lambdas, and what was made inside a function, in line, as ordinary parts of
  the message.
"""

from __future__ import annotations

import builtins
import collections
import copyreg
import dataclasses
import functools
import importlib
import io
import itertools
import pickle
import sys
import types
import typing
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

from . import _definitions as there
from . import _variables
from ._definitions import Record
from ._importable import is_importable
from ._memory import reduce_memoryview
from ._namespaces import Home, Ident, Space, known, namespaces, origin
from ._places import (
    goes_by_reference,
    has_place,
    home_of,
    look_up,
    look_up_at,
    made_in_python,
    methods,
    owner_of,
    space_of,
)
from ._spelling import (
    SINGLETONS,
    Watch,
    class_arguments,
    class_state,
    function_state,
    spelled_code,
)

_PROTOCOL = 5

# What is known to be in every process, though not under its own name.
_BUILTIN_TYPES = {
    kind: name
    for name, kind in vars(types).items()
    if type(kind) is type
    and getattr(builtins, kind.__name__, None) is not kind
    and kind.__module__ == "builtins"
}


@dataclass(slots=True)
class _Made:
    """A record, as this process sends it."""

    obj: weakref.ref[Any]
    record: Record
    needs: list[Any]
    watch: Watch


# One entry for each name at a module's level: the newest definition sent.
_made: dict[tuple[Home, str], _Made] = {}
_stamps = itertools.count(1)


class ByValuePickler(pickle.Pickler):
    """Pickles one message."""

    def __init__(
        self,
        file: io.BytesIO,
        stays: Callable[[pickle.PickleBuffer], bool] | None = None,
    ) -> None:
        super().__init__(file, _PROTOCOL, buffer_callback=stays)
        self._kept: list[Any] = []  # filled by the receiver
        self._sent: set[Ident] = set()
        self._bare_cells: set[int] = set()
        self._methods: set[int] = set()  # they belong to a class in line
        self._lone_globals: dict[int, tuple[object, dict[str, Any]]] = {}

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is types.FunctionType:
            return self._reduce_function(obj)
        reducer = _REDUCERS.get(kind)
        if reducer is not None:
            return reducer(self, obj)
        if issubclass(kind, type):
            return self._reduce_class(obj)
        if kind in SINGLETONS:
            return getattr, SINGLETONS[kind]
        return _reduce_instance(kind, obj)

    # Records

    def definition(self, obj: Any, ident: Ident) -> Any:
        """Reduce a definition made at a module's level."""
        records: list[Record] = []
        if ident not in self._sent:
            for record in _with_needs(obj, ident, self._sent):
                records.append(record)
        return there.define, (self._kept, ident, tuple(records))

    def watching(self) -> Watch | None:
        """Who wants to know what this pickle is made from."""
        return None

    # Functions

    def _reduce_function(self, function: types.FunctionType) -> Any:
        if id(function) in self._methods:
            return self._spell_function(function, None)
        if goes_by_reference(function):
            return NotImplemented
        home = home_of(function)
        if home is None or not has_place(function):
            return self._spell_function(function, home)
        owner = owner_of(function, home)
        if owner is not None:
            return getattr, owner
        return self.definition(function, known.identify(function, home))

    def _spell_function(
        self, function: types.FunctionType, home: Home | None
    ) -> Any:
        space: Space | None = space_of(function)
        if space is None:
            names = function.__globals__
            entry = self._lone_globals.setdefault(id(names), (names, {}))
            space = entry[1]
        closure = function.__closure__
        self._bare_cells.update(map(id, closure or ()))
        ident = known.identify(function, home)
        make_args = ident, home, False, space, *spelled_code(function), closure
        state = function_state(function, space, self.watching())
        filler = there.fill_function
        return there.make_function, make_args, state, None, None, filler

    def reduce_cell(self, cell: types.CellType) -> Any:
        # A function's state has the contents of its cells.
        if id(cell) in self._bare_cells or there.is_empty(cell):
            return types.CellType, ()
        state = (cell.cell_contents,)
        return types.CellType, (), state, None, None, there.fill_cell

    # Classes

    def _reduce_class(self, cls: type) -> Any:
        name = _BUILTIN_TYPES.get(cls)
        if name is not None:
            return getattr, (types, name)
        if goes_by_reference(cls) or not made_in_python(cls):
            return NotImplemented
        home = home_of(cls)
        if home is None or not has_place(cls):
            self._methods.update(map(id, methods(cls)))
            make_args = class_arguments(cls, known.identify(cls, home), home)
            state = class_state(cls)
            filler = there.fill_class
            return there.make_class, make_args, state, None, None, filler
        return self.definition(cls, known.identify(cls, home))

    def reduce_module(self, module: types.ModuleType) -> Any:
        name = module.__name__
        if is_importable(name):
            return importlib.import_module, (name,)
        state = {
            name: value
            for name, value in module.__dict__.items()
            if name not in ("__builtins__", "__loader__", "__spec__")
        }
        home = namespaces.home_of(module.__dict__)
        make: Any
        args: tuple[Any, ...]
        if home is not None:
            make, args = there.make_module, (home,)
        else:
            ident = known.identify(module, None)
            make, args = there.make_tracked, (ident, types.ModuleType, (name,))
        return make, args, state, None, None, there.fill_module


class _PartPickler(ByValuePickler):
    """Pickles a part of the record of *owner*, noting what it is made of."""

    def __init__(
        self, file: io.BytesIO, owner: Any, watch: Watch, needs: list[Any]
    ) -> None:
        super().__init__(file)
        self._watch = watch
        self._needs = needs
        if isinstance(owner, type):
            self._methods.update(map(id, methods(owner)))

    def definition(self, obj: Any, ident: Ident) -> Any:
        self._needs.append(obj)
        return there.reference, (ident,)

    def watching(self) -> Watch | None:
        return self._watch


def _with_needs(obj: Any, ident: Ident, sent: set[Ident]) -> Iterator[Record]:
    """The records of *obj* and all that it needs, needs first."""
    sent.add(ident)
    waiting = [_record_of(obj, ident)]
    iterators = [iter(waiting[0].needs)]
    while waiting:
        for need in iterators[-1]:
            need_ident = known.ident(need)
            if need_ident is not None and need_ident not in sent:
                sent.add(need_ident)
                made = _record_of(need, need_ident)
                waiting.append(made)
                iterators.append(iter(made.needs))
                break
        else:
            iterators.pop()
            yield waiting.pop().record


def _record_of(obj: Any, ident: Ident) -> _Made:
    home = known.home(obj) or (origin.id, "")
    key = home, obj.__qualname__
    made = _made.get(key)
    if made is not None and made.obj() is obj and made.watch.holds():
        return made
    made = _make_record(obj, ident, home)
    if made.watch.stable:
        _made[key] = made
    else:
        _made.pop(key, None)
    return made


def _make_record(obj: Any, ident: Ident, home: Home) -> _Made:
    watch = Watch()
    needs: list[Any] = []
    names = namespaces.names(home)
    if names is not None:
        watch.mapping(names, (obj.__qualname__.partition(".")[0],))
    if isinstance(obj, type):
        kind = "class"
        head = _part(class_arguments(obj, ident, home), obj, watch, needs)
        body = _part(class_state(obj, watch), obj, watch, needs)
    else:
        kind = "function"
        head, body = _function_parts(obj, ident, home, watch, needs)
    # What wraps it, a command say, is bound by those who refer to it.
    current = look_up_at(home, obj.__qualname__) is obj
    # Only its definer says that it is in a newer state.
    stamp = next(_stamps) if ident[0] == origin.id else 0
    qualname = obj.__qualname__
    record = ident, stamp, home, qualname, current, kind, head, body
    return _Made(weakref.ref(obj), record, needs, watch)


def _part(part: object, owner: Any, watch: Watch, needs: list[Any]) -> bytes:
    file = io.BytesIO()
    _PartPickler(file, owner, watch, needs).dump(part)
    return file.getvalue()


def _function_parts(
    function: types.FunctionType,
    ident: Ident,
    home: Home,
    watch: Watch,
    needs: list[Any],
) -> tuple[bytes, bytes]:
    space = space_of(function)
    assert space is not None, "a definition with a place has a space"
    closure = function.__closure__
    if closure is not None:
        closure = tuple(types.CellType() for _ in closure)
    head = ident, home, True, space, *spelled_code(function), closure
    state = function_state(function, space, watch)
    return (
        _part(head, function, watch, needs),
        _part(state, function, watch, needs),
    )


# Reducers of other types


def _reduce_instance(kind: Any, obj: Any) -> Any:
    """Leave *obj* to pickle, unless that would send it by name alone."""
    if (
        kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
    ):
        return NotImplemented
    if kind in copyreg.dispatch_table or is_importable(kind.__module__):
        return NotImplemented
    reduced = obj.__reduce_ex__(_PROTOCOL)
    if not isinstance(reduced, str):
        return reduced
    home = home_of(kind)
    if home is None:
        return reduced
    return there.singleton, (home, reduced, kind, dict(obj.__dict__))


def _reduce_method(_: ByValuePickler, method: types.MethodType) -> Any:
    name = method.__func__.__name__
    if look_up(method.__self__, name) == method:
        return getattr, (method.__self__, name)
    return types.MethodType, (method.__func__, method.__self__)


def _tracked(
    make: Callable[[Any], Callable[..., Any]],
) -> Callable[[ByValuePickler, Any], Any]:
    """A reducer of objects that have a name; *make* tells how to make one."""

    def reduce(_: ByValuePickler, obj: Any) -> Any:
        if known.ident(obj) is None and _has_importable_name(obj):
            return NotImplemented
        ident = known.identify(obj, None)
        return there.make_tracked, (ident, make(obj), ())

    return reduce


def _has_importable_name(obj: Any) -> bool:
    name = getattr(obj, "__qualname__", None) or obj.__name__
    module = obj.__module__
    return (
        isinstance(module, str)
        and is_importable(module)
        and look_up(sys.modules[module], name) is obj
    )


def _reduce_type_alias(_: ByValuePickler, alias: Any) -> Any:
    if _has_importable_name(alias):
        return NotImplemented
    make: Any = type(alias)  # it takes its type parameters by keyword only
    name, value, params = (
        alias.__name__,
        alias.__value__,
        alias.__type_params__,
    )
    return functools.partial(make, name, value, type_params=params), ()


def _remake_variable(variable: Any) -> Callable[..., Any]:
    options: dict[str, Any] = {}
    if variable.__bound__ is not None:
        options["bound"] = variable.__bound__
    for name in ("covariant", "contravariant", "infer_variance"):
        if getattr(variable, f"__{name}__", False):
            options[name] = True
    _add_default(variable, options)
    constraints = getattr(variable, "__constraints__", ())
    make: Any = type(variable)
    return functools.partial(make, variable.__name__, *constraints, **options)


def _remake_variable_tuple(variable: Any) -> Callable[..., Any]:
    options: dict[str, Any] = {}
    _add_default(variable, options)
    make: Any = type(variable)
    return functools.partial(make, variable.__name__, **options)


def _add_default(variable: Any, options: dict[str, Any]) -> None:
    if hasattr(variable, "has_default") and variable.has_default():
        options["default"] = variable.__default__


def _remake_new_type(new_type: Any) -> Callable[..., Any]:
    name, supertype = new_type.__qualname__, new_type.__supertype__
    return functools.partial(
        there.make_new_type, name, supertype, new_type.__module__
    )


def _remake_lru_cache(wrapper: Any) -> Callable[..., Any]:
    more = dict(wrapper.__dict__)
    parameters = wrapper.cache_parameters()
    return functools.partial(
        there.make_lru_cache, wrapper.__wrapped__, parameters, more
    )


def _reduce_cached_property(
    _: ByValuePickler, prop: functools.cached_property[Any]
) -> Any:
    return there.make_cached_property, (prop.func, prop.attrname)


def _reduce_weak_dict(_: ByValuePickler, weak: Any) -> Any:
    return type(weak), (dict(weak),)


def _from_cloudpickle(
    kind: type,
) -> Callable[[ByValuePickler, Any], Any]:
    reducer = cloudpickle.Pickler.dispatch_table[kind]

    def reduce(_: ByValuePickler, obj: Any) -> Any:
        return reducer(obj)

    return reduce


_CLOUDPICKLED: tuple[Any, ...] = (
    classmethod,
    staticmethod,
    property,
    types.CodeType,
    types.GetSetDescriptorType,
    types.MappingProxyType,
    weakref.WeakSet,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
    type(collections.OrderedDict().keys()),
    type(collections.OrderedDict().values()),
    type(collections.OrderedDict().items()),
    dataclasses._FIELD_BASE,  # type: ignore[attr-defined]
)


def _reduce_context_variable(
    pickler: ByValuePickler, variable: ContextVar[Any]
) -> Any:
    """One that travels is the variable of its name there, too."""
    if _variables.travels(variable):
        return _variables.variable_of, (variable.name,)
    return NotImplemented


_REDUCERS: dict[type, Callable[[ByValuePickler, Any], Any]] = {
    kind: _from_cloudpickle(kind) for kind in _CLOUDPICKLED
}
_REDUCERS |= {
    types.CellType: ByValuePickler.reduce_cell,
    types.ModuleType: ByValuePickler.reduce_module,
    types.MethodType: _reduce_method,
    memoryview: reduce_memoryview,
    ContextVar: _reduce_context_variable,
    typing.TypeVar: _tracked(_remake_variable),
    typing.ParamSpec: _tracked(_remake_variable),
    typing.TypeVarTuple: _tracked(_remake_variable_tuple),
    typing.NewType: _tracked(_remake_new_type),
    type(functools.lru_cache(int)): _tracked(_remake_lru_cache),
    functools.cached_property: _reduce_cached_property,
    weakref.WeakKeyDictionary: _reduce_weak_dict,
    weakref.WeakValueDictionary: _reduce_weak_dict,
}
if sys.version_info >= (3, 12):
    _REDUCERS[typing.TypeAliasType] = _reduce_type_alias
