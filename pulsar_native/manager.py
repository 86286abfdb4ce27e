"""Managing process actors: their start, what they report, their end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import pickle
import signal
import threading
import time
from typing import Any

from . import _forkserver, _logging, _native, _spec
from ._port import (
    KIND_DOWN,
    KIND_HELLO,
    KIND_LOG,
    KIND_NOTIFY,
    KIND_SPEC,
    KIND_STOP,
    dump_down,
    load_down,
)
from ._process import ActorProxyMonitor, ErrorPipe, Exit
from .actor import ACTOR_EVENTS, Actor
from .commands import latest_serial
from .consts import ACTOR_ACTION_TIMEOUT, ACTOR_STATES
from .exceptions import ActorDown, ActorStartError, NameTaken
from .proxy import ActorProxy, aid_of, new_number
from .utils.config import Config

__all__ = ["Manager", "check_attributes"]

_LINK_GRACE = 0.1  # seconds between a link's end and its process's, at most
# Attributes that every actor sets on itself.
_OWN = frozenset(
    {"age", "exit_code", "logger", "mailbox", "monitor", "number", "pid"}
    | {"servers", "state", "stopping_waiters", "stream", "tid"}
)
_ages = itertools.count(2)  # the arbiter is 1


class Manager(Actor):
    """An actor that starts others, watches them and ends them.

    docs/invariants.md tells the order of events and who closes what.
    """

    def __init__(self, name: str, aid: str, cfg: Config) -> None:
        super().__init__(name, aid, new_number(), cfg, 1)
        self._children: dict[int, ActorProxyMonitor] = {}
        self._ends: dict[int, list[asyncio.Future[None]]] = {}
        # To the fork servers, by what these have preloaded.
        self._channels: dict[tuple[str, ...], _native.ForkChannel] = {}

    @property
    def managed_actors(self) -> dict[str, ActorProxyMonitor]:
        """The actors that it manages, by aid."""
        return {c.aid: c for c in self._children.values()}

    # --- spawn ---

    def spawn(self, **params: Any) -> asyncio.Future[ActorProxy]:
        """As the function ``spawn``."""
        if self.tid != threading.get_ident():
            raise RuntimeError(
                "not on the thread of the actor's loop: use send_threadsafe"
            )
        asked = self._spawn_params(params)
        future = self._loop.create_future()
        future.aid = asked["aid"]  # type: ignore[attr-defined]
        try:
            self._context.copy().run(self._spawn, asked, future)
        except Exception as error:
            future.set_exception(error)
        return future

    def _spawn_params(self, params: dict[str, Any]) -> dict[str, Any]:
        """Sort out what ``spawn`` was given; refuse what cannot be."""
        if self.state > ACTOR_STATES.RUN:
            raise RuntimeError(f"{self!r} is {self.info_state}")
        merged = self.actorparams()
        for key in ("name", "aid", "cfg"):
            if key in merged:
                params[key] = merged.pop(key)
        params = merged | params
        cfg = params.pop("cfg", None)
        if not isinstance(cfg, Config | None):
            raise TypeError(f"cfg must be a Config, not {cfg!r}")
        cfg = (self.cfg if cfg is None else cfg).copy()
        kind = params.pop("kind", None)
        if kind is not None:
            cfg.set("concurrency", kind)
        for name in [n for n in params if Config.is_setting(n)]:
            cfg.set(name, params.pop(name))
        name, aid = params.pop("name", None), params.pop("aid", None)
        check_attributes(params)
        _check_values(params)
        number = new_number()
        for text in (name, aid):
            self._check_name(text)
        return {
            "name": name or "actor",
            "unique": name is not None,
            "aid": aid or aid_of(number),
            "number": number,
            "cfg": cfg,
            "params": params,
        }

    def _check_name(self, name: Any) -> None:
        if name is None:
            return
        if not isinstance(name, str) or not 0 < len(name.encode()) <= 255:
            raise ValueError(
                f"a name or aid is 1 to 255 bytes of text, not {name!r}"
            )
        if name in self._port.names:
            raise NameTaken(f"a living actor is called {name!r} already")

    def _spawn(
        self, asked: dict[str, Any], future: asyncio.Future[Any]
    ) -> None:
        child = ActorProxyMonitor(
            self, asked["aid"], asked["name"], asked["number"], asked["cfg"]
        )
        spec = self._dump_spec(child, asked)
        child._future = future
        future.add_done_callback(
            functools.partial(self._spawn_cancelled, child)
        )
        self._enlist(child, asked["unique"])
        try:
            self._launch(child, spec)
        except BaseException as error:
            self._delist(child)
            child._close_descriptors()
            self.mailbox.disconnect(child.number)
            raise ActorStartError(
                child.aid, f"no process could be made: {error}"
            ) from error
        child._timers.append(
            self._loop.call_later(
                child.cfg.spawn_timeout, self._spawn_expired, child
            )
        )

    def _dump_spec(
        self, child: ActorProxyMonitor, asked: dict[str, Any]
    ) -> bytes:
        hooks = {n: v for n, v in asked["params"].items() if n in ACTOR_EVENTS}
        rest = {n: v for n, v in asked["params"].items() if n not in hooks}
        extra = rest.pop("extra", {})
        facts = {
            "name": child.name,
            "aid": child.aid,
            "number": child.number,
            "arbiter": self.number,
            "age": next(_ages),
            "settings": child.cfg.settings,
        }
        values = {
            "hooks": hooks | rest,
            "params": child.cfg.params,
            "extra": extra,
        }
        return _spec.dump(facts, values)

    def _enlist(self, child: ActorProxyMonitor, unique: bool) -> None:
        child._unique = unique
        self._children[child.number] = child
        self._known[child.number] = child
        self._port.names[child.aid] = child.number
        if unique:
            self._port.names[child.name] = child.number

    def _delist(self, child: ActorProxyMonitor) -> None:
        self._children.pop(child.number, None)
        self._known.pop(child.number, None)
        self._port.names.pop(child.aid, None)
        if child._unique:
            self._port.names.pop(child.name, None)

    def _launch(self, child: ActorProxyMonitor, spec: bytes) -> None:
        """Have the fork server make the process; send it its spec."""
        channel = self._open_channel(child.cfg.preload)
        ours, theirs = _native.link_pair()
        try:
            self.mailbox.connect(child.number, ours)
            child._errors = ErrorPipe(self._loop)
            channel.spawn(
                child.number,
                [theirs, -1, _stdout(), child._errors.write_end],
            )
        finally:
            os.close(theirs)
            if child._errors is not None:
                child._errors.close_write_end()
        self.mailbox.know(child.number, latest_serial())
        self.mailbox.post(KIND_HELLO, child.number, self.mailbox.hello())
        self.mailbox.post(KIND_SPEC, child.number, spec)

    def _open_channel(self, preload: tuple[str, ...]) -> _native.ForkChannel:
        channel = self._channels.get(preload)
        if channel is None:
            channel = self._channels[preload] = _forkserver.connect(preload)
            self._loop.add_reader(
                channel.fileno(), self._on_reports, preload, channel
            )
        return channel

    def _spawn_expired(self, child: ActorProxyMonitor) -> None:
        if not child._started:
            seconds = child.cfg.spawn_timeout
            child._reason = f"no handshake within {seconds} seconds", None
            self._give_up_spawn(child)

    def _spawn_cancelled(
        self, child: ActorProxyMonitor, future: asyncio.Future[Any]
    ) -> None:
        """Nobody will have the proxy: the actor is of no use."""
        if future.cancelled() and not child._started:
            child._reason = "its spawn was cancelled", None
            self._give_up_spawn(child)

    def _give_up_spawn(self, child: ActorProxyMonitor) -> None:
        if child.pid is None:  # the fork server may never answer
            self._end(child)
        else:
            child.kill()

    # --- what the fork server and the links report ---

    def _on_reports(
        self, preload: tuple[str, ...], channel: _native.ForkChannel
    ) -> None:
        if self._channels.get(preload) is not channel:
            return
        try:
            reports = channel.receive()
        except EOFError:
            self._fork_server_died(preload)
            return
        for report in reports:
            self._on_report(*report)

    def _on_report(self, what: str, number: int, *facts: Any) -> None:
        child = self._children.get(number)
        if child is None:
            if what == "started":
                _end_stray(*facts)
            return
        if what == "started":
            pid, child._pidfd = facts
            if child.pid not in (None, pid):
                child._reason = f"hello came from process {child.pid}", None
            child.pid = pid
            if child._reason is not None:
                child.kill()
        elif what == "failed":
            child._reason = f"fork failed: {os.strerror(facts[0])}", None
            self._end(child)
        else:
            child._exit = Exit(*facts[1:4])
            self._settle(child)

    def _fork_server_died(self, preload: tuple[str, ...]) -> None:
        """Its children get SIGKILL from the kernel; say why."""
        self._close_channel(preload)
        reason = _forkserver.death_reason(preload)
        reason = reason or "the fork server has died"
        for child in list(self._children.values()):
            if child.cfg.preload != preload:
                continue
            child._reason = reason, None
            child._exit = Exit(0, signal.SIGKILL, False)
            self._settle(child)

    def _lost(self, number: int, status: int, text: str) -> None:
        child = self._children.get(number)
        if child is None:
            return
        child._link_lost = text
        if text != "closed":
            self.logger.error("link to %r closed: %s", child, text)
            child._reason = child._reason or (f"link lost: {text}", None)
        if child._exit is None:
            child._timers.append(
                self._loop.call_later(_LINK_GRACE, self._orphaned, child)
            )
        else:
            self._end(child)

    def _settle(self, child: ActorProxyMonitor) -> None:
        """Its process has ended: what it sent is read first."""
        if child._link_lost is None:
            self.mailbox._on_ready()
        if child.number in self._children:
            if child._link_lost is not None:
                self._end(child)
            else:  # somebody else holds the other end
                child._timers.append(
                    self._loop.call_later(_LINK_GRACE / 4, self._end, child)
                )

    def _orphaned(self, child: ActorProxyMonitor) -> None:
        """The link is gone and the process lives: it is of no use."""
        if child._exit is not None or child.number not in self._children:
            return
        grace: float = 0
        if child.stopping_start is None:
            lost = f"link lost: {child._link_lost}"
            child._reason = child._reason or (lost, None)
        else:  # as it said it would: its interpreter may take a while
            grace = child.cfg.exit_timeout
        reason, code = child._reason or ("it has stopped", None)
        self._fail_asks(child, reason, code, None)
        self.mailbox.disconnect(child.number)  # later asks fail at once
        for seconds, act in (
            (grace, child.stop),
            (grace + ACTOR_ACTION_TIMEOUT, child.kill),
        ):
            child._timers.append(self._loop.call_later(seconds, act))

    def _end(self, child: ActorProxyMonitor) -> None:
        """The actor is down: everybody whom it concerns hears so."""
        if child.number not in self._children:
            return
        child._cancel_timers()
        if child._errors is not None:
            child._errors.drain()
        reason, code, sig = _reason_of(child)
        self._fail_asks(child, reason, code, sig)
        self._delist(child)
        self.mailbox.disconnect(child.number)
        child._close_descriptors()
        self._fail_spawn(child, reason)
        for waiter in self._ends.pop(child.number, ()):
            if not waiter.done():
                waiter.set_result(None)
        self.logger.debug("%r has ended: %s", child, reason)

    def _fail_asks(
        self,
        child: ActorProxyMonitor,
        reason: str,
        code: int | None,
        sig: int | None,
    ) -> None:
        for peer in self.mailbox.peers(child.number):
            payload = dump_down(reason, code, sig)
            self.mailbox.post(KIND_DOWN, peer, payload, id=child.number)
        self._remember_end(child, reason, code, sig)
        if child._unique:
            self._ended[child.name] = self._ended[child.number]
        make = functools.partial(ActorDown, child.aid, reason, code, sig)
        self.mailbox.fail(child.number, make)

    def _fail_spawn(self, child: ActorProxyMonitor, reason: str) -> None:
        future = child._future
        child._future = None
        if future is None or future.done():
            return
        first, _, traceback = reason.partition("\n")
        output = child._errors.tail() if child._errors else ""
        future.set_exception(
            ActorStartError(child.aid, first, traceback, output)
        )

    # --- what its actors tell ---

    def _control(
        self, kind: int, source: int, id: int, payload: bytes
    ) -> None:
        child = self._children.get(source)
        if child is None:
            return
        if kind == KIND_NOTIFY:
            self._on_notify(child)
        elif kind == KIND_HELLO:
            self._on_hello(child, id)
        elif kind == KIND_DOWN and id == child.number:
            reason, code, _ = load_down(payload)
            child._reason = (reason, code) if reason else child._reason
            child.stopping_start = time.monotonic()
        elif kind == KIND_LOG:
            self._on_log(payload)

    def _on_hello(self, child: ActorProxyMonitor, pid: int) -> None:
        if child.pid is None:
            child.pid = pid  # the fork server's report is still to come
        elif child.pid != pid:
            child._reason = f"hello came from process {pid}", None
            child.kill()

    def _on_notify(self, child: ActorProxyMonitor) -> None:
        child.notified = time.time()
        if child._started:
            return
        child._started = True
        child._cancel_timers()
        future = child._future
        child._future = None
        if future is not None and not future.done():
            future.set_result(child)

    def _on_log(self, payload: bytes) -> None:
        try:
            _logging.handle_record(pickle.loads(payload))
        except Exception:
            self.logger.exception("a shipped log record is of no use")

    def _notified(
        self, caller: ActorProxy, info: dict[str, Any], now: float
    ) -> None:
        child = self._children.get(caller.number)
        if child is None:
            super()._notified(caller, info, now)
        else:
            child.info = info | {"last_notified": now}
            child.notified = now

    async def _stop_children(self) -> None:
        """Ask, then terminate, then kill, each after its grace."""
        for child in list(self._children.values()):
            child.stopping_start = time.monotonic()
            self.mailbox.post(KIND_STOP, child.number, b"")
        grace = self.cfg.exit_timeout + 1
        for act, seconds in (
            (ActorProxyMonitor.stop, grace),
            (ActorProxyMonitor.kill, max(ACTOR_ACTION_TIMEOUT - grace, 1)),
            (_give_up, 2.0),
        ):
            if await self._all_ended(seconds):
                return
            for child in list(self._children.values()):
                act(child)

    async def _all_ended(self, seconds: float) -> bool:
        waiting = [self._end_of(n) for n in list(self._children)]
        if not waiting:
            return True
        _, left = await asyncio.wait(waiting, timeout=seconds)
        return not left and not self._children

    def _end_of(self, number: int) -> asyncio.Future[None]:
        """A future that resolves when this child has ended."""
        future = self._loop.create_future()
        if number in self._children:
            self._ends.setdefault(number, []).append(future)
        else:
            future.set_result(None)
        return future

    def _close_channel(self, preload: tuple[str, ...]) -> None:
        channel = self._channels.pop(preload)
        if not self._loop.is_closed():
            self._loop.remove_reader(channel.fileno())
        channel.close()

    def _close_channels(self) -> None:
        for preload in list(self._channels):
            self._close_channel(preload)

    def _close_children(self) -> int:
        """Close every descriptor: actors that still live end by that.

        How many there were.
        """
        left = list(self._children.values())
        for child in left:
            self._delist(child)
            child._cancel_timers()
            child._close_descriptors()
        self._close_channels()
        return len(left)

    def _forget(self) -> None:
        super()._forget()
        for child in self._children.values():
            child._close_descriptors(forked=True)
        self._children.clear()
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

    def __del__(self) -> None:
        """Its loop was closed, or dropped, without a word."""
        for child in getattr(self, "_children", {}).values():
            with contextlib.suppress(OSError):
                child._close_descriptors(forked=True)


def check_attributes(params: dict[str, Any]) -> None:
    """What is left becomes attributes: none may hide the actor's own."""
    for name in params:
        if name in ACTOR_EVENTS or name == "extra":
            continue
        if name.startswith("_") or name in _OWN or hasattr(Actor, name):
            raise ValueError(
                f"{name!r} is an actor's own attribute and cannot be given"
            )


