"""A short life that nobody asked for: what the next real one finds ready.

The fork server rehearses before it serves, a child that was forked ahead
before it waits. What is imported at first use is there then, code has been
specialized, and in the child the pages that every actor writes have been
copied. Nothing else of that life is left, once the garbage is collected.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from . import _child, _context, _native, _spec
from ._port import KIND_HELLO, KIND_SPEC
from .utils.config import Config

__all__ = ["rehearse"]

_ARBITER = 2  # numbers that only these two hear
_ACTOR = 3


class _Rehearsing(_child.ProcessActor):
    """An actor that stops after its handshake."""

    notified = False

    def _tick(self) -> None:
        super()._tick()
        self.notified = True
        self.stop()


def rehearse() -> bool:
    """Live from the spec to the handshake, and end.

    Whether that went well: what fails is for the real life to tell.
    """
    actor = _Rehearsing()
    handlers = list(logging.getLogger().handlers)
    arbiter = _child.ProcessActor()
    try:
        with contextlib.suppress(Exception):
            ours, theirs = _native.link_pair()
            arbiter.mailbox.connect(_ACTOR, ours)
            arbiter.mailbox.post(KIND_HELLO, _ACTOR, arbiter.mailbox.hello())
            arbiter.mailbox.post(KIND_SPEC, _ACTOR, _dump_spec())
            _child.live(actor, theirs)
    finally:
        arbiter.mailbox.close()
        logging.getLogger().handlers[:] = handlers
        _spec.forget_environment()
        _context.forget_owner()
    return actor.notified


def _dump_spec() -> bytes:
    facts = {
        "name": "actor",
        "aid": "rehearsal",
        "number": _ACTOR,
        "arbiter": _ARBITER,
        "monitor": None,
        "age": 1,
        "default_kind": "process",
        "settings": Config().settings,
    }
    values: dict[str, Any] = {
        "hooks": {},
        "params": {},
        "extra": {},
        "making": None,
    }
    return _spec.dump(facts, values)
