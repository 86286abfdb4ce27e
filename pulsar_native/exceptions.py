"""Every exception of pulsar_native, in one tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._down import Down
    from ._native import Frame


class PulsarException(Exception):
    """Base of the package's exceptions."""


class ProtocolError(PulsarException):
    """Bytes that no correct peer sends, or a frame over its limit.

    *status_code* is the close code of RFC 6455, section 7.4.1, that answers
    the error, or None. *frames* are those that were whole before the error,
    where one call decodes many.
    """

    status_code: int | None = None
    frames: Sequence[Frame] = ()


class ForkServerError(PulsarException):
    """The fork server cannot be started, or refuses a preloaded module."""


class CommandError(PulsarException):
    """A command failed."""


class RemoteError(CommandError):
    """A command raised an exception that could not travel as it is.

    *type_name* is the qualified name of its type, *message* its ``str()``,
    *traceback* the text of its traceback.
    """

    def __init__(self, type_name: str, message: str, traceback: str) -> None:
        super().__init__(type_name, message, traceback)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        if not self.message:
            return self.type_name
        return f"{self.type_name}: {self.message}"


class RemoteTraceback(Exception):
    """The cause of an exception that came from another actor.

    Its ``str()`` is the text of the traceback there.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class CommandNotFound(CommandError):
    """No command of this name is registered, here or at the target.

    *owner* is the name of the class of the target's object, "" without one.
    """

    def __init__(self, name: str, owner: str = "") -> None:
        super().__init__(name, owner)
        self.name = name
        self.owner = owner

    def __str__(self) -> str:
        where = f" in {self.owner}" if self.owner else ""
        return f'Command "{self.name}" not available{where}'


class ActorNotFound(CommandError):
    """No living actor has this aid or name, and none had it lately."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.target = target

    def __str__(self) -> str:
        return f"no actor {self.target!r}"


class ActorDown(PulsarException):
    """The actor has ended, and will not answer.

    *reason* is one sentence. *exit_code* is that of its process, or None if
    a signal ended it or it is not known; *signal* is the signal's number, or
    None. *core*: whether the kernel dumped one; *oom*: whether it killed it
    for want of memory, None where that cannot be read. *output* is the last of
    what it wrote to standard error, *traceback* the text of the Python
    traceback that ended it, each "" if there is none, and at most 4 KiB: all
    there is to know is in the ``Down`` that ``watch`` gives. *begun*: whether
    the command of this ask had begun, None if that is not known; with False
    it has done nothing, and another actor may be asked.
    """

    def __init__(
        self,
        aid: str,
        reason: str,
        exit_code: int | None = None,
        signal: int | None = None,
        core: bool = False,
        oom: bool | None = False,
        output: str = "",
        traceback: str = "",
        begun: bool | None = None,
    ) -> None:
        super().__init__(
            aid, reason, exit_code, signal, core, oom, output, traceback, begun
        )
        self.aid = aid
        self.reason = reason
        self.exit_code = exit_code
        self.signal = signal
        self.core = core
        self.oom = oom
        self.output = output
        self.traceback = traceback
        self.begun = begun

    def __str__(self) -> str:
        return f"actor {self.aid} is down: {self.reason}"


class ActorStartError(PulsarException):
    """An actor ended, or was ended, before its handshake.

    *output* is the last of what its process wrote to standard error, at most
    8 KiB; *traceback* the text of its failure, if it could tell.
    """

    def __init__(
        self,
        aid: str,
        reason: str,
        traceback: str = "",
        output: str = "",
    ) -> None:
        super().__init__(aid, reason, traceback, output)
        self.aid = aid
        self.reason = reason
        self.traceback = traceback
        self.output = output

    def __str__(self) -> str:
        text = f"actor {self.aid} did not start: {self.reason}"
        if self.traceback:
            text += f"\n{self.traceback.rstrip()}"
        if self.output:
            text += f"\nIt wrote:\n{self.output.rstrip()}"
        return text


class ActorStopping(PulsarException):
    """The actor finishes what it has begun, and takes nothing new: the
    command has not run, and will not."""

    def __init__(self, aid: str) -> None:
        super().__init__(aid)
        self.aid = aid

    def __str__(self) -> str:
        return f"actor {self.aid} is stopping, and takes nothing new"


class RestartsExceeded(PulsarException):
    """A supervisor has given up: too many restarts in too short a time.

    *name* is the supervisor's; *downs* are the ends that led to it, reports
    as ``watch`` gives them, the latest last.
    """

    def __init__(
        self,
        name: str,
        max_restarts: int,
        within: float,
        downs: tuple[Down, ...],
    ) -> None:
        super().__init__(name, max_restarts, within, downs)
        self.name = name
        self.max_restarts = max_restarts
        self.within = within
        self.downs = downs

    def __str__(self) -> str:
        text = (
            f"supervisor {self.name!r}: more than {self.max_restarts} "
            f"restarts within {self.within:g} s"
        )
        if self.downs:
            last = self.downs[-1]
            text += f"; the last was of {last.name}({last.aid}): {last.reason}"
        return text


class AskTimeout(PulsarException, TimeoutError):
    """An ask was not answered before its deadline.

    The target drops it if it has not begun; a coroutine that runs for it is
    cancelled.
    """


class DeadlockError(PulsarException):
    """An ask to an actor that waits for this very ask, and that may not begin
    another one meanwhile."""


class MailboxFull(PulsarException):
    """Too much waits already on its way to the target; nothing was sent."""


class MessageTooBig(PulsarException, ValueError):
    """A message is over the setting message_bytes; it was dropped alone."""


class NameTaken(PulsarException, ValueError):
    """A living actor of the arbiter has this name or aid."""


class ForkedError(PulsarException):
    """The proxy was made before this process was forked from its maker."""


class ImproperlyConfigured(PulsarException):
    """A setting that cannot be; ends a program with exit code 2."""

    exit_code = 2


class HaltServer(BaseException):
    """Raised in an actor, or in the arbiter, to end the program that
    ``arbiter().start()`` is, with *exit_code*; in another program it ends
    that actor alone."""

    def __init__(
        self, reason: str = "Exiting server.", exit_code: int = 3
    ) -> None:
        super().__init__(reason, exit_code)
        self.reason = reason
        self.exit_code = exit_code

    def __str__(self) -> str:
        return self.reason
