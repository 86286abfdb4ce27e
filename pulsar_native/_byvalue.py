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

import abc
import builtins
import collections
import contextlib
import copyreg
import dataclasses
import dis
import functools
import importlib
import io
import itertools
import marshal
import operator
import pickle
import sys
import types
import typing
import weakref
from abc import ABCMeta
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

from . import _definitions as there
from ._definitions import (
    Home,
    Ident,
    Record,
    Space,
    known,
    namespaces,
    origin,
)
from ._importable import is_importable

_PROTOCOL = 5
_abc_dump: Any = vars(abc)["_get_dump"]  # the subclasses registered
_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8

# What is known to be in every process, though not under its own name.
_BUILTIN_TYPES = {
    kind: name
    for name, kind in vars(types).items()
    if type(kind) is type
    and getattr(builtins, kind.__name__, None) is not kind
    and kind.__module__ == "builtins"
}
_SINGLETONS: dict[type, tuple[Any, str]] = {
    type(getattr(dataclasses, name)): (dataclasses, name)
    for name in ("MISSING", "KW_ONLY", "_HAS_DEFAULT_FACTORY")
    if hasattr(dataclasses, name)
}
_SCOPE_OPS = frozenset(
    {
        "LOAD_GLOBAL",
        "STORE_GLOBAL",
        "DELETE_GLOBAL",
        "LOAD_NAME",
        "LOAD_FROM_DICT_OR_GLOBALS",
    }
)
_FUNCTION_ATTRIBUTES = (
    "__qualname__",
    "__module__",
    "__doc__",
    "__defaults__",
    "__kwdefaults__",
    "__annotations__",
) + (("__type_params__",) if sys.version_info >= (3, 12) else ())
_MODULE_NAMES = ("__name__", "__package__", "__file__")
_CLASS_OWN = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__module__",
        "__qualname__",
        "__slots__",
        "__orig_bases__",
        "_abc_impl",
        there._UNFILLED,
    }
)
_STABLE: tuple[type, ...] = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type,
    type(None),
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    type(collections.namedtuple("_", "x").x),  # type: ignore[attr-defined]
    classmethod,
    staticmethod,
    property,
    *_SINGLETONS,
)


@dataclass(slots=True)
class _Watch:
    """What the bytes of a record were made from."""

    stable: bool = True
    names: dict[int, tuple[Mapping[str, Any], dict[str, Any]]] = field(
        default_factory=dict
    )
    cells: list[tuple[types.CellType, object]] = field(default_factory=list)
    empty: list[object] = field(default_factory=list)
    classes: list[tuple[type, dict[str, Any]]] = field(default_factory=list)

    def mapping(
        self, mapping: Mapping[str, Any], names: Iterable[str]
    ) -> None:
        _, values = self.names.setdefault(id(mapping), (mapping, {}))
        for name in names:
            values[name] = mapping.get(name)

    def attributes(self, cls: type) -> None:
        # A class gives a new view of its attributes each time.
        self.classes.append((cls, dict(cls.__dict__)))

    def closure(self, cells: tuple[types.CellType, ...]) -> None:
        for cell in cells:
            if not there.is_empty(cell):
                self.cells.append((cell, cell.cell_contents))

    def value(self, value: object) -> None:
        if isinstance(value, tuple | frozenset):
            for item in value:
                self.value(item)
        elif type(value) in (dict, list, set) and not value:
            self.empty.append(value)
        elif not isinstance(value, _STABLE):
            self.stable = False

    def holds(self) -> bool:
        return (
            self.stable
            and not any(self.empty)
            and all(
                len(cls.__dict__) == len(values)
                and all(
                    map(operator.is_, cls.__dict__.values(), values.values())
                )
                for cls, values in self.classes
            )
            and all(
                mapping.get(name) is value
                for mapping, values in self.names.values()
                for name, value in values.items()
            )
            and all(
                not there.is_empty(cell) and cell.cell_contents is content
                for cell, content in self.cells
            )
        )


