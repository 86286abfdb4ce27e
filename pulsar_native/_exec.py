"""The fork server of subprocess actors: its children execute at once.

Imported there only. ``_subprocesses`` tells why, and what comes after.
"""

from __future__ import annotations

import mmap
import os
import pickle
from typing import NoReturn

from ._subprocesses import unnamed_file

__all__ = ["main"]

# Where the actors of this server count their spinners: see _selector.
_page = unnamed_file()
os.truncate(_page, mmap.PAGESIZE)


def main(link_fd: int, arbiter_pidfd: int, recorder_fd: int) -> NoReturn:
    """In the server's child: execute what descriptor 0 tells."""
    with open(0, "rb", closefd=False) as reader:
        command, path, environ = pickle.load(reader)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    kept = (link_fd, arbiter_pidfd, recorder_fd, _page)
    for fd in kept:
        if fd >= 0:
            os.set_inheritable(fd, True)
    code = (
        f"import sys; sys.path[:] = {path!r}; "
        "from pulsar_native._subprocesses import main; "
        f"sys.exit(main{kept})"
    )
    os.execve(command[0], [*command, "-c", code], environ)
