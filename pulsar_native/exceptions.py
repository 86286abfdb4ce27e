"""Every exception of pulsar_native, in one tree."""

from __future__ import annotations


class PulsarException(Exception):
    """Base of the package's exceptions."""


class ProtocolError(PulsarException):
    """Bytes that no correct peer sends, or a frame over its limit.

    *status_code* is the close code of RFC 6455, section 7.4.1, that answers
    the error, or None.
    """

    status_code: int | None = None


class ForkServerError(PulsarException):
    """The fork server cannot be started, or refuses a preloaded module."""