@dataclass(slots=True)
class _Made:
    """A record, as this process sends it."""

    obj: weakref.ref[Any]
    record: Record
    needs: list[Any]
    watch: _Watch


# One entry for each name at a module's level: the newest definition sent.
_made: dict[tuple[Home, str], _Made] = {}
_stamps = itertools.count(1)
_global_names: weakref.WeakKeyDictionary[types.CodeType, tuple[str, ...]]
_global_names = weakref.WeakKeyDictionary()


class ByValuePickler(pickle.Pickler):
    """Pickles one message."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, _PROTOCOL)
        self._kept: list[Any] = []  # filled by the receiver
        self._sent: set[Ident] = set()
        self._bare_cells: set[int] = set()
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
        if kind in _SINGLETONS:
            return getattr, _SINGLETONS[kind]
        return _reduce_instance(kind, obj)

    # Records

    def definition(self, obj: Any, ident: Ident) -> Any:
        """Reduce a definition made at a module's level."""
        records: list[Record] = []
        if ident not in self._sent:
            for record in _with_needs(obj, ident, self._sent):
                records.append(record)
        return there.define, (self._kept, ident, tuple(records))

    def watching(self) -> _Watch | None:
        """Who wants to know what this pickle is made from."""
        return None

    def in_line(self, obj: object) -> bool:
        """True for what belongs to the definition being pickled."""
        return False

    # Functions

    def _reduce_function(self, function: types.FunctionType) -> Any:
        if self.in_line(function):
            return self._spell_function(function, None)
        if _goes_by_reference(function):
            return NotImplemented
        home = _home_of(function)
        if home is None or not _has_place(function):
            return self._spell_function(function, home)
        owner = _owner_of(function, home)
        if owner is not None:
            return getattr, owner
        return self.definition(function, known.identify(function, home))

    def _spell_function(
        self, function: types.FunctionType, home: Home | None
    ) -> Any:
        space: Space | None = _space_of(function)
        if space is None:
            names = function.__globals__
            entry = self._lone_globals.setdefault(id(names), (names, {}))
            space = entry[1]
        closure = function.__closure__
        self._bare_cells.update(map(id, closure or ()))
        ident = known.identify(function, home)
        make_args = ident, home, False, space, *_spelling(function), closure
        state = _function_state(function, space, self.watching())
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
        if _goes_by_reference(cls) or not _made_in_python(cls):
            return NotImplemented
        home = _home_of(cls)
        if home is None or not _has_place(cls):
            make_args = _class_arguments(cls, known.identify(cls, home), home)
            state = _class_state(cls)
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
        self, file: io.BytesIO, owner: Any, watch: _Watch, needs: list[Any]
    ) -> None:
        super().__init__(file)
        self._watch = watch
        self._needs = needs
        self._methods: set[int] = set()
        if isinstance(owner, type):
            self._methods.update(map(id, _methods(owner)))

    def definition(self, obj: Any, ident: Ident) -> Any:
        self._needs.append(obj)
        return there.reference, (ident,)

    def watching(self) -> _Watch | None:
        return self._watch

    def in_line(self, obj: object) -> bool:
        return id(obj) in self._methods


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
    watch = _Watch()
    needs: list[Any] = []
    names = namespaces.names(home)
    if names is not None:
        watch.mapping(names, (obj.__qualname__.partition(".")[0],))
    if isinstance(obj, type):
        kind = "class"
        head = _part(_class_arguments(obj, ident, home), obj, watch, needs)
        body = _part(_class_state(obj, watch), obj, watch, needs)
    else:
        kind = "function"
        head, body = _function_parts(obj, ident, home, watch, needs)
    current = _definition_in(_look_up_at(home, obj.__qualname__)) is obj
    # Only its definer says that it is in a newer state.
    stamp = next(_stamps) if ident[0] == origin.id else 0
    qualname = obj.__qualname__
    record = ident, stamp, home, qualname, current, kind, head, body
    return _Made(weakref.ref(obj), record, needs, watch)


