"""Kinds of actors: what they run in, as a registry that others may add to.

A kind makes one arbiter's actors of that kind. The manager (``manager.py``)
does what all kinds share: names, settings, the time limit of a spawn, the
handshake, who hears of an end. A kind makes the flow of control, gives it a
way to the arbiter's mailbox, and says when it has ended.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ._making import Making
    from ._monitor import ActorProxyMonitor

__all__ = [
    "Carrier",
    "Exit",
    "Kind",
    "KnowsEnd",
    "LocalKind",
    "chosen_kind",
    "dump_spec",
    "get_kind",
    "kind_name",
    "local_kind",
    "register_kind",
    "run_actor",
    "wanted_kind",
]

_OVERRIDE = "PULSAR_NATIVE_KIND"


@dataclass(frozen=True)
class Exit:
    """How what carried an actor has ended.

    *words* is one phrase; *code* its exit code, *signal* the signal that
    ended it, None where there is none; *core*, whether it left one.
    """

    words: str
    code: int | None = None
    signal: int | None = None
    core: bool = False


class Carrier(Protocol):
    """What one actor runs in, as its arbiter holds it: a process, say.

    *near*: in this process; it talks with others that are, without the
    arbiter's seeing it.
    """

    near: bool

    def signal(self, number: int) -> None:
        """Pass a signal on; SIGTERM asks the actor to stop. Never raises
        because it has ended."""

    def kill(self) -> bool:
        """End the actor by force. False if nobody will report its end: it
        counts as ended at once."""

    def drain(self) -> None:
        """It has ended: take what it left unread."""

    def output(self) -> str:
        """The last of what it wrote to a standard error of its own."""

    def descriptors(self) -> Iterable[int]:
        """Those that it has open here, for who looks for leaks."""

    def close(self, forked: bool = False) -> None:
        """Let go of it: nothing more is asked or reported. *forked* in a
        process forked by somebody else, where the loop must not be touched.
        More than one call does no harm."""


@runtime_checkable
class KnowsEnd(Protocol):
    """A carrier that can tell whether it has ended, before its report."""

    def has_ended(self) -> bool:
        """Whether it has; False, too, if that is not known."""


class Kind(Protocol):
    """The actors of one kind of one arbiter.

    Made by what was registered, called with the arbiter, at its first spawn
    of that kind. All is called on the thread of the arbiter's loop. A child
    is the arbiter's record of an actor, an ActorProxyMonitor. What a kind
    may use of the arbiter:

    ``mailbox.connect(child.number, fd)``
        one end of a Unix stream pair leads to the actor (``_native.link_pair``
        makes one); ``greet(child, spec)`` then sends hello and spec there.
    ``child_started(child, pid)``
        it runs, in process *pid*.
    ``child_failed(child, reason)``
        it could not be made.
    ``child_ended(child, exit)``
        it has ended, for good; may come before its link has been read.
    """

    def dump(self, facts: dict[str, Any], values: dict[str, Any]) -> bytes:
        """The actor's spec. *facts* are plain: name, aid, number, arbiter,
        age, settings; *values* are its user's: hooks, params, extra.

        Raises what pickling raises; nothing has been made by then.
        ``dump_spec`` is this for actors in processes.
        """

    def launch(self, child: ActorProxyMonitor, spec: bytes) -> None:
        """Start the actor and set ``child.carrier``. Does not block.

        What it raises fails the spawn with ActorStartError.
        """

    def descriptors(self) -> Iterable[int]:
        """Those that its actors share here, for who looks for leaks."""

    def close(self, forked: bool = False) -> None:
        """The arbiter ends: let go of what its actors shared. *forked* as
        for ``Carrier.close``."""


class LocalKind(Protocol):
    """The actors of one kind that live in one node, beside its own actor.

    What was registered has an attribute ``local``, which is true, and is
    called with the actor whose loop and mailbox the node is.
    """

    def spawn(
        self, making: Making | None, options: dict[str, Any]
    ) -> asyncio.Future[Any]:
        """Make one. *making* is what its object is made of, if there is to be
        one; *options* are those of ``spawn``, not looked at yet."""

    async def stop(self) -> None:
        """The node ends: stop them all."""


_Maker = Callable[[Any], Kind] | Callable[[Any], LocalKind]
_kinds: dict[str, _Maker] = {}


def register_kind(name: str, kind: _Maker) -> None:
    """Make *name* a kind that ``spawn`` takes.

    *kind* is called with an arbiter and gives a ``Kind``; a class that takes
    an arbiter will do. With an attribute ``local`` that is true it is called
    with any actor that has a loop, and gives a ``LocalKind``. The same name
    again replaces the former, for actors that have not used it yet. TypeError
    for what cannot be.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of a kind is a text, not {name!r}")
    if not callable(kind):
        raise TypeError(f"a kind must be callable, not {kind!r}")
    _kinds[name] = kind


def get_kind(name: str) -> Callable[[Any], Any]:
    """What was registered as *name*; ValueError names those that there are."""
    return _kinds[kind_name(name)]


def kind_name(name: Any) -> str:
    """*name*, if it is that of a kind; else as ``get_kind``."""
    if isinstance(name, str) and name in _kinds:
        return name
    known = ", ".join(repr(kind) for kind in sorted(_kinds))
    raise ValueError(f"no kind of actor is called {name!r}; there are {known}")


def dump_spec(facts: dict[str, Any], values: dict[str, Any]) -> bytes:
    """The spec of an actor in another process, for ``run_actor`` there.

    With what a process inherits of this one: environment, working directory,
    ``sys.path`` and more. Raises what pickling *values* raises.
    """
    from . import _spec

    return _spec.dump(facts, values)


def run_actor(link_fd: int, arbiter_pidfd: int = -1) -> int:
    """Be the actor at the other end of a link, in a process of its own.

    *link_fd* is the end that was not given to ``mailbox.connect``;
    *arbiter_pidfd*, or -1, is of the arbiter's process. Both are taken over.
    Blocks until the actor has ended, in the main thread; the result is its
    exit code.
    """
    from . import _child

    return _child.main(link_fd, arbiter_pidfd)


def local_kind(name: Any) -> Callable[[Any], LocalKind] | None:
    """What was registered as *name*, if it is local; else None."""
    found: Any = _kinds.get(name) if isinstance(name, str) else None
    return found if getattr(found, "local", False) else None


def wanted_kind(name: Any) -> Any:
    """The kind of a new actor for which *name* is asked: the variable
    PULSAR_NATIVE_KIND wins."""
    return os.environ.get(_OVERRIDE) or name


def chosen_kind(name: Any) -> str:
    """The same; ValueError as for ``get_kind``."""
    return kind_name(wanted_kind(name))
