"""The fork server: its start and its clients here, its own main there.

A server is a single-threaded process, exec'ed with this interpreter's flags,
that has everything an actor needs imported and forks itself on request. One
serves all arbiters of a process that ask for the same preloaded modules.
docs/invariants.md tells who owns which descriptor and who ends when.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from . import _native
from ._ending import Shared, end
from ._spec import server_environment
from .exceptions import ForkServerError

__all__ = ["SPARE", "connect", "death_reason", "server_pid"]

SPARE = "pn-spare"  # the name of a child that was forked ahead: forkspare.h
ACTOR = "pulsar_native._child:main"
PRELOADED = (
    "asyncio",
    "faulthandler",
    "logging",
    "pickle",
    "cloudpickle",
    "pulsar_native",
)
EXIT_TIMEOUT = 2.0  # seconds from the end of the control socket to SIGKILL
END_TIMEOUT = 0.5  # seconds from a channel's end of file to its server's
THREAD_GRACE = 0.2  # seconds in which a preload's joined threads vanish
MESSAGE_LIMIT = 4096  # bytes of the server's last words

_Key = tuple[tuple[str, ...], str]


@dataclass
class _Server:
    """A server's life as its master sees it; guarded by _lock."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    last_words: str = ""

    def alive(self) -> bool:
        return self.process.poll() is None

    def read_last_words(self) -> str:
        """What the server said before it refused to start, or ''."""
        # Where it left a message of ours unread, the first call says so.
        for _ in range(2):
            with contextlib.suppress(OSError):
                data = self.control.recv(MESSAGE_LIMIT, socket.MSG_DONTWAIT)
                self.last_words += data.decode(errors="replace")
        return self.last_words


_lock = threading.RLock()  # also taken around every os.fork of the program
_servers: dict[_Key, _Server] = {}


def connect(
    preload: Sequence[str] = (), *, child: str = ACTOR
) -> _native.ForkChannel:
    """Open a channel to the fork server, starting that where it must.

    *preload* names modules that the server imports beforehand; arbiters with
    the same list share a server. *child*, "module:function", runs in its
    children with (link_fd, master_pidfd, recorder_fd) and returns the exit
    code; it is there for tests. Where that module has a function ``prepare``,
    the server calls it before it serves, and children that are forked ahead
    before they wait to be needed.

    Returns before the server is ready: spawns wait for it in the channel.
    Any thread may call; it takes some milliseconds when a server is started.
    Raises ForkServerError if the server before refused these modules (after
    an end of file on its channel, so the reason reaches who tries again),
    OSError if no process or descriptor is to be had.
    """
    key = (tuple(preload), child)
    with _lock:
        server = _servers.get(key)
        if server is not None:
            channel = _open_channel(server)
            if channel is not None:
                return channel
            del _servers[key]
            _bury(server)
        server = _servers[key] = _start(key)
        channel = _open_channel(server)
        if channel is None:
            raise ForkServerError(_describe(server))
        return channel


def server_pid(
    preload: Sequence[str] = (), *, child: str = ACTOR
) -> int | None:
    """The process id of the living fork server with these modules."""
    with _lock:
        server = _servers.get((tuple(preload), child))
        return server.process.pid if server and server.alive() else None


def death_reason(preload: Sequence[str] = (), *, child: str = ACTOR) -> str:
    """One sentence on why the last server with these modules has ended.

    For who has just read an end of file from its channel: the process ends
    then, and is waited for, at most half a second. Empty if none has run.
    """
    with _lock:
        server = _servers.get((tuple(preload), child))
    if server is None:
        return ""
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(END_TIMEOUT)
    with _lock:
        return _describe(server)


def _describe(server: _Server) -> str:
    name = f"the fork server (pid {server.process.pid})"
    words = server.read_last_words()
    if words:
        return f"{name} refused to start: {words}"
    code = server.process.poll()
    if code is None:
        return f"{name} has closed its channels"
    if code < 0:
        return f"{name} was ended by signal {-code}"
    return f"{name} has exited with code {code}"


def _open_channel(server: _Server) -> _native.ForkChannel | None:
    """A new channel, or None if the server is dead."""
    if not server.alive():
        return None
    ours, theirs = _socket_pair()
    with theirs:
        try:
            socket.send_fds(server.control, [b"C"], [theirs.fileno()])
        except (BrokenPipeError, ConnectionResetError):
            ours.close()
            return None
        except BaseException:
            ours.close()
            raise
    return _native.ForkChannel(ours.detach())


def _bury(server: _Server) -> None:
    """Reap a dead server; raise its last words, if it had any."""
    words = server.read_last_words()
    server.control.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(EXIT_TIMEOUT)
    if server.process.returncode is None:
        server.process.kill()
        server.process.wait()
    if words:
        raise ForkServerError(words)