def _check_values(params: dict[str, Any]) -> None:
    """Refuse here what could only fail in the new process."""
    if not isinstance(params.get("extra", {}), dict):
        raise TypeError(f"extra must be a dict, not {params['extra']!r}")
    for name in ACTOR_EVENTS:
        hooks = params.get(name)
        if not isinstance(hooks, list | tuple):
            hooks = () if hooks is None else (hooks,)
        for hook in hooks:
            if not callable(hook):
                raise TypeError(f"{name} must be callable, not {hook!r}")


def _end_stray(pid: int, pidfd: int) -> None:
    """A process whose spawn was given up has started after all."""
    with contextlib.suppress(ProcessLookupError):
        _native.pidfd_send_signal(pidfd, pid, signal.SIGKILL)
    if pidfd >= 0:
        os.close(pidfd)


def _stdout() -> int:
    """Standard output as it is now; a closed one becomes /dev/null."""
    try:
        os.fstat(1)
    except OSError:
        return 2
    return 1


def _give_up(child: ActorProxyMonitor) -> None:
    if child.pid is None:  # no process was ever reported
        child._arbiter._end(child)
    else:
        child._arbiter.logger.critical("%r cannot be killed", child)


def _reason_of(
    child: ActorProxyMonitor,
) -> tuple[str, int | None, int | None]:
    """Why a child is down: its last words, or how its process ended."""
    code = sig = None
    words = "its process has ended"
    if child._exit is not None:
        code, sig = child._exit.code, child._exit.signal
        words = child._exit.describe()
    if child._reason is not None:
        words, told = child._reason
        if code is None and sig is None:
            code = told
    return words, code, sig
