"""The kind ``thread``: each actor in a thread of the arbiter's process.

Its thread is a daemon, so that a program with an actor that is busy for ever
can end: others are joined by the interpreter before anything of ours could
stop them. What makes daemons dangerous, running while the interpreter is
taken apart, is met by ``_end_all``: at exit every actor is stopped and its
thread waited for; only one that outstays that is left to its fate.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import pickle
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from . import _pickling, _recording, _stacks
from ._managed import ManagedActor, close_loop, open_loop, run_loop
from .consts import ACTOR_STATES
from .kinds import Exit
from .utils.config import Config

if TYPE_CHECKING:
    from ._monitor import ActorProxyMonitor
    from .manager import Manager

__all__ = ["Threads"]

_GRACE = 0.8  # seconds that an actor outlives its arbiter, at most
_JOIN = 1.0  # seconds for the last instructions of a thread

logger = logging.getLogger("pulsar_native.threads")


class ThreadActor(ManagedActor):
    """An actor that owns a thread of its arbiter's process."""

    kind = "thread"
    _spins_alone = True  # one at a time: the others want the GIL

    def __init__(self, facts: dict[str, Any]) -> None:
        cfg = Config()
        cfg.settings.update(facts["settings"])  # the arbiter has looked
        super().__init__(
            facts["name"], facts["aid"], facts["number"], cfg, facts["age"]
        )
        self._be_managed(facts)
        self.mailbox.hold()
        self.mailbox.enter(self._arbiter)
        self.mailbox.connect_near(self._arbiter, onward=True)
        _recording.record(self, self._arbiter)

    def is_process(self) -> bool:
        """False."""
        return False

    def _is_watched(self) -> bool:
        """It is the arbiter's own process."""
        return True

    def _abandon(self) -> None:
        """The arbiter has given it up: end the loop, without a word."""
        self.state = max(self.state, ACTOR_STATES.STOPPING)
        for cell in (self._cell, *self.mailbox.cells()):
            cell.ending = True  # what is cut short gets no answer
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


class _Life:
    """A thread, from its start to its end. Refers to the arbiter's side only
    weakly, which may end before it does."""

    def __init__(self, carrier: ThreadCarrier, spec: bytes, name: str) -> None:
        self._carrier = weakref.ref(carrier)
        self._spec = spec
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._actor: ThreadActor | None = None
        self.code = 0
        self.told = False  # whether its last words have been sent
        self.thread = threading.Thread(
            target=self._run, name=f"actor-{name}", daemon=True
        )

    def start(self) -> None:
        """Returns once the actor can be sent to; raises what prevents it."""
        self.thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def call(self, function: Callable[[ThreadActor], Any]) -> None:
        """Have its loop call *function* with the actor, unless it ends."""
        actor = self._actor
        if actor is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                actor._loop.call_soon_threadsafe(
                    function, actor, context=actor._context.copy()
                )

    def threads(self) -> list[threading.Thread]:
        """Its thread, and those of its executor."""
        executor = getattr(self._actor, "_executor", None)
        return [self.thread, *getattr(executor, "_threads", ())]

    def let_go(self) -> None:
        """Its arbiter ends, and it is to do so too."""
        self.call(_lose_arbiter)

    # --- in the thread ---

    def _run(self) -> None:
        facts, values = pickle.loads(self._spec)
        try:
            actor = ThreadActor(facts)
            loop = open_loop(actor)
        except BaseException as error:
            self._error = error
            return
        finally:
            if self._error is not None:
                self._ready.set()
        self._actor = actor
        _lives.add(self)
        self._ready.set()
        try:
            self._live(actor, values)
        finally:
            try:
                close_loop(loop)
            finally:
                actor.mailbox.close()
                actor.state = ACTOR_STATES.CLOSE
                self._end(actor)

    def _live(self, actor: ThreadActor, values: bytes) -> None:
        try:
            loaded = actor._context.run(_pickling.loads, values)
            actor._take_values(loaded)
        except BaseException as error:
            actor._fail_spec(error)
        else:
            run_loop(actor)

    def _end(self, actor: ThreadActor) -> None:
        self._actor = None
        self.code, self.told = actor.exit_code or 0, actor._told
        _lives.discard(self)
        carrier = self._carrier()
        if carrier is not None:
            carrier.report()


