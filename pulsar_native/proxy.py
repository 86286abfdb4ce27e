"""References to actors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Generic

from ._native import BaseProxy, new_generation
from .exceptions import ForkedError

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T_co = TypeVar("T_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)

NODE_BITS = 36  # of a number; the rest counts the actors of the node

__all__ = [
    "NODE_BITS",
    "ActorProxy",
    "aid_of",
    "get_proxy",
    "new_number",
    "node_of",
    "number_of",
    "number_of_aid",
    "worker_name",
]

# In a child forked by somebody else the proxies made before are of no use.
os.register_at_fork(after_in_child=new_generation)


def new_number() -> int:
    """A number for a new node: 36 random bits, never 0."""
    return (int.from_bytes(os.urandom(8), "little") >> 28) or 1


def node_of(number: int) -> int:
    """The number of the node in which an actor lives: its low 36 bits."""
    return number & (1 << NODE_BITS) - 1


def aid_of(number: int) -> str:
    """The aid of an actor that was given none."""
    return f"i{number:016x}"


def worker_name(monitor: str) -> str:
    """What the actors of a monitor are called, unless they were given a
    name: a label, which does not lead to them."""
    return f"{monitor}.worker"


def number_of_aid(aid: str) -> int | None:
    """The number of which ``aid_of`` has made this, or None."""
    digits = aid[1:]
    if len(digits) == 16 and aid[0] == "i" and _HEX.issuperset(digits):
        return int(digits, 16)
    return None


_HEX = frozenset("0123456789abcdef")


class ActorProxy(BaseProxy, Generic[T_co]):
    """A reference to an actor: picklable, hashable, equal by its aid.

    *aid* is unique to one life of the actor; *name* is for people. T is the
    class of the actor's object, None if it has none; only type checkers look
    at it.
    """

    __slots__ = ("__weakref__",)

    @property
    def proxy(self) -> ActorProxy[T_co]:
        """Itself."""
        return self

    def __repr__(self) -> str:
        return f"{self.name}({self.aid})"

    def __eq__(self, other: object) -> bool:
        aid = getattr(other, "aid", None)
        return aid == self.aid if isinstance(aid, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.aid)

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorProxy, (self.aid, self.name, self.number)


def number_of(proxy: ActorProxy) -> int:
    """The number behind a proxy; ForkedError if it is of another process."""
    if not proxy._ours:
        raise ForkedError(
            f"{proxy!r} belongs to the process that this one was forked "
            "from; spawn actors of your own"
        )
    return proxy.number


def get_proxy(obj: Any, safe: bool = False) -> ActorProxy | None:
    """The proxy of an actor, or of anything that has one.

    ValueError if there is none, or None if *safe*.
    """
    proxy = getattr(obj, "proxy", None)
    if isinstance(proxy, ActorProxy):
        return proxy
    if safe:
        return None
    raise ValueError(f"{obj!r} is no actor and has no proxy")
