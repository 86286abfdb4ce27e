"""Events: named lists of callbacks that belong to an object."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["Callback", "Event", "EventHandler", "call_with"]

Callback = Callable[..., Any]


class Event:
    """The callbacks bound to one name of one object.

    A one-time event fires once; callbacks cannot be bound to it afterwards.
    """

    __slots__ = ("_fired", "_handlers", "_onetime", "name")

    def __init__(self, name: str, *, onetime: bool = False) -> None:
        self.name = name
        self._onetime = onetime
        self._fired = False
        self._handlers: list[Callback] = []

    def __repr__(self) -> str:
        return f"<Event {self.name} of {len(self._handlers)} callbacks>"

    def onetime(self) -> bool:
        """Whether it fires once only."""
        return self._onetime

    def fired(self) -> bool:
        """Whether it is a one-time event that has fired."""
        return self._fired

    def handlers(self) -> list[Callback]:
        """The bound callbacks, in the order of binding."""
        return list(self._handlers)

    def bind(self, callback: Callback) -> None:
        """Add a callback; RuntimeError if the event has fired for good."""
        if self._fired:
            raise RuntimeError(f"event {self.name!r} has fired already")
        if not callable(callback):
            raise TypeError(
                f"a callback of event {self.name!r} must be callable, "
                f"not {type(callback).__name__}"
            )
        self._handlers.append(callback)

    def unbind(self, callback: Callback) -> int:
        """Remove a callback; how many times it was bound."""
        before = len(self._handlers)
        self._handlers = [h for h in self._handlers if h != callback]
        return before - len(self._handlers)

    def clear(self) -> Event:
        """Remove all callbacks."""
        self._handlers.clear()
        return self

    def take(self) -> list[Callback]:
        """The callbacks to call for one firing.

        A one-time event gives them out once and then forgets them.
        """
        handlers = list(self._handlers)
        if self._onetime:
            self._fired = True
            self._handlers.clear()
        return handlers


class EventHandler:
    """An object with events. ONE_TIME_EVENTS and MANY_TIMES_EVENTS name
    those that exist from the start."""

    ONE_TIME_EVENTS: tuple[str, ...] = ()
    MANY_TIMES_EVENTS: tuple[str, ...] = ()

    @functools.cached_property
    def _events(self) -> dict[str, Event]:
        return {}  # each is made when it is asked for

    def event(self, name: str) -> Event:
        """The event of this name, made as a many-times one if unknown."""
        event = self._events.get(name)
        if event is None:
            onetime = name in self.ONE_TIME_EVENTS
            event = self._events[name] = Event(name, onetime=onetime)
        return event

    def has_callbacks(self, name: str) -> bool:
        """Whether something is bound to the event of this name."""
        event = self._events.get(name)
        return event is not None and bool(event.handlers())

    def events(self) -> dict[str, Event]:
        """All events by name."""
        for name in (*self.ONE_TIME_EVENTS, *self.MANY_TIMES_EVENTS):
            self.event(name)
        return dict(self._events)

    def bind_events(self, hooks: Mapping[str, Any]) -> dict[str, Any]:
        """Bind the values whose names are events: one callback each, or a
        list or tuple of them. Returns the rest."""
        known = {*self.ONE_TIME_EVENTS, *self.MANY_TIMES_EVENTS}
        known |= self._events.keys()
        rest = {}
        for name, value in hooks.items():
            if name not in known:
                rest[name] = value
            elif value is not None:
                for callback in _each(value):
                    self.event(name).bind(callback)
        return rest


def _each(value: Any) -> Iterable[Callback]:
    return value if isinstance(value, list | tuple) else (value,)


def call_with(callback: Callback, owner: object, **data: Any) -> Any:
    """Call callback(owner) with those keywords of *data* that it takes.

    A keyword whose value is None is left out, so that plain f(owner) works.
    """
    given = {name: value for name, value in data.items() if value is not None}
    if not given:
        return callback(owner)
    try:
        parameters = inspect.signature(callback).parameters
    except (TypeError, ValueError):
        return callback(owner, **given)
    kinds = {p.kind for p in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        given = {n: v for n, v in given.items() if n in parameters}
    return callback(owner, **given)