def _part(part: object, owner: Any, watch: _Watch, needs: list[Any]) -> bytes:
    file = io.BytesIO()
    _PartPickler(file, owner, watch, needs).dump(part)
    return file.getvalue()


def _function_parts(
    function: types.FunctionType,
    ident: Ident,
    home: Home,
    watch: _Watch,
    needs: list[Any],
) -> tuple[bytes, bytes]:
    space = _space_of(function)
    assert space is not None, "a definition with a place has a space"
    closure = function.__closure__
    if closure is not None:
        closure = tuple(types.CellType() for _ in closure)
    head = ident, home, True, space, *_spelling(function), closure
    state = _function_state(function, space, watch)
    return (
        _part(head, function, watch, needs),
        _part(state, function, watch, needs),
    )


# What functions and classes consist of


def _spelling(
    function: types.FunctionType,
) -> tuple[bytes | types.CodeType, str]:
    code: bytes | types.CodeType = function.__code__
    # Code with constants that no compiler makes goes part by part.
    with contextlib.suppress(ValueError):
        code = marshal.dumps(code)
    return code, function.__name__


def _function_state(
    function: types.FunctionType, space: Space, watch: _Watch | None
) -> Any:
    cells = tuple(
        () if there.is_empty(cell) else (cell.cell_contents,)
        for cell in function.__closure__ or ()
    )
    used = () if isinstance(space, str) else _names_used(function.__code__)
    names = {
        name: _spell_global(function.__globals__[name])
        for name in used
        if name in function.__globals__
    }
    more = {
        name: value
        for name, value in function.__dict__.items()
        if name != there._UNFILLED
    }
    values = [value for value, _ in names.values()]
    values.extend(itertools.chain.from_iterable(cells))
    modules = _submodules_used(function.__code__, values)
    attributes = {
        name: getattr(function, name) for name in _FUNCTION_ATTRIBUTES
    }
    if watch is not None:
        watch.mapping(function.__globals__, used)
        watch.closure(function.__closure__ or ())
        values.append(function.__defaults__ or ())
        values.extend((function.__kwdefaults__ or {}).values())
        values.extend(more.values())
        watch.value(tuple(values))
    return space, names, cells, attributes, more, modules


def _names_used(code: types.CodeType) -> tuple[str, ...]:
    """The global names that *code* and the code inside it may use."""
    used = _global_names.get(code)
    if used is None:
        found = dict.fromkeys(_MODULE_NAMES)
        for part in _code_in(code):
            for step in dis.get_instructions(part):
                if step.opname in _SCOPE_OPS:
                    found[step.argval] = None
        used = _global_names[code] = tuple(found)
    return used


