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

from ._context import get_actor
from ._coroutines import Coroutines as _Coroutines
from ._dead_letters import (
    DeadLetter,
    DeadLetterWatch,
    watch_dead_letters,
)
from ._down import Down
from ._later import Later, send_after
from ._metrics import metrics
from ._native import Request, current_request, usable_cpus
from ._processes import Processes as _Processes
from ._scope import deadline
from ._subprocesses import Subprocesses as _Subprocesses
from ._threads import Threads as _Threads
from .actor import Actor, is_actor
from .arbiter import Arbiter, arbiter, shutdown
from .commands import (
    AnyCommand,
    Command,
    Method,
    StreamCommand,
    StreamMethod,
    command,
    get_command,
)
from .consts import ACTOR_STATES
from .exceptions import (
    ActorDown,
    ActorNotFound,
    ActorStartError,
    ActorStopping,
    AskTimeout,
    CommandError,
    CommandNotFound,
    DeadlockError,
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
    RestartsExceeded,
)
from .executor import Executor
from .kinds import get_kind, register_kind
from .loop import EventLoopPolicy, Loop, new_event_loop, run
from .messages import call, send, send_threadsafe, tell
from .monitor import Monitor
from .pool import Pool
from .proxy import ActorProxy, get_proxy
from .role import Role
from .spawning import spawn
from .stopping import stop
from .streams import Stream, stream
from .supervisor import Supervisor, supervisor
from .tracing import current_trace, propagate, trace_context
from .utils.config import Config
from .watching import Tie, tie, unwatch, watch

__version__ = "0.1.0"

__all__ = [
    "ACTOR_STATES",
    "Actor",
    "ActorDown",
    "ActorNotFound",
    "ActorProxy",
    "ActorStartError",
    "ActorStopping",
    "AnyCommand",
    "Arbiter",
    "AskTimeout",
    "Command",
    "CommandError",
    "CommandNotFound",
    "Config",
    "DeadLetter",
    "DeadLetterWatch",
    "DeadlockError",
    "Down",
    "EventLoopPolicy",
    "Executor",
    "ForkServerError",
    "ForkedError",
    "HaltServer",
    "ImproperlyConfigured",
    "Later",
    "Loop",
    "MailboxFull",
    "MessageTooBig",
    "Method",
    "Monitor",
    "NameTaken",
    "Pool",
    "ProtocolError",
    "PulsarException",
    "RemoteError",
    "RemoteTraceback",
    "Request",
    "RestartsExceeded",
    "Role",
    "Stream",
    "StreamCommand",
    "StreamMethod",
    "Supervisor",
    "Tie",
    "arbiter",
    "call",
    "command",
    "current_request",
    "current_trace",
    "deadline",
    "get_actor",
    "get_command",
    "get_kind",
    "get_proxy",
    "is_actor",
    "metrics",
    "new_event_loop",
    "propagate",
    "register_kind",
    "run",
    "send",
    "send_after",
    "send_threadsafe",
    "shutdown",
    "spawn",
    "stop",
    "stream",
    "supervisor",
    "tell",
    "tie",
    "trace_context",
    "unwatch",
    "usable_cpus",
    "watch",
    "watch_dead_letters",
]

register_kind("process", _Processes)
register_kind("subprocess", _Subprocesses)
register_kind("thread", _Threads)
register_kind("coroutine", _Coroutines)
