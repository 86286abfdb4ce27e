"""Who waits for the ends of which actors, in one node.

Of an actor that lives here, the end is seen here. Of any other the arbiter is
asked, by WATCH; an arbiter asks the node of a coroutine actor in its turn. It
answers by ENDED. docs/protocol.md has the two.
"""

from __future__ import annotations

import itertools
import pickle
import struct
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

from ._down import Down
from .exceptions import ActorNotFound
from .proxy import node_of

if TYPE_CHECKING:
    from .node import NodeActor

__all__ = ["KIND_ENDED", "KIND_WATCH", "OnEnd", "Waiter", "Watches"]

KIND_WATCH = 27  # csrc/mailbox/envelope.h
KIND_ENDED = 28

_number = struct.Struct("<Q")

Told = Callable[[Down], object]
Missing = Callable[[ActorNotFound], object]


class Waiter:
    """Somebody who waits for the end of one actor; told at most once.

    *key* is the actor's number, or the text that leads to it. ``cancel``
    takes it back.
    """

    __slots__ = ("_watches", "asked", "key")

    _context: Context | None = None  # in which it is told

    def __init__(self, watches: Watches, key: int | str) -> None:
        self._watches: Watches | None = watches
        self.key = key
        self.asked: tuple[int, int] | None = None  # the node, and the id

    def cancel(self) -> None:
        """Wait no more; twice, or when it has been told, does no harm."""
        watches, self._watches = self._watches, None
        if watches is not None:
            watches._take_back(self)

    def _call(self, found: Down | ActorNotFound) -> None:
        if self._watches is not None:
            self._watches = None
            self.told(found)

    def told(self, found: Down | ActorNotFound) -> None:
        """The actor has ended, or there never was one."""
        raise NotImplementedError


class OnEnd(Waiter):
    """A callback, called in the context in which it was made."""

    __slots__ = ("_callback", "_context", "_missing")

    def __init__(
        self,
        watches: Watches,
        key: int | str,
        callback: Told,
        missing: Missing | None = None,
    ) -> None:
        super().__init__(watches, key)
        self._callback = callback
        self._missing = missing
        self._context = copy_context()

    def told(self, found: Down | ActorNotFound) -> None:
        """Call it."""
        if isinstance(found, Down):
            self._callback(found)
        elif self._missing is not None:
            self._missing(found)
        else:
            self._callback(_unknown(self.key, str(found)))


