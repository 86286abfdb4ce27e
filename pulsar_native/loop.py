"""The event loop: asyncio's, with its core in C.

`LoopCore` (csrc/python/loop.h) is the queue, the timers, the descriptors and
the turns. All else comes from asyncio.SelectorEventLoop, which is made for
being completed by a subclass.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import weakref
from asyncio import events
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

from . import _selector
from ._loop_base import StockLoop
from ._loop_faces import Ready, Timers, Watches
from ._native import LoopCore

__all__ = ["EventLoopPolicy", "Loop", "new_event_loop", "run"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Seconds of looking before sleeping, at most.
_SPIN = 50e-6


class Loop(LoopCore, StockLoop):
    """An asyncio event loop; everything that asyncio documents is there."""

    def __init__(self) -> None:
        self._ssock_made: socket.socket | None = None
        self._csock_made: socket.socket | None = None
        self._wakeup_before = -1
        super().__init__(Watches(self))
        _loops.add(self)
        self.spin = _spin_wanted()

    # --- running ---

    def run_forever(self) -> None:
        """Run until stop() is called."""
        self._run_forever_setup()
        try:
            if type(self)._run_once is _OWN_RUN_ONCE and (
                "_run_once" not in self.__dict__
            ):
                self._run_turns()
            else:
                self._run_overridden_turns()
        finally:
            self._run_forever_cleanup()

    def _run_overridden_turns(self) -> None:
        while True:
            self._run_once()
            if self._stopping:
                break

    def _run_forever_setup(self) -> None:
        self._check_closed()
        self._check_running()
        self._set_coroutine_origin_tracking(self._debug)
        self._old_agen_hooks = sys.get_asyncgen_hooks()
        self._thread_id = threading.get_ident()
        sys.set_asyncgen_hooks(
            firstiter=self._asyncgen_firstiter_hook,
            finalizer=self._asyncgen_finalizer_hook,
        )
        events._set_running_loop(self)

    def _run_forever_cleanup(self) -> None:
        self._stopping = False
        self._thread_id = None
        events._set_running_loop(None)
        self._set_coroutine_origin_tracking(False)
        hooks, self._old_agen_hooks = self._old_agen_hooks, None
        if hooks is not None:
            sys.set_asyncgen_hooks(*hooks)

    # --- spinning ---

    @property
    def spin(self) -> float:
        """Seconds that it looks, at most, before it sleeps; 0: none."""
        return self._spin_seconds

    @spin.setter
    def spin(self, seconds: float) -> None:
        self._spin(_selector._page, _selector._processors, seconds)
        self._spin_seconds = seconds

    # --- what asyncio's code has as attributes ---

    @property
    def _ready(self) -> Ready:
        return Ready(self)

    @_ready.setter
    def _ready(self, value: object) -> None:
        pass  # asyncio's deque: the queue is in C

    @property
    def _scheduled(self) -> Timers:
        return Timers(self)

    @_scheduled.setter
    def _scheduled(self, value: object) -> None:
        pass

    # --- signals: sockets are made when the first handler is added ---

    def _make_self_pipe(self) -> None:
        self._internal_fds += 1  # what wakes it, made when it is needed

    def _close_self_pipe(self) -> None:
        self._internal_fds -= 1
        ours, theirs = self._ssock_made, self._csock_made
        self._ssock_made = self._csock_made = None
        if ours is not None and theirs is not None:
            self._remove_reader(ours.fileno())
            ours.close()
            theirs.close()

    def _self_pipe(self) -> tuple[socket.socket, socket.socket]:
        if self._ssock_made is None or self._csock_made is None:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            self._ssock_made, self._csock_made = ours, theirs
            self._add_reader(ours.fileno(), self._read_from_self)
        return self._ssock_made, self._csock_made

    @property
    def _ssock(self) -> socket.socket | None:
        return None if self._closed else self._self_pipe()[0]

    @_ssock.setter
    def _ssock(self, value: socket.socket | None) -> None:
        self._ssock_made = value

    @property
    def _csock(self) -> socket.socket | None:
        return None if self._closed else self._self_pipe()[1]

    @_csock.setter
    def _csock(self, value: socket.socket | None) -> None:
        self._csock_made = value

    def add_signal_handler(
        self,
        sig: int,
        callback: Callable[[*Ts], object],
        *args: *Ts,
    ) -> None:
        """Have callback(*args) called by the loop when the signal comes.

        A wakeup descriptor that was set before hears of signals as well.
        """
        before = -1
        if not self._signal_handlers and _in_main_thread():
            before = signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        try:
            super().add_signal_handler(sig, callback, *args)
        except BaseException:
            if before >= 0:
                signal.set_wakeup_fd(before, warn_on_full_buffer=False)
            raise
        if before >= 0:
            self._wakeup_before = before

    def remove_signal_handler(self, sig: int) -> bool:
        """No more; whether there was one."""
        removed = super().remove_signal_handler(sig)
        before = self._wakeup_before
        if removed and before >= 0 and not self._signal_handlers:
            self._wakeup_before = -1
            # It may have been closed meanwhile.
            with contextlib.suppress(ValueError, OSError):
                signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        return removed

    def _process_self_data(self, data: bytes) -> None:
        if self._wakeup_before >= 0:
            # Full or closed: its owner has heard of signals.
            with contextlib.suppress(OSError):
                os.write(self._wakeup_before, data)
        super()._process_self_data(data)


_OWN_RUN_ONCE = LoopCore._run_once


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _spin_wanted() -> float:
    """By the environment variable, in microseconds; none on one processor."""
    if _selector._processors < 2:
        return 0.0
    try:
        wanted = float(os.environ["PULSAR_NATIVE_SPIN_US"]) / 1e6
    except (KeyError, ValueError):
        return _SPIN
    return min(max(wanted, 0.0), 0.01)


def new_event_loop() -> Loop:
    """A new loop, as asyncio.new_event_loop gives; close() it."""
    return Loop()


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """As asyncio.run, on a loop of this package."""
    if events._get_running_loop() is not None:
        raise RuntimeError(
            "pulsar_native.run() cannot be called from a running event loop"
        )
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
    """For asyncio.set_event_loop_policy: all new loops are of this package."""

    _loop_factory = Loop


# Those of a parent are of no use in its forked children.
_loops: weakref.WeakSet[Loop] = weakref.WeakSet()


def _forget_loops() -> None:
    for loop in list(_loops):
        loop._forget()
        if loop._signal_handlers:
            # As asyncio does itself, from 3.12 on.
            with contextlib.suppress(ValueError):
                signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_forget_loops)
