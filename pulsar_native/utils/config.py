"""The settings of an actor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from ..kinds import kind_name

__all__ = ["Config", "check_seconds"]

_LONGEST = 2**63


def check_seconds(name: str, value: Any) -> float:
    """The value, a number of at least 0; TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if not value >= 0:
        raise ValueError(f"{name} must be 0 or more seconds, not {value!r}")
    if isinstance(value, int) and value > _LONGEST:
        raise ValueError(f"{name} must be at most 2**63 seconds, or inf")
    return value


def _spin(name: str, value: Any) -> float:
    if check_seconds(name, value) > 0.01:
        raise ValueError(f"{name} must be at most 0.01 s, not {value!r}")
    return float(value)


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if not 1 <= value < _LONGEST:
        raise ValueError(f"{name} must be 1 to 2**63 - 1, not {value!r}")
    return value


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if not 0 <= value < 2**32:
        raise ValueError(f"{name} must be 0 to 2**32 - 1, not {value!r}")
    return value


def _spares(name: str, value: Any) -> int:
    if _count(name, value) > 1000:
        raise ValueError(f"{name} must be at most 1000, not {value!r}")
    return int(value)


def _some_seconds(name: str, value: Any) -> float | None:
    if value is not None and check_seconds(name, value) == 0:
        raise ValueError(f"{name} must be more than 0 seconds, or None")
    found: float | None = value
    return found


def _policy(name: str, value: Any) -> str:
    if value not in ("wait", "fail", "drop"):
        raise ValueError(
            f"{name} must be 'wait', 'fail' or 'drop', not {value!r}"
        )
    return str(value)


def _kind(name: str, value: Any) -> str:
    return kind_name(value)


def _idle(name: str, value: Any) -> float:
    if check_seconds(name, value) == float("inf"):
        raise ValueError(f"{name} must be seconds, or 0, not {value!r}")
    found: float = value
    return found


def _logging(name: str, value: Any) -> str:
    if value not in ("arbiter", "local"):
        raise ValueError(f"{name} must be 'arbiter' or 'local', not {value!r}")
    return str(value)


def _modules(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(v, str) for v in value):
        raise TypeError(
            f"{name} must be a list of module names, not {value!r}"
        )
    return tuple(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


# name -> (default, validator); the docstring of Config tells the meanings,
# spawning.SpawnOptions the types.
_SETTINGS: dict[str, tuple[Any, Callable[[str, Any], Any]]] = {
    "timeout": (30, check_seconds),
    "drain_timeout": (25, check_seconds),
    "exit_timeout": (3, check_seconds),
    "spawn_timeout": (30, check_seconds),
    "concurrency": ("process", _kind),
    "workers": (1, _count),
    "thread_workers": (5, _positive),
    "logging": ("arbiter", _logging),
    "preload": ((), _modules),
    "reserve": (1, _spares),
    "message_bytes": (2**30, _positive),
    "outbox_messages": (100_000, _positive),
    "outbox_bytes": (2**26, _positive),
    "link_idle": (60, _idle),
    "mailbox_messages": (100_000, _positive),
    "mailbox_bytes": (2**26, _positive),
    "mailbox_policy": ("wait", _policy),
    "max_inflight": (10_000, _count),
    "ask_timeout": (None, _some_seconds),
    "slow": (10, check_seconds),
    "spin": (0.00005, _spin),
    "debug": (False, _flag),
}


class Config:
    """Settings by name, as attributes; other names go to *params*.

    timeout            30       seconds of silence, outside plain functions,
                                after which an actor is hung and ended; 0:
                                never. The heartbeat follows it (0.3 of it,
                                between 3 and 60, at most half of it; 600
                                while the loop sleeps)
    drain_timeout      25       seconds that a draining actor may take for
                                what it has begun or has in its queue
    exit_timeout       3        seconds that running commands, and then
                                ``stopping`` hooks, may take at the end
    spawn_timeout      30       seconds from ``spawn`` to the handshake
    concurrency        process  the kind of new actors; see ``kinds``
    workers            1        actors that a monitor keeps alive
    thread_workers     5        threads of an actor's executor
    logging            arbiter  where records of actors go, or ``local``
    preload            ()       modules that the fork server imports first
    reserve            1        processes that the fork server keeps forked
                                ahead, so that a spawn only hands one over
    message_bytes      2**30    largest message that is sent or taken
    outbox_messages    100000   messages that may wait for one target, and
    outbox_bytes       2**26    their bytes; beyond, asks fail
    link_idle          60       seconds without a message after which two
                                processes close their direct link; 0: none
                                is made, the arbiter relays everything
    mailbox_messages   100000   messages that may wait in an actor, and
    mailbox_bytes      2**26    their bytes; beyond,
    mailbox_policy     wait     those who send ``wait``, or their asks
                                ``fail``, or the oldest message is ``drop``ped
    max_inflight       10000    commands that may be under way in an actor;
                                0: any number
    ask_timeout        None     seconds that an actor's asks may take that
                                have no other deadline
    slow               10       seconds that a message may wait in an actor
                                before that is logged, or its loop be blocked;
                                0: never
    spin               0.00005  seconds that an actor's loop looks for the
                                next message before it sleeps; 0: none
    debug              False    debug mode of an actor's event loop
    """

    def __init__(self, **params: Any) -> None:
        self.settings = {name: s[0] for name, s in _SETTINGS.items()}
        self.params: dict[str, Any] = {}
        for name, value in params.items():
            if value is not None:
                self.set(name, value)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            for values in ("settings", "params"):
                found = self.__dict__.get(values, {})
                if name in found:
                    return found[name]
        raise AttributeError(f"no setting {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _SETTINGS:
            raise AttributeError(f"use set({name!r}, value)")
        super().__setattr__(name, value)

    def __iter__(self) -> Iterator[str]:
        return iter(self.settings)

    def __len__(self) -> int:
        return len(self.settings)

    def __contains__(self, name: object) -> bool:
        return name in self.settings

    def __repr__(self) -> str:
        return f"Config({self.settings | self.params})"

    @staticmethod
    def is_setting(name: str) -> bool:
        """Whether this is the name of a setting."""
        return name in _SETTINGS

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a setting or param, or *default*."""
        return getattr(self, name, default)

    def set(self, name: str, value: Any) -> None:
        """Set one; TypeError or ValueError names what is wrong with it."""
        if name not in _SETTINGS:
            self.params[name] = value
            return
        try:
            self.settings[name] = _SETTINGS[name][1](name, value)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f'Could not validate value for "{name}" setting: {error}'
            ) from None

    def copy(self) -> Config:
        """A copy with settings of its own."""
        other = Config()
        other.settings = dict(self.settings)
        other.params = copy.copy(self.params)
        return other