def _lose_arbiter(actor: ThreadActor) -> None:
    actor._arbiter_gone("its loop has ended")


class ThreadCarrier:
    """A thread that carries an actor, from its arbiter's side."""

    near = True

    def __init__(
        self, manager: Manager, child: ActorProxyMonitor, spec: bytes
    ) -> None:
        self._manager = manager
        self._child = child
        self._pid = os.getpid()
        self._life = _Life(self, spec, child.name)

    def start(self) -> None:
        """Start the thread."""
        self._life.start()

    def report(self) -> None:
        """In the thread, as its last act: tell the arbiter's loop."""
        with contextlib.suppress(RuntimeError):  # it is closed
            self._manager._loop.call_soon_threadsafe(self._on_end)

    def _on_end(self) -> None:
        manager, child = self._manager, self._child
        if child.number not in manager._children:
            return
        if self._life.told and child._reason is None:
            # Its last words lie behind what it sent before: read on.
            manager._loop.call_soon(self._on_end)
            return
        self._life.thread.join(_JOIN)
        child._link_lost = "closed"
        manager.child_ended(
            child, Exit("its thread has ended", self._life.code)
        )

    def signal(self, number: int) -> None:
        """Ask it to stop, for SIGTERM; give it up, for SIGKILL."""
        if number == signal.SIGKILL:
            self._child.kill()
        elif number == signal.SIGTERM:
            self._life.call(ThreadActor.stop)
        else:
            raise ValueError(f"a thread takes no signal {number}")

    def kill(self) -> bool:
        """End its loop. A function that it is in runs on: nobody waits."""
        self._manager.explain_end(
            self._child, "killed: its loop was ended, its thread given up"
        )
        self._life.call(ThreadActor._abandon)
        return False

    def drain(self) -> None:
        """Nothing is left: it has no output of its own."""

    def output(self) -> str:
        """Nothing: standard error is the program's."""
        return ""

    def stacks(self) -> str:
        """The stacks of its thread, and of its executor's."""
        return _stacks.of_threads(self._life.threads())

    def descriptors(self) -> Iterator[int]:
        """Those of its mailbox and its loop."""
        return iter(())

    def close(self, forked: bool = False) -> None:
        """It is to end, if it has not yet."""
        if os.getpid() == self._pid:
            self._life.let_go()


class Threads:
    """The thread actors of one arbiter; see ``kinds.Kind``."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        manager.mailbox.enter(manager.number)

    def dump(self, facts: dict[str, Any], values: dict[str, Any]) -> bytes:
        """A copy of everything, but functions and classes, which stay."""
        return pickle.dumps((facts, _pickling.dumps(values)), 5)

    def launch(self, child: ActorProxyMonitor, spec: bytes) -> None:
        """Start the thread, and wait for its first instructions."""
        self._manager.mailbox.connect_near(child.number)
        child.carrier = carrier = ThreadCarrier(self._manager, child, spec)
        carrier.start()
        self._manager.child_started(child, os.getpid())

    def descriptors(self) -> Iterator[int]:
        """None: what the threads use is the mailbox's."""
        return iter(())

    def close(self, forked: bool = False) -> None:
        """Nothing is shared."""


# The threads that run, of all arbiters.
_lives: set[_Life] = set()


def _end_all() -> None:
    """At exit: stop what is left, and wait for it, for a while."""
    lives = list(_lives)
    for life in lives:
        life.let_go()
    deadline = time.monotonic() + _GRACE
    for life in lives:
        life.thread.join(max(deadline - time.monotonic(), 0))
        if life.thread.is_alive():
            logger.warning("%s is busy, and left behind", life.thread.name)


atexit.register(_end_all)
os.register_at_fork(after_in_child=_lives.clear)
