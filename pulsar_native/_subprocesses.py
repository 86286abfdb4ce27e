"""The kind ``subprocess``: each actor in a fresh interpreter.

A fork server forks, as for process actors, but one that has loaded nothing
of the program's; its child executes a new interpreter at once. So these
actors too are reaped, watched and ended by a server: they outlive their
arbiter by 0.8 s at most, and a program that waits for its own children never
meets them.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from . import _child, _forkserver, _native, _selector
from ._processes import Processes, standard_output

if TYPE_CHECKING:
    from ._monitor import ActorProxyMonitor
    from ._process import ProcessCarrier

__all__ = ["Subprocesses", "main", "unnamed_file"]

_EXECUTE = "pulsar_native._exec:main"


class Subprocesses(Processes):
    """The subprocess actors of one arbiter; see ``kinds.Kind``."""

    def _preload_of(self, child: ActorProxyMonitor) -> tuple[str, ...]:
        return ()

    def _reserve(
        self, channel: _native.ForkChannel, child: ActorProxyMonitor
    ) -> None:
        """None: what they execute is known only when they are asked for."""

    def _connect(self, preload: tuple[str, ...]) -> _native.ForkChannel:
        return _forkserver.connect(preload, child=_EXECUTE)

    def _death_reason(self, preload: tuple[str, ...]) -> str:
        return _forkserver.death_reason(preload, child=_EXECUTE)

    def _spawn(
        self,
        channel: _native.ForkChannel,
        child: ActorProxyMonitor,
        link: int,
        carrier: ProcessCarrier,
    ) -> None:
        program = _dump_program()
        try:
            out, errors = standard_output(), carrier.errors.write_end
            fds = [link, program, out, errors, carrier.recorder_fd()]
            channel.spawn(child.number, fds)
        finally:
            os.close(program)


def _dump_program() -> int:
    """A file that tells the server's child what to execute: this
    interpreter, its flags, ``sys.path`` and the environment, as of now."""
    if not sys.executable:
        raise OSError("sys.executable is empty: no interpreter to start")
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    path = [entry for entry in sys.path if isinstance(entry, str)]
    environ = dict(os.environb)
    environ.pop(b"PYTHONINSPECT", None)
    program = ([sys.executable, *flags], path, environ)
    file = unnamed_file()
    try:
        with open(file, "wb", closefd=False) as writer:
            pickle.dump(program, writer, 5)
        os.lseek(file, 0, os.SEEK_SET)
    except BaseException:
        os.close(file)
        raise
    return file


def unnamed_file() -> int:
    """A new empty file without a name, close-on-exec; the caller's."""
    try:
        return os.memfd_create("pulsar_native")
    except OSError:  # some sandboxes refuse it
        with tempfile.TemporaryFile() as file:
            return fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)


def main(link_fd: int, arbiter_pidfd: int, recorder_fd: int, page: int) -> int:
    """In the fresh interpreter: be the actor; the exit code."""
    _selector.use_page(page)
    os.close(page)
    for fd in (link_fd, arbiter_pidfd, recorder_fd):
        if fd >= 0:
            os.set_inheritable(fd, False)
    return _child.main(link_fd, arbiter_pidfd, recorder_fd)