class Watches:
    """The callbacks of one node, and those that it serves for other nodes.
    For the thread of its loop."""

    def __init__(self, node: NodeActor) -> None:
        self._node = node
        self._ids = itertools.count(1)
        self._waiting: dict[int | str, list[Waiter]] = {}
        # Of these, what other nodes were asked, by node and id; and what
        # other nodes have asked here, the same.
        self._asked: dict[int, dict[int, Waiter]] = {}
        self._served: dict[int, dict[int, Waiter]] = {}

    def add(
        self, key: int | str, callback: Told, missing: Missing | None = None
    ) -> OnEnd:
        """See ``NodeActor.on_end``; *missing* is called with the error if it
        turns out later that there never was such an actor."""
        made = OnEnd(self, key, callback, missing)
        self.put(made)
        return made

    def put(self, made: Waiter) -> None:
        """Have it told. Raises ActorNotFound if that is known now."""
        if self._node._lives_here(made.key):
            self._waiting.setdefault(made.key, []).append(made)
        elif not self._ask(made):
            self._tell(made, self._past(made.key))

    def of(self, key: int | str) -> list[Waiter]:
        """Those that wait for the end of that actor."""
        return list(self._waiting.get(key, ()))

    def numbers(self) -> list[int]:
        """Of those whose end somebody waits for, as far as known by it; but
        of the node's own actor."""
        own = self._node.number
        return [n for n in self._waiting if isinstance(n, int) and n != own]

    def ended(self, down: Down) -> None:
        """An actor has ended: whoever waits for that hears so, and whoever
        waits for one that lived in its node."""
        for made in self._waiting.pop(down.number, ()):
            self._tell(made, down)
        for made in self._asked.pop(down.number, {}).values():
            self._forget(made)
            self._tell(made, self._with_node(made.key, down))
        for made in self._served.pop(down.number, {}).values():
            made.cancel()

    def close(self, down: Down) -> None:
        """The node ends, and sees no end any more but its own."""
        self.ended(down)
        for key, waiting in list(self._waiting.items()):
            for made in waiting:
                self._tell(made, self._with_node(key, down))
        self._waiting.clear()

    def receive(self, kind: int, source: int, id: int, payload: bytes) -> None:
        """What another node asks, or answers."""
        node = node_of(source)
        if kind == KIND_WATCH:
            if payload:
                self._serve(node, id, payload)
            else:
                self._end_service(node, id)
            return
        made = self._asked.get(node, {}).pop(id, None)
        if made is not None:
            self._forget(made)
            found = pickle.loads(payload) if payload else None
            self._tell(made, found or ActorNotFound(self._aid_of(made.key)))

    # --- asking ---

    def _ask(self, made: Waiter) -> bool:
        """Ask whoever will see the end; False if there is nobody to ask."""
        key = made.key
        whom = self._node._who_sees_end(key)
        if not whom:
            return False
        number, text = (key, "") if isinstance(key, int) else (0, key)
        id = next(self._ids)
        asked = self._post(
            KIND_WATCH, whom, id, _number.pack(number) + text.encode()
        )
        if not asked and not self._node._lives_here(whom):
            down = Down("arbiter", "arbiter", whom, "the arbiter is gone")
            self._tell(made, self._with_node(key, down))
            return True
        # A child's link may be lost: its end is coming, and will tell.
        made.asked = whom, id
        self._asked.setdefault(whom, {})[id] = made
        self._waiting.setdefault(key, []).append(made)
        return True

    def _take_back(self, made: Waiter) -> None:
        self._forget(made)
        if made.asked is not None:
            node, id = made.asked
            if self._asked.get(node, {}).pop(id, None) is not None:
                self._post(KIND_WATCH, node, id, b"")

    def _forget(self, made: Waiter) -> None:
        others = self._waiting.get(made.key, [])
        if made in others:
            others.remove(made)
        if not others:
            self._waiting.pop(made.key, None)

    def _post(self, kind: int, node: int, id: int, payload: bytes) -> bool:
        mailbox = self._node.mailbox
        if mailbox.closed:
            return False
        return mailbox.post(kind, node, payload, id=id)

    # --- answering ---

    def _serve(self, node: int, id: int, payload: bytes) -> None:
        (number,) = _number.unpack_from(payload)
        text = payload[_number.size :].decode()
        key = number or self._node._port.names.get(text, text)
        try:
            made = self.add(
                key,
                lambda down: self._answer(node, id, down),
                lambda error: self._answer(node, id, None),
            )
        except ActorNotFound:
            self._answer(node, id, None)
        else:
            self._served.setdefault(node, {})[id] = made

    def _answer(self, node: int, id: int, down: Down | None) -> None:
        self._served.get(node, {}).pop(id, None)
        payload = b"" if down is None else pickle.dumps(down, 5)
        if len(payload) > self._node._takes_bytes(node):
            assert down is not None
            payload = pickle.dumps(down.brief(), 5)
        self._post(KIND_ENDED, node, id, payload)

    def _end_service(self, node: int, id: int) -> None:
        made = self._served.get(node, {}).pop(id, None)
        if made is not None:
            made.cancel()

    # --- telling ---

    def _tell(self, made: Waiter, found: Down | ActorNotFound) -> None:
        """Have it called in the loop's next turn."""
        loop = self._node._loop
        if made._watches is not None and not loop.is_closed():
            loop.call_soon(made._call, found, context=made._context)

    def _past(self, key: int | str) -> Down:
        """The end of one that has ended; ActorNotFound if there was none."""
        ended = self._node._ended
        down = ended.get(key)
        if down is not None:
            return down
        if isinstance(key, int):
            down = ended.get(node_of(key))
            if down is not None:
                return self._with_node(key, down)
            if self._node._has_had(key):
                return _unknown(key, "it has ended", self._aid_of(key))
        raise ActorNotFound(self._aid_of(key))

    def _with_node(self, key: int | str, down: Down) -> Down:
        """The end of one that lived where *down* was, or was seen there."""
        if isinstance(key, str):
            return down.of(key, key, 0)
        proxy = self._node._port.proxy(key)
        return down.of(proxy.aid, proxy.name, key)

    def _aid_of(self, key: int | str) -> str:
        if isinstance(key, str):
            return key
        return self._node._port.proxy(key).aid


def _unknown(key: int | str, reason: str, aid: str = "") -> Down:
    number = key if isinstance(key, int) else 0
    return Down(aid or str(key), "actor", number, reason)
