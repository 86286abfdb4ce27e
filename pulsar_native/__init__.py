"""Actors for asyncio programs, with a core in C.

import asyncio, pulsar_native as pn

@pn.command()
def add(request, a, b):
    return a + b

async def main():
    worker = await pn.spawn(name="adder")
    print(await pn.send(worker, "add", 1, 2))

asyncio.run(main())
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from ._context import get_actor
from ._context import owner as _owner
from ._native import Request, current_mailbox
from ._processes import Processes as _Processes
from ._subprocesses import Subprocesses as _Subprocesses
from .actor import Actor, is_actor
from .arbiter import (
    Arbiter,
    arbiter,
    latest_of_main,
    shutdown,
    use_actor,
)
from .commands import Command, command, get_command
from .consts import ACTOR_STATES
from .exceptions import (
    ActorDown,
    ActorNotFound,
    ActorStartError,
    CommandError,
    CommandNotFound,
    ForkedError,
    ForkServerError,
    HaltServer,
    ImproperlyConfigured,
    MailboxFull,
    MessageTooBig,
    NameTaken,
    ProtocolError,
    PulsarException,
    RemoteError,
    RemoteTraceback,
)
from .kinds import get_kind, register_kind
from .proxy import ActorProxy, get_proxy
from .utils.config import Config

__version__ = "0.1.0"

__all__ = [
    "ACTOR_STATES",
    "Actor",
    "ActorDown",
    "ActorNotFound",
    "ActorProxy",
    "ActorStartError",
    "Arbiter",
    "Command",
    "CommandError",
    "CommandNotFound",
    "Config",
    "ForkServerError",
    "ForkedError",
    "HaltServer",
    "ImproperlyConfigured",
    "MailboxFull",
    "MessageTooBig",
    "NameTaken",
    "ProtocolError",
    "PulsarException",
    "RemoteError",
    "RemoteTraceback",
    "Request",
    "arbiter",
    "command",
    "get_actor",
    "get_command",
    "get_kind",
    "get_proxy",
    "is_actor",
    "register_kind",
    "send",
    "send_threadsafe",
    "shutdown",
    "spawn",
    "tell",
]

register_kind("process", _Processes)
register_kind("subprocess", _Subprocesses)


def spawn(**params: Any) -> asyncio.Future[Any]:
    """Start an actor; the future is its proxy, after its handshake.

    *name*, 1 to 255 bytes of text, is unique among the arbiter's living
    actors; *aid* may be chosen; hooks (``start``, ``stopping``,
    ``periodic_task``, ``on_info``, ``on_params``) are a callable or a list of
    them; names of settings set them; *extra* is a dict; the rest become
    attributes of the actor: neither names that an Actor has, nor ``_...``.

    In the arbiter's process the future has the attribute ``aid``. In another
    actor the arbiter is asked, and the new actor belongs to the arbiter.

    Raises at once: RuntimeError without a running loop, off its thread or
    when the arbiter stops; NameTaken; ValueError or TypeError for a kind,
    name, attribute or setting that cannot be (where the arbiter is asked, the
    future fails with them). The future fails with ActorStartError if the
    actor ends before its handshake, its ``start`` raises, or
    ``spawn_timeout`` seconds pass; and with what pickling raised if a
    parameter cannot be pickled.
    """
    return use_actor().spawn(**params)


def send(
    target: Any, command: str | Command[..., Any], /, *args: Any, **kwargs: Any
) -> asyncio.Future[Any]:
    """Ask *target* to run *command*; the future is its reply.

    *target* is a proxy, an actor, an aid, a name, ``'arbiter'`` or
    ``'monitor'``. The message leaves whether or not the future is awaited.
    A command without a reply gives None as soon as it is accepted.

    Cancelling the future, or a timeout around it, ends the waiting; the
    command runs on.

    The future fails with what the command raised, ActorDown if the target
    ends before it replies, ActorNotFound, CommandNotFound, MailboxFull,
    MessageTooBig, or with what pickling raised. Raises RuntimeError off the
    loop's thread, TypeError for a target or command of another type,
    ForkedError for a proxy from before a fork.
    """
    mailbox = current_mailbox()
    if mailbox is None:
        mailbox = use_actor().mailbox
    return mailbox.send(target, command, args, kwargs)


def tell(
    target: Any, command: str | Command[..., Any], /, *args: Any, **kwargs: Any
) -> asyncio.Future[None]:
    """Have *target* run *command* without a reply.

    The future is None once the message is accepted; it fails, and the call
    raises, as ``send`` does for what is known at the sender. What the command
    raises is logged by the target.
    """
    return use_actor().mailbox.tell(target, command, args, kwargs)


def send_threadsafe(
    target: Any, command: str | Command[..., Any], /, *args: Any, **kwargs: Any
) -> Future[Any]:
    """``send`` from any thread; gives a ``concurrent.futures.Future``.

    The sender is the current actor: known in the threads of its
    ``executor()``; else the actor whose process this is, or the main
    thread's arbiter. RuntimeError if there is none. The loop's own thread
    must not wait for the result.
    """
    actor = get_actor() or _owner() or latest_of_main()
    if actor is None or actor.stopped():
        raise RuntimeError("no actor runs in this process")
    return actor.send_threadsafe(target, command, *args, **kwargs)
