"""What a supervisor and its pools may be given."""

from __future__ import annotations

from typing import Any

__all__ = [
    "Rules",
    "check_label",
    "check_restart",
    "check_rules",
    "check_size",
]

# strategy, max_restarts, within, backoff, backoff_max
Rules = tuple[str, int, float, float, float]

_STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
_RESTARTS = ("permanent", "transient", "temporary")
_MOST_RESTARTS = 2**20
_LONGEST = 4_000_000_000  # seconds
_LARGEST = 10_000_000  # workers


def check_rules(rules: Rules) -> None:
    """TypeError or ValueError for what cannot be, by name."""
    strategy, max_restarts, within, backoff, backoff_max = rules
    if strategy not in _STRATEGIES:
        raise ValueError(f"strategy is one of {_STRATEGIES}, not {strategy!r}")
    _check_count("max_restarts", max_restarts, 0, _MOST_RESTARTS)
    _check_seconds("within", within)
    if not within:
        raise ValueError(f"within is more than 0 seconds, not {within!r}")
    _check_seconds("backoff", backoff)
    _check_seconds("backoff_max", backoff_max)
    if backoff_max < backoff:
        raise ValueError(
            f"backoff_max is at least backoff, {backoff!r}, "
            f"not {backoff_max!r}"
        )


def check_restart(restart: str) -> None:
    """ValueError for what is no kind of restart."""
    if restart not in _RESTARTS:
        raise ValueError(f"restart is one of {_RESTARTS}, not {restart!r}")


def check_label(name: str | None) -> None:
    """TypeError for what is no name."""
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name is a text or None, not {name!r}")


def check_size(name: str, count: int, least: int) -> None:
    """TypeError or ValueError for what is no number of workers."""
    _check_count(name, count, least, _LARGEST)


def _check_count(name: str, value: Any, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is an int, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} is {least} to {most}, not {value!r}")


def _check_seconds(name: str, value: Any) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if not 0 <= value <= _LONGEST:
        raise ValueError(f"{name} is 0 to {_LONGEST} seconds, not {value!r}")
