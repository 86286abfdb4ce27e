"""What a mailbox asks of Python: the policy behind the core's decisions."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sys
from collections.abc import Awaitable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from . import _lending, _pickling, _sources, commands
from ._builtins import table
from ._down import Down
from ._native import current, dump_down
from ._progress import KIND_PROGRESS, Progress, Watching
from ._roles import KIND_FOLLOW, KIND_ROLE
from .exceptions import (
    ActorDown,
    ActorNotFound,
    ActorStopping,
    AskTimeout,
    CommandNotFound,
    DeadlockError,
    MailboxFull,
    MessageTooBig,
    PulsarException,
    RemoteError,
)
from .proxy import ActorProxy, aid_of, node_of

if TYPE_CHECKING:
    from ._command import AnyCommand
    from ._native import Cell, Mailbox, Request
    from .actor import Actor
    from .node import NodeActor

__all__ = [
    "KIND_DEFINE",
    "KIND_DOOM",
    "KIND_DOWN",
    "KIND_FAILURE",
    "KIND_HELLO",
    "KIND_LOG",
    "KIND_NOTIFY",
    "KIND_PEER",
    "KIND_SPEC",
    "KIND_STOP",
    "Port",
]

# Kinds of messages, as csrc/mailbox/envelope.h numbers them.
KIND_HELLO = 1
KIND_NOTIFY = 2
KIND_STOP = 3
KIND_PEER = 5
KIND_DOOM = 14
KIND_SPEC = 20
KIND_DEFINE = 21
KIND_LOG = 22
KIND_DOWN = 23
KIND_FAILURE = 26

logger = logging.getLogger("pulsar_native.mailbox")


class Port:
    """The callables that ``Mailbox`` takes, for one actor."""

    def __init__(self, actor: NodeActor) -> None:
        self._actor = actor
        self.dumps = _pickling.dumps
        self.loads = _pickling.loads
        self.dump_error = _pickling.dumps_exception
        self.drive = _sources.drive
        self.lend = _lending.lend
        self.table = table
        self.names: dict[str, int] = {}
        self.watching = Watching()

    def load_error(
        self, source: int, condition: str, payload: bytes
    ) -> BaseException:
        """The exception that a failed ask gets."""
        if condition == "raised":
            return _pickling.loads_exception(payload)
        text = payload.decode(errors="replace")
        if condition == "unloadable":
            return RemoteError(text, "raised while a result was unpickled", "")
        if condition == "unknown-command":
            return CommandNotFound(*text.split("\0"))
        if condition == "unknown-actor":
            return ActorNotFound(text)
        if condition == "actor-down":
            aid, _, rest = payload.partition(b"\0")
            down = Down.load(rest, aid.decode(errors="replace"), "", 0)
            return down.error(ask=1)  # it tells of none, or that none had
        if condition == "link-lost":
            return ActorDown(self.proxy(source).aid, "the link to it was lost")
        if condition == "mailbox-full":
            target = int(text) if text else source  # a relay names it
            return MailboxFull(
                f"as many messages as may wait for actor "
                f"{self.proxy(target).aid} wait already, here or there; see "
                f"the settings of outbox and mailbox"
            )
        if condition == "stopping":
            return ActorStopping(self.proxy(source).aid)
        if condition == "too-big":
            return MessageTooBig(
                f"the message is larger than the receiver takes: {text}; "
                f"see the setting message_bytes"
            )
        if condition == "no-memory":
            return MemoryError(f"{self.proxy(source)!r} has none for {text}")
        if condition == "deadline":
            return AskTimeout(
                f"{self.proxy(source)!r} has not answered before the deadline"
            )
        if condition == "deadlock":
            return DeadlockError(
                f"{self.proxy(source)!r} waits for this very ask, and may "
                "not begin another meanwhile; see the setting max_inflight"
            )
        return PulsarException(f"{condition}: {text}")

    if sys.version_info >= (3, 12):

        def start_task(
            self, awaitable: Awaitable[Any], context: Context
        ) -> asyncio.Task[Any]:
            """Run a command's awaitable; what can be done is done now."""
            return asyncio.Task(
                self._contain(_coroutine(awaitable), context),
                loop=self._actor._loop,
                context=context,
                eager_start=True,
            )
    else:

        def start_task(
            self, awaitable: Awaitable[Any], context: Context
        ) -> asyncio.Task[Any]:
            """Run a command's awaitable, beginning in a later iteration."""
            mailbox = self._actor.mailbox
            mailbox.unbegun += 1
            return asyncio.Task(
                _Begun(mailbox, self._contain(_coroutine(awaitable), context)),
                loop=self._actor._loop,
                context=context,
            )

    def _contain(
        self, coroutine: Coroutine[Any, Any, Any], context: Context
    ) -> Coroutine[Any, Any, Any]:
        """A task lets SystemExit and KeyboardInterrupt out of the loop, to
        end its owner: not where they end another actor of the node."""
        if context.get(current) is self._actor.mailbox.main:
            return coroutine
        return _contained(coroutine)

    async def defer(
        self,
        request: Request,
        command: AnyCommand,
        first: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
    ) -> Any:
        """Run a command behind the tasks that have not begun yet; *first* is
        what its function gets first."""
        result = request._call(command, first, args, kwargs)
        return await result if hasattr(result, "__await__") else result

    def control(self, kind: int, source: int, id: int, payload: bytes) -> None:
        """A message that is neither ask nor answer has come."""
        try:
            if kind == KIND_DEFINE:
                commands.load(payload)
            elif kind == KIND_PROGRESS:
                self.watching.receive(id, payload)
            elif kind in (KIND_FOLLOW, KIND_ROLE):
                self._actor._roles.receive(kind, source, id, payload)
            else:
                self._actor._control(kind, source, id, payload)
        except Exception:
            self._actor.logger.exception(
                "a message of kind %d from %r is of no use",
                kind,
                self.proxy(source),
            )

    def lost(self, number: int, status: int, text: str) -> None:
        """The link to actor *number* has ended."""
        self._actor._lost(number, status, text)

    def fatal(self, cell: Cell, error: BaseException) -> None:
        """A command raised what ends its actor."""
        if isinstance(error, _Leaving):
            error = error.error
        cell.actor._fatal(error)

    def failed(self, cell: Cell, error: BaseException) -> None:
        """A command that nobody waits for has failed."""
        cell.actor.logger.error("a command failed", exc_info=error)

    def actor(self, cell: Cell) -> Actor:
        """The actor of a cell, which nobody has asked for before."""
        return self._actor._actor_of(cell)

    def progress(self, cell: Cell, source: int, id: int) -> Progress:
        """What tells *source* of the progress of its ask *id*."""
        return Progress(self._actor, cell.number, source, id)

    def doom(self, source: int, target: int, id: int) -> None:
        """Nobody waits for an answer any more that may cost a process."""
        self._actor._doom(source, target, id)

    def resolve(self, target: Any) -> tuple[int, str | None]:
        """The number of a target that is no proxy of this process."""
        return self._actor._resolve(target)

    def explain(self, number: int, name: str) -> tuple[str, bytes]:
        """Why there is no way to this actor: a condition and its payload.

        What another node's actor cannot get any more has not begun there; of
        an actor of this node that ended it may have.
        """
        if not number and not name:
            return "unknown-actor", b""
        ended = self._actor._ended
        down = ended.get(name or number)
        aid = self.proxy(number).aid
        if down is not None:
            aid = down.aid
        elif not name:
            down = ended.get(node_of(number))
        if down is not None:
            away = node_of(number or down.number) != self._actor.number
            down = dataclasses.replace(down, begun=() if away else None)
            words = down.dump(self._actor.cfg.message_bytes)
            return "actor-down", aid.encode() + b"\0" + words
        if self._actor._has_had(number):
            words = dump_down("it has ended", None, None)
            return "actor-down", aid.encode() + b"\0" + words
        return "unknown-actor", (name or aid).encode()

    def define(self, target: int, since: int) -> int:
        """Send the actor the commands that it cannot know yet."""
        latest = commands.latest_serial()
        self._actor.mailbox.post(
            KIND_DEFINE, target, commands.dump_since(since)
        )
        return latest

    def introduce(self, target: int, source: int) -> None:
        """Two actors talk for the first time: tell each who the other is."""
        mailbox = self._actor.mailbox
        for to, about in ((target, source), (source, target)):
            proxy = self.proxy(about)
            payload = f"{proxy.aid}\0{proxy.name}".encode()
            alone = self.names.get(proxy.name) == about
            mailbox.post(KIND_PEER, to, payload, source=about, id=int(alone))

    def proxy(self, number: int) -> ActorProxy:
        """A reference to the actor with this number."""
        known = self._actor._known.get(number)
        if known is not None:
            return known
        return ActorProxy(aid_of(number), "actor", number)


class _Leaving(BaseException):
    """What a task would let out of the loop, on its way to ``fatal``."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise _Leaving(error) from None


def _coroutine(awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    if asyncio.iscoroutine(awaitable):
        return awaitable
    return _wait(awaitable)


class _Begun(Coroutine[Any, Any, Any]):
    """A command's coroutine that tells its mailbox when it begins.

    By hand, so that one that is cancelled before it begins tells so too.
    """

    __slots__ = ("_coroutine", "_mailbox")

    def __init__(
        self, mailbox: Mailbox, coroutine: Coroutine[Any, Any, Any]
    ) -> None:
        self._coroutine = coroutine
        self._mailbox: Mailbox | None = mailbox

    def _begin(self) -> None:
        mailbox, self._mailbox = self._mailbox, None
        if mailbox is not None:
            mailbox.unbegun -= 1

    def send(self, value: Any) -> Any:
        self._begin()
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        self._begin()
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._begin()
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()


async def _wait(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
