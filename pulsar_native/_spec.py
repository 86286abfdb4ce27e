"""What a new process needs to become its actor: made here, applied there.

A spec travels over the actor's own link, in two parts: plain facts of the
arbiter's process as they are at the spawn, and the values of its user, which
are unpickled only once the facts are applied.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
import warnings
from typing import Any

from . import _pickling, commands

__all__ = [
    "apply_facts",
    "dump",
    "load_facts",
    "load_values",
    "server_environment",
]


_STATUS = 4096  # bytes of /proc/self/status: the umask is its second line


def dump(facts: dict[str, Any], values: dict[str, Any]) -> bytes:
    """The payload of a spec. Raises what pickling *values* raises."""
    pickled = _pickling.dumps(values)
    return pickle.dumps(
        (_environment() | facts, commands.dump_since(0), pickled), 5
    )


def load_facts(payload: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    """The facts, the commands and the values, these two still pickled."""
    facts, table, values = pickle.loads(payload)
    return facts, table, values


def load_values(table: bytes, values: bytes) -> dict[str, Any]:
    """Register the commands; give the user's values."""
    commands.load(table)
    loaded: dict[str, Any] = _pickling.loads(values)
    return loaded


def _environment() -> dict[str, Any]:
    """What an actor inherits of this process, as of now."""
    return {
        "environ": _environment_changes(),
        "cwd": _working_directory(),
        "path": [p for p in sys.path if isinstance(p, str)],
        "argv": list(sys.argv),
        "umask": _umask(),
        "warnings": _warning_filters(),
        "levels": _logging_levels(),
    }


_server_environ: dict[bytes, bytes] = {}


def server_environment() -> dict[bytes, bytes]:
    """The variables with which every fork server of this process starts.

    Those of the first start, so that a spawn has only to tell what is
    different now.
    """
    if not _server_environ:
        _server_environ.update(os.environb)
        _server_environ.pop(b"PYTHONINSPECT", None)
    return _server_environ


def forget_environment() -> None:
    """Nobody has started a server in this process yet."""
    _server_environ.clear()


def _environ() -> dict[bytes, bytes]:
    """What os.environb shows: its own dict, as a copy takes 50 times longer
    than all that is done with it."""
    data = getattr(os.environb, "_data", None)
    return data if type(data) is dict else dict(os.environb)


def _environment_changes() -> tuple[dict[bytes, bytes], list[bytes]]:
    """Variables that a child of the server must set, and must drop."""
    now, then = _environ(), server_environment()
    if now == then:
        return {}, []
    changed = {n: v for n, v in now.items() if then.get(n) != v}
    return changed, [name for name in then if name not in now]


def _change_environment(
    changed: dict[bytes, bytes], dropped: list[bytes]
) -> None:
    for name in dropped:
        os.environb.pop(name, None)
    os.environb.update(changed)


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _umask() -> int:
    """Read from /proc: os.umask would have to change it for a moment."""
    try:
        with open("/proc/self/status", "rb", buffering=0) as file:
            text = file.read(_STATUS)
    except OSError:
        return 0o022
    _, _, rest = text.partition(b"\nUmask:")
    return int(rest.split(None, 1)[0], 8) if rest else 0o022


def _warning_filters() -> bytes | None:
    try:
        return pickle.dumps(list(warnings.filters))
    except Exception:
        return None


def _logging_levels() -> dict[str, Any]:
    root = logging.getLogger()
    return {
        "disable": root.manager.disable,
        "root": root.level,
        "loggers": {
            name: logger.level
            for name, logger in list(root.manager.loggerDict.items())
            if isinstance(logger, logging.Logger) and logger.level
        },
    }


def apply_facts(facts: dict[str, Any]) -> None:
    """Make this process like the arbiter's was at the spawn."""
    _change_environment(*facts["environ"])
    if facts["cwd"] is not None:
        os.chdir(facts["cwd"])
    os.umask(facts["umask"])
    sys.path[:] = facts["path"]
    sys.argv[:] = facts["argv"]
    if facts["warnings"] is not None:
        warnings.filters[:] = pickle.loads(facts["warnings"])  # type: ignore[index]
        warnings._filters_mutated()  # type: ignore[attr-defined]
    _apply_levels(facts["levels"])


def _apply_levels(levels: dict[str, Any]) -> None:
    """Only what differs: each change goes through all loggers."""
    root = logging.getLogger()
    if root.manager.disable != levels["disable"]:
        logging.disable(levels["disable"])
    if root.level != levels["root"]:
        root.setLevel(levels["root"])
    for name, level in levels["loggers"].items():
        logging.getLogger(name).setLevel(level)