def _code_in(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _code_in(const)


def _submodules_used(
    code: types.CodeType, values: Iterable[object]
) -> list[types.ModuleType]:
    """Modules that *code* reaches as attributes of their packages."""
    found: list[types.ModuleType] = []
    waiting = [v for v in values if isinstance(v, types.ModuleType)]
    if waiting:
        names = {name for part in _code_in(code) for name in part.co_names}
        while waiting:
            package = waiting.pop().__name__
            for name in names:
                module = sys.modules.get(f"{package}.{name}")
                if isinstance(module, types.ModuleType):
                    found.append(module)
                    waiting.append(module)
    return found


def _spell_global(value: Any) -> tuple[object, Ident | None]:
    """A value, and which definition it is or wraps."""
    obj = _definition_in(value)
    if obj is None or not _has_place(obj) or _goes_by_reference(obj):
        return value, None
    if isinstance(obj, type) and not _made_in_python(obj):
        return value, None
    home = _home_of(obj)
    return value, None if home is None else known.identify(obj, home)


def _definition_in(value: Any) -> Any:
    if isinstance(value, types.FunctionType | type):
        return value
    if isinstance(value, types.ModuleType | int | str | bytes | float):
        return None
    try:
        wrapped = value.__wrapped__
    except Exception:  # an attribute may run anybody's code
        return None
    return wrapped if isinstance(wrapped, types.FunctionType) else None


def _class_arguments(cls: type, ident: Ident, home: Home | None) -> Any:
    start = {
        name: cls.__dict__[name]
        for name in ("__module__", "__slots__", "__orig_bases__")
        if name in cls.__dict__
    }
    start["__qualname__"] = cls.__qualname__
    members = None
    if there.is_enum(cls):
        members = {
            name: (member.value, _data_of(member))
            for name, member in cls.__members__.items()  # type: ignore[attr-defined]
        }
        if there.is_flag(cls):
            start["_boundary_"] = cls._boundary_  # type: ignore[attr-defined]
    meta = type(cls)
    return ident, home, meta, cls.__name__, cls.__bases__, start, members


def _data_of(member: Any) -> tuple[object, ...]:
    """Arguments that make what is mixed into an enumeration's member."""
    data_type = type(member)._member_type_
    if data_type is object:
        return ()
    if hasattr(data_type, "__getnewargs__"):
        return tuple(data_type.__getnewargs__(member))
    value = member.value
    return value if isinstance(value, tuple) else (value,)


def _class_state(cls: type, watch: _Watch | None = None) -> Any:
    enumeration = there.is_enum(cls)
    attributes = {
        name: value
        for name, value in cls.__dict__.items()
        if not _made_with_class(cls, name, value, enumeration)
    }
    members = {}
    if enumeration:
        members = {
            name: _member_state(member)
            for name, member in cls.__members__.items()  # type: ignore[attr-defined]
        }
    registered = []
    if isinstance(cls, ABCMeta):
        registered = [r for ref in _abc_dump(cls)[0] if (r := ref())]
    if watch is not None:
        watch.attributes(cls)
        watch.value(tuple(registered))
        for name, value in attributes.items():
            if not _is_dunder(name) and name != "_field_defaults":
                watch.value(value)
    return attributes, registered, members


def _member_state(member: Any) -> dict[str, Any]:
    return {
        name: value
        for name, value in member.__dict__.items()
        if name not in ("_name_", "__objclass__", "_sort_order_")
    }


def _made_with_class(
    cls: type, name: str, value: object, enumeration: bool
) -> bool:
    """True for attributes that making the class has given it."""
    if name in _CLASS_OWN:
        return True
    if isinstance(value, types.MemberDescriptorType):
        return value.__objclass__ is cls
    if not enumeration:
        return False
    if name in cls.__members__ or name == "__new__":  # type: ignore[attr-defined]
        return True
    sunder = name[:1] == name[-1:] == "_" and not _is_dunder(name)
    return sunder and name not in ("_missing_", "_generate_next_value_")


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _methods(cls: type) -> Iterator[types.FunctionType]:
    for value in cls.__dict__.values():
        parts: tuple[object, ...] = (value,)
        if isinstance(value, classmethod | staticmethod):
            parts = (value.__func__,)
        elif isinstance(value, property):
            parts = (value.fget, value.fset, value.fdel)
        elif isinstance(value, functools.cached_property):
            parts = (value.func,)
        for part in parts:
            if isinstance(part, types.FunctionType):
                yield part


# Where things are found


def _goes_by_reference(obj: Any) -> bool:
    """True if the receiver finds the function or class *obj* by name."""
    if known.ident(obj) is not None:
        return False
    name = obj.__module__
    if not isinstance(name, str) or not is_importable(name):
        return False
    return _look_up(sys.modules[name], obj.__qualname__) is obj


def _look_up(place: object, qualname: str) -> object:
    found: Any = place
    for name in qualname.split("."):
        try:
            found = getattr(found, name)
        except Exception:  # an attribute may run anybody's code
            return None
    return found


def _look_up_at(home: Home, qualname: str) -> object:
    name, _, rest = qualname.partition(".")
    found = (namespaces.names(home) or {}).get(name)
    return _look_up(found, rest) if rest else found


def _has_place(obj: Any) -> bool:
    """True for what is made at a module's level, or in a class there."""
    if "<" in obj.__qualname__:
        return False
    if isinstance(obj, types.FunctionType):
        return namespaces.home_of_function(obj) is not None
    return True


def _home_of(obj: Any) -> Home | None:
    home = known.home(obj)
    if home is not None:
        return home
    name = obj.__module__
    if isinstance(obj, types.FunctionType):
        home = namespaces.home_of_function(obj)
        if home is not None and obj.__globals__.get("__name__") == name:
            return home
    if isinstance(name, str) and name in sys.modules:
        return origin.id, name
    return None


def _owner_of(
    function: types.FunctionType, home: Home
) -> tuple[type, str] | None:
    """The class that has *function* as a method, and the method's name."""
    qualname, _, name = function.__qualname__.rpartition(".")
    if not qualname:
        return None
    namespace = namespaces.get(home)
    kept = namespace.newest.get(qualname) if namespace else None
    owner = kept[1] if kept else _look_up_at(home, qualname)
    if not isinstance(owner, type):
        return None
    method = owner.__dict__.get(name)
    if isinstance(method, staticmethod):
        method = method.__func__
    return (owner, name) if method is function else None


def _space_of(function: types.FunctionType) -> str | Home | None:
    """Where the receiver finds the globals of *function*; None if nowhere."""
    home = namespaces.home_of_function(function)
    if home is not None and home[0] == origin.id and is_importable(home[1]):
        return home[1]
    return home


def _made_in_python(cls: type) -> bool:
    return (cls.__flags__ & (_HEAP_TYPE | _IMMUTABLE_TYPE)) == _HEAP_TYPE


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
    home = _home_of(kind)
    if home is None:
        return reduced
    return there.singleton, (home, reduced, kind, dict(obj.__dict__))


def _reduce_method(_: ByValuePickler, method: types.MethodType) -> Any:
    name = method.__func__.__name__
    if _look_up(method.__self__, name) == method:
        return getattr, (method.__self__, name)
    return types.MethodType, (method.__func__, method.__self__)


def _tracked(
    make: Callable[[Any], Callable[..., Any]],
) -> Callable[[ByValuePickler, Any], Any]:
    """A reducer of objects that have a name; *make* tells how to make one."""

    def reduce(_: ByValuePickler, obj: Any) -> Any:
        name = getattr(obj, "__qualname__", None) or obj.__name__
        module = obj.__module__
        if (
            known.ident(obj) is None
            and isinstance(module, str)
            and is_importable(module)
            and _look_up(sys.modules[module], name) is obj
        ):
            return NotImplemented
        ident = known.identify(obj, None)
        return there.make_tracked, (ident, make(obj), ())

    return reduce


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
    memoryview,
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
_REDUCERS: dict[type, Callable[[ByValuePickler, Any], Any]] = {
    kind: _from_cloudpickle(kind) for kind in _CLOUDPICKLED
}
_REDUCERS |= {
    types.CellType: ByValuePickler.reduce_cell,
    types.ModuleType: ByValuePickler.reduce_module,
    types.MethodType: _reduce_method,
    typing.TypeVar: _tracked(_remake_variable),
    typing.ParamSpec: _tracked(_remake_variable),
    typing.TypeVarTuple: _tracked(_remake_variable_tuple),
    typing.NewType: _tracked(_remake_new_type),
    type(functools.lru_cache(int)): _tracked(_remake_lru_cache),
    functools.cached_property: _reduce_cached_property,
    weakref.WeakKeyDictionary: _reduce_weak_dict,
    weakref.WeakValueDictionary: _reduce_weak_dict,
}
