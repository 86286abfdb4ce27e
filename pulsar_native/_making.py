"""Actors with an object of a user's class: what they are to be made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _pickling
from ._command import methods_of
from .consts import ACTOR_EVENTS
from .utils.config import Config

if TYPE_CHECKING:
    from ._native import Cell

__all__ = ["OPTIONS", "Making", "is_option", "sort_out"]

OPTIONS = frozenset({"aid", "cfg", "extra", "kind", "name", *ACTOR_EVENTS})


class Making:
    """A class and the arguments for its constructor.

    Pickled once, by whoever asked for the actor; only the actor itself
    unpickles it, so that nobody between them needs to know the class.
    """

    def __init__(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if not isinstance(cls, type):
            raise TypeError(f"spawn takes a class, not {cls!r}")
        self.label = cls.__qualname__
        self._parts = cls, args, kwargs
        self._pickled: bytes | None = None

    def __reduce__(self) -> Any:
        return _made_elsewhere, (self.label, self.pickled())

    def pickled(self) -> bytes:
        """For ``make``. Raises what pickling raises."""
        if self._pickled is None:
            try:
                self._pickled = _pickling.dumps(self._parts)
            except Exception as error:
                _, args, kwargs = self._parts
                _pickling.explain(error, args, kwargs)
                raise
        return self._pickled

    def make(self, cell: Cell) -> None:
        """Make the object, of copies, and give it to an actor's cell.

        Raises what its class does.
        """
        cls, args, kwargs = _pickling.loads(self.pickled())
        made = cls(*args, **kwargs)
        cell.methods = methods_of(type(made))
        cell.instance = made


def _made_elsewhere(label: str, pickled: bytes) -> Making:
    making = Making.__new__(Making)
    making.label = label
    making._pickled = pickled
    return making


def is_option(name: str) -> bool:
    """Whether a keyword belongs to ``spawn``, not to a constructor."""
    return name in OPTIONS or Config.is_setting(name)


def sort_out(
    cls: type | Making | None, args: tuple[Any, ...], params: dict[str, Any]
) -> tuple[Making | None, dict[str, Any]]:
    """What ``spawn`` was given, as what to make and the options.

    TypeError for arguments without a class.
    """
    if isinstance(cls, Making | None):
        if args:
            raise TypeError(f"spawn takes a class, not {args[0]!r}")
        return cls, params
    options = {n: v for n, v in params.items() if is_option(n)}
    kwargs = {n: v for n, v in params.items() if n not in options}
    return Making(cls, args, kwargs), options
