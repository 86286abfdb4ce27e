"""The kind ``process``: actors whose processes a fork server makes."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from . import _forkserver, _native
from ._process import ProcessCarrier, end_stray, exit_of
from .kinds import dump_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._monitor import ActorProxyMonitor
    from .manager import Manager

__all__ = ["Processes", "standard_output"]


class Processes:
    """The process actors of one arbiter, and its channels to fork servers.

    See ``kinds.Kind`` for what is called when.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        # By what the servers have preloaded.
        self._channels: dict[tuple[str, ...], _native.ForkChannel] = {}
        self._reserved: dict[_native.ForkChannel, int] = {}

    def dump(self, facts: dict[str, Any], values: dict[str, Any]) -> bytes:
        """The spec, with what a process inherits of this one."""
        return dump_spec(facts, values)

    def launch(self, child: ActorProxyMonitor, spec: bytes) -> None:
        """Have the fork server make the process; send it its spec."""
        manager = self._manager
        channel = self._open_channel(self._preload_of(child))
        self._reserve(channel, child)
        ours, theirs = _native.link_pair()
        try:
            manager.mailbox.connect(child.number, ours)
            child.carrier = carrier = ProcessCarrier(child, manager._loop)
            try:
                self._spawn(channel, child, theirs, carrier)
            finally:
                carrier.errors.close_write_end()
        finally:
            os.close(theirs)
        manager.greet(child, spec)

    def _reserve(
        self, channel: _native.ForkChannel, child: ActorProxyMonitor
    ) -> None:
        """Keep as many forked ahead as the spawn that asks for most wants."""
        wanted: int = child.cfg.reserve
        if wanted > self._reserved.get(channel, 0):
            channel.reserve(wanted)
            self._reserved[channel] = wanted

    def _preload_of(self, child: ActorProxyMonitor) -> tuple[str, ...]:
        preload: tuple[str, ...] = child.cfg.preload
        return preload

    def _connect(self, preload: tuple[str, ...]) -> _native.ForkChannel:
        return _forkserver.connect(preload)

    def _death_reason(self, preload: tuple[str, ...]) -> str:
        return _forkserver.death_reason(preload)

    def _spawn(
        self,
        channel: _native.ForkChannel,
        child: ActorProxyMonitor,
        link: int,
        carrier: ProcessCarrier,
    ) -> None:
        out, errors = standard_output(), carrier.errors.write_end
        fds = [link, -1, out, errors, carrier.recorder_fd()]
        channel.spawn(child.number, fds)

    def _open_channel(self, preload: tuple[str, ...]) -> _native.ForkChannel:
        channel = self._channels.get(preload)
        if channel is None:
            channel = self._channels[preload] = self._connect(preload)
            self._manager._loop.add_reader(
                channel.fileno(), self._on_reports, preload, channel
            )
        return channel

    # --- what a fork server reports ---

    def _on_reports(
        self, preload: tuple[str, ...], channel: _native.ForkChannel
    ) -> None:
        if self._channels.get(preload) is not channel:
            return
        try:
            reports = channel.receive()
        except EOFError:
            self._server_died(preload)
            return
        for report in reports:
            self._on_report(*report)

    def _on_report(self, what: str, number: int, *facts: Any) -> None:
        manager = self._manager
        child = manager._children.get(number)
        if child is None:
            if what == "started":
                end_stray(*facts)
        elif what == "started":
            pid, pidfd = facts
            assert isinstance(child.carrier, ProcessCarrier)
            child.carrier.started(pidfd)
            manager.child_started(child, pid)
        elif what == "failed":
            reason = f"fork failed: {os.strerror(facts[0])}"
            manager.child_failed(child, reason)
        else:
            manager.child_ended(child, exit_of(*facts[1:4]))

    def _server_died(self, preload: tuple[str, ...]) -> None:
        """Its children get SIGKILL from the kernel; say why."""
        self._close_channel(preload)
        reason = self._death_reason(preload)
        reason = reason or "the fork server has died"
        for child in list(self._manager._children.values()):
            if self._is_of(child, preload):
                self._manager.explain_end(child, reason)
                end = exit_of(0, signal.SIGKILL, False)
                self._manager.child_ended(child, end)

    def _is_of(
        self, child: ActorProxyMonitor, preload: tuple[str, ...]
    ) -> bool:
        """Whether it comes from that server."""
        mine = self._manager.kind_of(child) is self
        return mine and self._preload_of(child) == preload

    # --- the end ---

    def _close_channel(
        self, preload: tuple[str, ...], forked: bool = False
    ) -> None:
        channel = self._channels.pop(preload)
        self._reserved.pop(channel, None)
        loop = self._manager._loop
        if not forked and not loop.is_closed():
            loop.remove_reader(channel.fileno())
        channel.close()

    def descriptors(self) -> Iterator[int]:
        """Those of the channels."""
        for channel in self._channels.values():
            yield channel.fileno()

    def close(self, forked: bool = False) -> None:
        """Close the channels: actors that still live end by that."""
        for preload in list(self._channels):
            self._close_channel(preload, forked)


def standard_output() -> int:
    """Standard output as it is now; a closed one becomes /dev/null."""
    try:
        os.fstat(1)
    except OSError:
        return 2
    return 1
