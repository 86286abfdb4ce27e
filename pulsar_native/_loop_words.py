"""What the core of the loop says in Python: errors, slow callbacks."""

from __future__ import annotations

import sys
import traceback
from asyncio import base_events, format_helpers
from asyncio.log import logger
from typing import Any

__all__ = ["extract_stack", "report_error", "run_debugged"]

# Later versions show arguments in debug mode only.
_source_of = format_helpers._format_callback_source
_HIDES = "debug" in _source_of.__code__.co_varnames


def report_error(handle: Any, error: BaseException) -> None:
    """Tell the loop's exception handler, as Handle._run does."""
    loop = handle._loop
    options = {"debug": loop.get_debug()} if _HIDES else {}
    source = _source_of(handle._callback, handle._args, **options)
    context = {
        "message": f"Exception in callback {source}",
        "exception": error,
        "handle": handle,
    }
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    loop.call_exception_handler(context)


def run_debugged(loop: Any, handle: Any) -> None:
    """Run it, and warn if that takes long."""
    try:
        if handle._cancelled:
            return
        start = loop.time()
        handle._run()
        took = loop.time() - start
        if took >= loop.slow_callback_duration:
            words: Any = base_events
            logger.warning(
                "Executing %s took %.3f seconds",
                words._format_handle(handle),
                took,
            )
    finally:
        # This frame may live on in the traceback of what the handle keeps.
        handle = None


def extract_stack() -> traceback.StackSummary:
    """Where a handle was made: the stack of who called the C code."""
    return format_helpers.extract_stack(sys._getframe(1))
