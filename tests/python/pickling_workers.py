"""Real processes that run what they are sent, for the tests of pickling.

A ``Worker`` is a child interpreter that has run none of the sender's code.
Messages are ``(function, args)`` pickled by ``dumps``, with a length before
them; replies are ``(True, result)`` or ``(False, pickled exception)``.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from typing import Any, BinaryIO

from pulsar_native._pickling import (
    dumps,
    dumps_exception,
    loads,
    loads_exception,
)

_LENGTH = struct.Struct("!Q")
_CODE = (
    "import importlib.util, sys;"
    "spec = importlib.util.spec_from_file_location('workers', sys.argv[1]);"
    "workers = importlib.util.module_from_spec(spec);"
    "spec.loader.exec_module(workers);"
    "workers.serve()"
)


class Worker:
    """A child process; call it to run a function there."""

    def __init__(self) -> None:
        path = os.pathsep.join(map(str, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )

    def __call__(self, function: Any, *args: Any) -> Any:
        done, value = loads(self.exchange(dumps((function, args))))
        if not done:
            raise loads_exception(value)
        return value

    def exchange(self, message: bytes) -> bytes:
        """Send a pickled message; give back the pickled reply."""
        assert self._process.stdin and self._process.stdout
        _write(self._process.stdin, message)  # type: ignore[arg-type]
        reply = _read(self._process.stdout)  # type: ignore[arg-type]
        assert reply is not None, "the worker died"
        return reply

    def close(self) -> None:
        """End the process and wait for it."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(_LENGTH.pack(len(data)) + data)
    file.flush()


def _read(file: BinaryIO) -> bytes | None:
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    return file.read(_LENGTH.unpack(head)[0])


def serve() -> None:
    """The worker's side: run messages until the pipe is closed."""
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed is no reply
    while (message := _read(stdin)) is not None:
        try:
            function, args = loads(message)
            reply = dumps((True, function(*args)))
        except BaseException as error:
            reply = dumps((False, dumps_exception(error)))
        _write(stdout, reply)
