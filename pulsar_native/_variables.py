"""The context variables that travel, by name."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

__all__ = ["strangers", "travels", "variable_of", "variables"]

variables: dict[str, ContextVar[Any]] = {}

# Names that another process sent and that nobody has registered here: their
# variables hold the values until their owners come.
strangers: set[str] = set()


def variable_of(name: str) -> ContextVar[Any]:
    """The variable that travels by this name, made if there is none."""
    variable = variables.get(name)
    if variable is None:
        variable = variables[name] = ContextVar(name)
        strangers.add(name)
    return variable


def travels(variable: ContextVar[Any]) -> bool:
    """Whether it travels, so that it can be pickled by its name."""
    return variables.get(variable.name) is variable
