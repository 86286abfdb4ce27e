"""Which modules another process would find again under their names.

"Another process" is one with the same interpreter, ``sys.path`` and working
directory that has run none of the user's code. No module is imported to
answer the question, and none is executed.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import (
    BuiltinImporter,
    FrozenImporter,
    ModuleSpec,
    PathFinder,
)
from pathlib import Path
from typing import Any

# The program itself: each process has its own.
_PROGRAMS = frozenset({"__main__", "__mp_main__"})


class Importability:
    """Verdicts on modules, remembered while the ways to find them stay.

    A verdict belongs to one module object under one name; all are dropped
    when ``sys.path`` changes, or the working directory does while
    ``sys.path`` has relative entries.
    """

    def __init__(self) -> None:
        self._path: list[str] = []
        self._relative = False
        self._cwd = ""
        self._verdicts: dict[str, tuple[object, bool]] = {}

    def _refresh(self) -> None:
        """Drop the verdicts if modules may be found elsewhere now."""
        if sys.path != self._path:
            self._path = list(sys.path)
            self._relative = not all(
                os.path.isabs(entry)
                for entry in self._path
                if isinstance(entry, str)
            )
            self._verdicts.clear()
        if self._relative:
            cwd = _working_directory()
            if cwd != self._cwd:
                self._cwd = cwd
                self._verdicts.clear()

    def __call__(self, name: str) -> bool:
        """True if another process can import the loaded module *name*."""
        self._refresh()
        module = sys.modules.get(name)
        known = self._verdicts.get(name)
        if known is not None and known[0] is module:
            return known[1]
        verdict = module is not None and self._judge(name, module)
        self._verdicts[name] = module, verdict
        return verdict

    def _judge(self, name: str, module: object) -> bool:
        if name in _PROGRAMS:
            return False
        if name in sys.builtin_module_names:
            return True
        spec = getattr(module, "__spec__", None)
        if not isinstance(spec, ModuleSpec):
            return False
        path = None
        parent = name.rpartition(".")[0]
        if parent:
            if not self(parent):
                return False
            path = getattr(sys.modules[parent], "__path__", None)
            if path is None:
                return False
        return any(
            _same_place(spec, found)
            for finder in _standing_finders(name)
            if (found := _find(finder, name, path)) is not None
        )


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _find(finder: Any, name: str, path: Any) -> ModuleSpec | None:
    try:
        found = finder.find_spec(name, path)
    except Exception:  # a finder may be anybody's
        return None
    return found if isinstance(found, ModuleSpec) else None


def _same_place(loaded: ModuleSpec, found: ModuleSpec) -> bool:
    if loaded.origin is None or found.origin is None:
        here = loaded.submodule_search_locations
        there = found.submodule_search_locations
        return (
            loaded.origin is found.origin
            and here is not None
            and there is not None
            and list(here) == list(there)
        )
    if loaded.origin == found.origin:
        return True
    try:
        return os.path.samefile(loaded.origin, found.origin)
    except OSError:
        return False


def _standing_finders(name: str) -> list[Any]:
    """The finders that a new process has when it imports *name*."""
    standing: list[Any] = [BuiltinImporter, FrozenImporter, PathFinder]
    package = name.partition(".")[0]
    for finder in sys.meta_path:
        if finder in standing:
            continue
        home = getattr(finder, "__module__", None) or ""
        # Put there by the package itself, or by a .pth file at start-up.
        if home.partition(".")[0] == package or _starts_up(home):
            standing.append(finder)
    return standing


def _starts_up(home: str) -> bool:
    file = getattr(sys.modules.get(home), "__file__", None)
    if not isinstance(file, str):
        return False
    try:
        return any(
            f"import {home}" in pth.read_text(errors="replace")
            for pth in Path(file).parent.glob("*.pth")
        )
    except OSError:
        return False


is_importable = Importability()
