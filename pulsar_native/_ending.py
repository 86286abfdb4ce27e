"""The end of a process that a fork server made.

An interpreter that is finalized writes to all that it has loaded, which
costs a forked child the copies of thousands of pages that it shares with the
server: more than 10 ms. So what the program has brought here ends as at any
interpreter's exit, and what the server had loaded stays as it is: modules, and
C libraries too, of which OpenSSL would free hundreds of blocks.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys
import threading
import weakref
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NoReturn

from . import _native, commands
from ._namespaces import namespaces

__all__ = ["Shared", "end", "release"]

# What holds things of the program though the collector cannot see it: it was
# made before the fork. Called once nothing of the program runs any more.
release: list[Callable[[], object]] = []

# The C type below all files. To ask io.IOBase itself, which has a registry,
# would leave a weak reference to each type that was asked about.
_FILE = io.IOBase.__mro__[1]


class Shared:
    """What the server has loaded by now: its children leave it as it is."""

    def __init__(self) -> None:
        # This one last: nobody takes it away to import it again.
        sys.modules[__name__] = sys.modules.pop(__name__)
        self.modules = frozenset(sys.modules)
        self.libraries = _native.libraries_added()

    def brought(self) -> list[str]:
        """The names of other modules, in the order of their import."""
        # From the youngest: to look at a name is to write to its page.
        names: list[str] = []
        for name in reversed(sys.modules):
            if name == __name__:
                break
            if name not in self.modules:
                names.append(name)
        return names[::-1]

    def has_all_libraries(self) -> bool:
        """Whether no other C code can have asked to be told of the end."""
        if "LD_PRELOAD" in os.environ or not self.libraries:
            return False
        return _native.libraries_added() == self.libraries


def end(code: int, shared: Shared) -> NoReturn:
    """End this process as ``sys.exit(code)`` does.

    Threads are joined, ``atexit`` callbacks run, modules are cleared,
    garbage is collected, files are flushed. What is *shared* stays as it is.
    Where daemon threads live on it *is* sys.exit.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if len(os.listdir("/proc/self/task")) > 1 or not _flush_streams():
        sys.exit(code)
    while release:
        release.pop()()
    _flush_files()  # the collector may close what is below one before it
    _clear_modules(shared)
    _flush_files()
    if not _flush_streams():  # of what came from those
        sys.exit(code)
    _native.exit_process(code, shared.has_all_libraries())


def _flush_streams() -> bool:
    """Whether that went well; if not, the interpreter shall tell of it."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except Exception:
        return False
    return True


def _clear_modules(shared: Shared) -> None:
    """They go, and what only they refer to. Of those that something else
    refers to the objects go, those who import before whom they import."""
    modules = namespaces.release()
    modules += [sys.modules.pop(name) for name in shared.brought()]
    modules = [m for m in modules if isinstance(m, ModuleType)]
    references = [weakref.ref(module) for module in modules]
    modules.clear()
    commands.table.clear()
    gc.collect()
    survived = False
    for reference in references:
        module = reference()
        if module is not None:
            survived = True
            _clear(vars(module))
    if survived:
        gc.collect()


# What the ends of objects may yet need.
_TOOLS = (ModuleType, type, FunctionType, BuiltinFunctionType)


def _clear(names: dict[str, Any]) -> None:
    for name, value in list(names.items()):
        if not isinstance(value, _TOOLS) and name[:2] != "__":
            names[name] = None


def _flush_files() -> None:
    """All that are open: nothing may close those that the server's modules
    refer to."""
    for thing in gc.get_objects():
        if issubclass(type(thing), _FILE):
            with contextlib.suppress(Exception):  # a closed one, say
                thing.flush()
