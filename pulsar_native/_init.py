"""A program that is the first process of a container, or a subreaper."""

from __future__ import annotations

import logging
import os
import sys
import threading

from . import _native

__all__ = ["leave_reaping"]

logger = logging.getLogger("pulsar_native")


def leave_reaping() -> None:
    """If orphans become children of this process, go on in a child of it:
    what stays reaps them, and this program sees none. Where that cannot be,
    all stays as it is, and that is logged."""
    if not _native.init_is_needed():
        return
    reason = _objection()
    if not reason:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        try:
            _native.init_go_on()
            return
        except OSError as error:
            reason = str(error)
    logger.warning(
        "processes that others leave behind are not reaped: %s", reason
    )


def _objection() -> str:
    if threading.active_count() > 1:
        return "threads run"
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return ""
    return "there are child processes already"
