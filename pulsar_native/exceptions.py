"""Every exception of pulsar_native, in one tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
