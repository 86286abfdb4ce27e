"""What functions and classes consist of, as parts that can be pickled."""

from __future__ import annotations

import abc
import collections
import contextlib
import dataclasses
import dis
import itertools
import marshal
import operator
import sys
import types
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import _definitions as there
from ._namespaces import Home, Ident, Space, known
from ._native import BaseCommand
from ._places import goes_by_reference, has_place, home_of, made_in_python

_abc_dump: Any = vars(abc)["_get_dump"]  # the subclasses registered

SINGLETONS: dict[type, tuple[Any, str]] = {
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
        there.UNFILLED,
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
    BaseCommand,
    *SINGLETONS,
)


_global_names: weakref.WeakKeyDictionary[types.CodeType, tuple[str, ...]]
_global_names = weakref.WeakKeyDictionary()


@dataclass(slots=True)
class Watch:
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


def spelled_code(
    function: types.FunctionType,
) -> tuple[bytes | types.CodeType, str]:
    code: bytes | types.CodeType = function.__code__
    # Code with constants that no compiler makes goes part by part.
    with contextlib.suppress(ValueError):
        code = marshal.dumps(code)
    return code, function.__name__


def function_state(
    function: types.FunctionType, space: Space, watch: Watch | None
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
        if name != there.UNFILLED
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
    obj = definition_in(value)
    if obj is None or not has_place(obj) or goes_by_reference(obj):
        return value, None
    if isinstance(obj, type) and not made_in_python(obj):
        return value, None
    home = home_of(obj)
    return value, None if home is None else known.identify(obj, home)


def definition_in(value: Any) -> Any:
    if isinstance(value, types.FunctionType | type):
        return value
    if isinstance(value, types.ModuleType | int | str | bytes | float):
        return None
    try:
        wrapped = value.__wrapped__
    except Exception:  # an attribute may run anybody's code
        return None
    return wrapped if isinstance(wrapped, types.FunctionType) else None


def class_arguments(cls: type, ident: Ident, home: Home | None) -> Any:
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


def class_state(cls: type, watch: Watch | None = None) -> Any:
    enumeration = there.is_enum(cls)
    attributes = {
        name: _Spelled(value) if _is_method(value) else value
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
    if isinstance(cls, abc.ABCMeta):
        registered = [r for ref in _abc_dump(cls)[0] if (r := ref())]
    if watch is not None:
        watch.attributes(cls)
        watch.value(tuple(registered))
        for name in attributes:
            if not _is_dunder(name) and name != "_field_defaults":
                watch.value(cls.__dict__[name])
    return attributes, registered, members


def _is_method(value: object) -> bool:
    return isinstance(value, BaseCommand) and value.method


class _Spelled:
    """A command in the body of its class, where it cannot be looked up."""

    def __init__(self, command: Any) -> None:
        self._command = command

    def __reduce__(self) -> Any:
        return self._command.spell()


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