def _start(key: _Key) -> _Server:
    if not sys.executable:
        raise ForkServerError(
            "sys.executable is empty: no interpreter to start as fork server"
        )
    ours, theirs = _socket_pair()
    try:
        with theirs, _master_pidfd() as pidfd, _signals_blocked():
            process = _execute(key, _above_streams(theirs), pidfd)
    except BaseException:
        ours.close()
        raise
    return _Server(process, ours)


def _execute(key: _Key, control: int, pidfd: int) -> subprocess.Popen[bytes]:
    preload, child = key
    path = [entry for entry in sys.path if isinstance(entry, str)]
    code = (
        f"import sys; sys.path[:] = {path!r}; "
        "from pulsar_native._forkserver import main; "
        f"main({control}, {pidfd}, {preload!r}, {child!r})"
    )
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    try:
        return subprocess.Popen(
            [sys.executable, *flags, "-c", code],
            stdin=subprocess.DEVNULL,
            env=server_environment(),
            pass_fds=[fd for fd in (control, pidfd) if fd >= 0],
        )
    finally:
        os.close(control)


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _above_streams(file: socket.socket) -> int:
    """A copy that stands in the way of no standard stream."""
    return fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)


@contextlib.contextmanager
def _master_pidfd() -> Iterator[int]:
    """A pidfd of this process above the standard streams, or -1."""
    try:
        low = _native.pidfd_open(os.getpid())
    except OSError:
        yield -1
        return
    try:
        pidfd = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(low)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """A Ctrl-C while the server imports would end it: a mask is inherited."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _forget_in_forked_child() -> None:
    """The master is another process here: leave its servers alone."""
    global _lock
    _lock = threading.RLock()
    for server in _servers.values():
        server.control.close()
        server.process.returncode = 0  # not ours to wait for, nor to warn of
    _servers.clear()


def _stop_all() -> None:
    with _lock:
        servers = list(_servers.values())
        _servers.clear()
    for server in servers:
        server.control.close()
    deadline = time.monotonic() + EXIT_TIMEOUT
    for server in servers:
        try:
            server.process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


# A lambda, as the child gets a lock of its own.
os.register_at_fork(
    before=lambda: _lock.acquire(),
    after_in_parent=lambda: _lock.release(),
    after_in_child=_forget_in_forked_child,
)
atexit.register(_stop_all)


def main(
    control: int, pidfd: int, preload: Sequence[str], child: str
) -> NoReturn:
    """Be the fork server, and in each of its children the child.

    *control* and *pidfd* are the inherited descriptors of the master.
    """
    os.set_inheritable(control, False)
    if pidfd >= 0:
        os.set_inheritable(pidfd, False)
    # SIGINT here, so that Python too knows that children ignore it. The
    # others stay blocked from exec until a child unblocks them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()
    module, _, function = child.partition(":")
    try:
        for name in (*PRELOADED, module):
            importlib.import_module(name)
        run = getattr(sys.modules[module], function)
        _prepare(module, ahead=False)
        shared = Shared()
        _import_all(preload)
    except BaseException as error:
        _refuse(control, error)
    gc.collect()
    _native.forkserver_freeze()
    gc.freeze()
    found = _native.forkserver_serve(control, pidfd)
    if found is None:
        os._exit(0)
    gc.enable()
    end(run(*_awaited(module, *found)), shared)


def _prepare(module: str, ahead: bool) -> None:
    """Do what makes the children's beginning short, if there is such."""
    prepare = getattr(sys.modules[module], "prepare", None)
    if prepare is not None:
        prepare(ahead)


def _awaited(
    module: str, link: int, pidfd: int, recorder: int, spare: int
) -> tuple[int, int, int]:
    """What the child is given; one forked ahead gets ready and waits."""
    if spare >= 0:
        _prepare(module, ahead=True)
        given = _native.forkserver_wait(spare, pidfd)
        if given is None:
            os._exit(0)
        link, recorder = given
    return link, pidfd, recorder


def _import_all(preload: Sequence[str]) -> None:
    for name in preload:
        try:
            importlib.import_module(name)
        except Exception as error:
            raise ForkServerError(
                f"cannot preload {name!r}: {type(error).__name__}: {error}"
            ) from error
        _refuse_threads(name)


def _refuse_threads(name: str) -> None:
    """A fork beside threads copies their locks, locked."""
    deadline = time.monotonic() + THREAD_GRACE
    while (count := len(os.listdir("/proc/self/task"))) > 1:
        if time.monotonic() > deadline:
            raise ForkServerError(
                f"cannot preload {name!r}: it leaves {count - 1} thread(s) "
                "running, and a process with threads cannot be forked safely"
            )
        time.sleep(0.005)


def _refuse(control: int, error: BaseException) -> NoReturn:
    """Say why on the control socket, and end."""
    words = str(error)
    if not isinstance(error, ForkServerError):
        words = f"{type(error).__name__}: {error}"
    data = words.encode(errors="replace")[:MESSAGE_LIMIT]
    with contextlib.suppress(OSError), socket.socket(fileno=control) as file:
        file.send(data or b"?")
    os._exit(1)
