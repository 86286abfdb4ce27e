"""What an arbiter has beside the actors that it manages: monitors."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ._coroutine import CoroutineActor
from .consts import ACTOR_STATES
from .manager import Manager
from .proxy import ActorProxy, number_of_aid
from .utils.config import Config

if TYPE_CHECKING:
    from ._native import Cell
    from .actor import Actor
    from .monitor import Monitor

__all__ = ["Overseer"]


class Overseer(Manager):
    """An actor in whose loop monitors live, each with actors of its own."""

    def __init__(self, name: str, aid: str, cfg: Config) -> None:
        super().__init__(name, aid, cfg)
        self._monitors: dict[str, Monitor] = {}
        # Of cells whose actor is still to be made, if it is no plain one.
        self._classes: dict[int, type[CoroutineActor]] = {}

    def get_actor(self, aid: Any) -> Any:
        """The actor itself, a monitor, a proxy of an actor that it or a
        monitor manages, or None.

        *aid* is an aid, a name or a proxy.
        """
        key = aid.aid if isinstance(aid, ActorProxy) else aid
        number = self._port.names.get(key)
        if number is None and isinstance(key, str):
            number = number_of_aid(key)
        for actor in (self, *self._monitors.values()):
            if actor.number == number:
                return actor
        return None if number is None else self._known.get(number)

    @property
    def monitors(self) -> dict[str, Monitor]:  # type: ignore[override]
        """Its monitors by name, in the order in which they were added."""
        return self._monitors.copy()

    @property
    def registered(  # type: ignore[override]
        self,
    ) -> dict[str, Actor]:
        """Itself and its monitors, by identity."""
        return {self.identity: self, **self._monitors}

    def add_monitor(
        self,
        name: str,
        *,
        strategy: str = "one_for_one",
        max_restarts: int = 5,
        within: float = 10.0,
        backoff: float = 0.1,
        backoff_max: float = 30.0,
        **params: Any,
    ) -> Monitor:
        """Add an actor to this loop that keeps a pool of workers.

        It starts in the next turn of the loop. *name*, 1 to 255 bytes of
        text, is unique among the living actors. *params* are as for
        ``spawn``: its hooks, settings and attributes; ``workers`` says how
        many actors it keeps alive, ``kind`` of what kind. All of them have its
        settings; its ``on_params`` hooks say what else they are given.

        The rules are those of ``supervisor``. Past them the monitor ends,
        with all its actors, and says so in the log.

        Raises KeyError if a monitor has that name, NameTaken if another actor
        has; RuntimeError without a running loop, off its thread or when the
        arbiter stops; ValueError and TypeError for what cannot be.
        """
        from .monitor import add_monitor

        if self._loop is None:
            raise RuntimeError(
                "the arbiter has no loop yet: add monitors in its start hook"
            )
        if self.tid != threading.get_ident():
            raise RuntimeError("not on the thread of the arbiter's loop")
        if self.state > ACTOR_STATES.RUN:
            raise RuntimeError(f"{self!r} is {self.info_state}")
        rules = (strategy, max_restarts, within, backoff, backoff_max)
        return add_monitor(self, name, rules, params)

    def _actor_of(self, cell: Cell) -> Actor:
        return self._classes.pop(cell.number, CoroutineActor)(self, cell)

    def _enter_monitor(self, monitor: Monitor) -> None:
        self._monitors[monitor.name] = monitor
        self._subordinates.append(monitor)

    def _remove_monitor(self, monitor: Monitor) -> None:
        if self._monitors.get(monitor.name) is monitor:
            del self._monitors[monitor.name]
            self._subordinates.remove(monitor)
