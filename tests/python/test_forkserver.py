"""The fork server: lives told once, and nothing left after any death."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pulsar_native
from pulsar_native import _forkserver, _native
from pulsar_native.exceptions import ForkServerError, PulsarException

# Bytes that a child without work may take; sanitizers take more.
MOST_MEMORY = (512 if os.environ.get("PN_SANITIZED") else 64) << 20

OBEY = "forkserver_children:obey"
DEAF = "forkserver_children:deaf"
PATIENCE = 30.0  # seconds until a test gives up; none waits for its end


def readable(fd: Any, seconds: float = PATIENCE) -> bool:
    return bool(select.select([fd], [], [], seconds)[0])


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def read_line(link: socket.socket) -> str:
    line = b""
    while not line.endswith(b"\n"):
        assert readable(link)
        data = link.recv(1 << 16)
        if not data:
            break
        line += data
    return line.decode().strip()


def state_of(pid: int) -> str:
    """The state letter of /proc/PID/stat, or '' once it is reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1][1]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def descriptors(pid: int | str = "self") -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


class Life:
    """One child, as its arbiter knows it."""

    def __init__(self, token: int, link: socket.socket) -> None:
        self.token = token
        self.link = link
        self.pid = 0
        self.pidfd = -1
        self.told: list[str] = []
        self.end: tuple[Any, ...] = ()

    def order(self, what: str) -> None:
        self.link.sendall(what.encode() + b"\n")

    def kill(self, number: int = signal.SIGKILL) -> None:
        _native.pidfd_send_signal(self.pidfd, self.pid, number)

    def stop(self) -> None:
        self.kill(signal.SIGSTOP)
        assert eventually(lambda: state_of(self.pid) == "T")


class Arbiter:
    """A channel and the lives on it."""

    def __init__(self, child: str = OBEY, **options: Any) -> None:
        self.channel = _forkserver.connect(child=child, **options)
        self.lives: dict[int, Life] = {}

    def ask(self, *, stdout: int = -1, stderr: int = -1) -> Life:
        ours, theirs = socket.socketpair()
        life = Life(len(self.lives) + 1, ours)
        self.lives[life.token] = life
        with theirs:
            self.channel.spawn(
                life.token, (theirs.fileno(), -1, stdout, stderr)
            )
        return life

    def take(self) -> None:
        for kind, token, *rest in self.channel.receive():
            life = self.lives[token]
            life.told.append(kind)
            if kind == "started":
                life.pid, life.pidfd = rest
            else:
                life.end = tuple(rest)

    def wait(self, life: Life, kind: str) -> None:
        while kind not in life.told:
            assert readable(self.channel)
            self.take()

    def spawn(self, **streams: int) -> Life:
        life = self.ask(**streams)
        self.wait(life, "started")
        assert read_line(life.link) == "ready"
        return life

    def close(self) -> None:
        self.channel.close()
        for life in self.lives.values():
            life.link.close()
            if life.pidfd >= 0:
                os.close(life.pidfd)
                life.pidfd = -1


@contextlib.contextmanager
def arbiters(count: int = 1, **options: Any) -> Iterator[list[Arbiter]]:
    opened = [Arbiter(**options) for _ in range(count)]
    try:
        yield opened
    finally:
        for one in opened:
            one.close()


@pytest.fixture
def arbiter() -> Iterator[Arbiter]:
    with arbiters() as (one,):
        yield one


@pytest.fixture(scope="module", autouse=True)
def stop_servers() -> Iterator[None]:
    yield
    _forkserver._stop_all()


def server_of(child: str = OBEY) -> int:
    pid = _forkserver.server_pid(child=child)
    assert pid is not None
    return pid


# Lives


def test_200_children_killed_at_random_are_told_once() -> None:
    with arbiters() as (first,):
        first.spawn()  # whatever is opened once
    before = descriptors()

    with arbiters() as (one,):
        killed: set[int] = set()
        for _ in range(200):
            life = one.ask()
            if random.random() < 0.5:
                one.take()
            victim = random.choice(list(one.lives.values()))
            if victim.pidfd >= 0 and victim.told == ["started"]:
                with contextlib.suppress(ProcessLookupError):
                    victim.kill()
                    killed.add(victim.token)
        for life in one.lives.values():
            life.link.close()
        for life in one.lives.values():
            one.wait(life, "exited")
            assert life.told == ["started", "exited"]
            pid, code, number = life.end[:3]
            expected = signal.SIGKILL if life.token in killed else 0
            assert (pid, code) == (life.pid, 0)
            assert number == expected
            assert state_of(life.pid) == ""
    assert descriptors() == before
    # Three streams, control socket, the master's pidfd and a signalfd.
    assert eventually(lambda: descriptors(server_of()) == 6)


def test_exit_code_signal_and_usage_are_right(arbiter: Arbiter) -> None:
    lives = {order: arbiter.spawn() for order in ("exit 77", "burn", "grow")}
    for order, life in lives.items():
        life.order(order)
    for life in lives.values():
        arbiter.wait(life, "exited")
    assert lives["exit 77"].end[1:4] == (77, 0, False)
    assert lives["burn"].end[4] + lives["burn"].end[5] >= 200_000
    assert lives["exit 77"].end[4] + lives["exit 77"].end[5] < 200_000
    assert lives["grow"].end[6] >= 64 << 20
    assert 1 << 20 < lives["exit 77"].end[6] < MOST_MEMORY


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP]
)
def test_signal_of_the_end_is_told(arbiter: Arbiter, number: int) -> None:
    life = arbiter.spawn()
    life.kill(number)
    arbiter.wait(life, "exited")
    assert life.end[1:3] == (0, number)


def test_core_flag_is_what_the_kernel_says(arbiter: Arbiter) -> None:
    """A limit of 0 bytes forbids cores unless they go to a program."""
    life = arbiter.spawn()
    life.order("abort")
    arbiter.wait(life, "exited")
    assert life.end[1:3] == (0, signal.SIGABRT)
    probe = os.fork()
    if probe == 0:
        faulthandler.disable()
        os.abort()
    status = os.waitpid(probe, 0)[1]
    assert life.end[3] is os.WCOREDUMP(status)


def test_exception_is_printed_and_exits_with_1(arbiter: Arbiter) -> None:
    reader, writer = os.pipe()
    life = arbiter.spawn(stderr=writer)
    os.close(writer)
    life.order("raise")
    arbiter.wait(life, "exited")
    with open(reader) as text:
        assert text.read().rstrip().endswith("LookupError: out of the child")
    assert life.end[1:3] == (1, 0)


def test_child_ends_by_normal_interpreter_exit(arbiter: Arbiter) -> None:
    life = arbiter.spawn()
    life.order("atexit")
    assert read_line(life.link) == "bye"
    arbiter.wait(life, "exited")
    assert life.end[1] == 0


def test_child_is_a_clean_process(arbiter: Arbiter) -> None:
    with arbiters(3) as others:
        for other in others:
            other.spawn()
        life = arbiter.spawn()
        life.order("look")
        found = json.loads(read_line(life.link))
    assert found["fds"] == found["expected"]
    assert found["stdin"] == "/dev/null"
    assert found["sigint_ignored"] and found["blocked"] == 0
    assert found["sigterm"] == str(signal.SIG_DFL)
    assert found["main"] is None
    assert found["ppid"] == server_of()
    assert {"asyncio", "cloudpickle", "pickle"} <= set(found["modules"])
    assert "pytest" not in found["modules"]


def test_given_streams_are_the_childs(arbiter: Arbiter) -> None:
    reader, writer = os.pipe()
    life = arbiter.spawn(stdout=writer)
    os.close(writer)
    life.order("print")
    with open(reader) as text:
        assert text.read() == "printed\n"


def test_client_that_does_not_read_delays_nobody() -> None:
    with arbiters(2) as (idle, busy):
        asked = [idle.ask() for _ in range(60)]
        busy.spawn()
        for life in asked:
            idle.wait(life, "started")
        assert [life.told for life in asked] == [["started"]] * 60


def test_two_threads_share_a_server() -> None:
    pids: list[int] = []
    failures: list[BaseException] = []

    def live() -> None:
        try:
            with arbiters() as (one,):
                lives = [one.spawn() for _ in range(10)]
                life = lives[3]
                life.order("look")
                pids.append(json.loads(read_line(life.link))["ppid"])
                for life in lives:
                    life.order("exit 5")
                for life in lives:
                    one.wait(life, "exited")
                    assert life.end[1] == 5
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=live) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(pids) == {server_of()} and len(pids) == 4


# Deaths


def test_children_of_a_closed_channel_are_gone() -> None:
    with arbiters(child=DEAF) as (stays,), arbiters(child=DEAF) as (goes,):
        spared = stays.spawn()
        lives = [goes.spawn() for _ in range(3)]
        lives[0].stop()
        goes.channel.close()
        assert all(readable(life.pidfd) for life in lives)
        pids = [life.pid for life in lives]
        assert eventually(lambda: not any(map(state_of, pids)))
        assert not readable(spared.pidfd, 0)


def test_server_killed_is_end_of_file_and_replaced() -> None:
    with arbiters() as (one,):
        life = one.spawn()
        server = server_of()
        os.kill(server, signal.SIGKILL)
        assert readable(one.channel)
        with pytest.raises(EOFError):
            one.take()
        assert readable(life.pidfd)
        reason = _forkserver.death_reason(child=OBEY)
        assert reason.endswith(f"(pid {server}) was ended by signal 9")
        with pytest.raises(BrokenPipeError):
            one.ask()
    assert _forkserver.server_pid(child=OBEY) is None
    with arbiters() as (one,):
        one.spawn()
        assert server_of() != server
    assert state_of(server) == ""  # reaped


def test_reports_before_the_servers_death_are_given_out() -> None:
    with arbiters() as (one,):
        life = one.spawn()
        life.order("exit 3")
        assert readable(one.channel)
        os.kill(server_of(), signal.SIGKILL)
        assert eventually(lambda: _forkserver.server_pid(child=OBEY) is None)
        one.take()
        assert life.end[1] == 3
        with pytest.raises(EOFError):
            one.take()


def test_server_outlives_the_thread_that_started_it() -> None:
    _forkserver._stop_all()
    opened: list[Arbiter] = []
    thread = threading.Thread(target=lambda: opened.append(Arbiter()))
    thread.start()
    thread.join()
    opened[0].spawn()
    opened[0].close()


def test_server_ignores_what_the_terminal_sends(arbiter: Arbiter) -> None:
    arbiter.spawn()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"):
        os.kill(server_of(), getattr(signal, name))
    life = arbiter.spawn()
    life.kill(signal.SIGINT)
    life.order("exit 4")
    arbiter.wait(life, "exited")
    assert life.end[1] == 4


def test_death_reason_without_a_server_is_empty() -> None:
    assert _forkserver.death_reason(child="nobody:nothing") == ""
    assert _forkserver.server_pid(child="nobody:nothing") is None


# Masters of their own: whole programs

PROGRAM = """
import os, select, signal, socket, subprocess, sys, threading
sys.path[:0] = {path!r}
from pulsar_native import _forkserver

def spawn(channel, token=1):
    ours, theirs = socket.socketpair()
    channel.spawn(token, (theirs.fileno(), -1, -1, -1))
    theirs.close()
    assert ours.recv(6) == b"ready\\n"
    select.select([channel], [], [])
    [(kind, _, pid, pidfd)] = channel.receive()
    assert kind == "started"
    return ours, pid, pidfd
"""


def program(body: str) -> str:
    path = [
        str(Path(pulsar_native.__file__).parent.parent),
        str(Path(__file__).parent),
    ]
    return PROGRAM.format(path=path) + textwrap.dedent(body)


def run_program(
    body: str, *flags: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", program(body)],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
        **options,
    )


@contextlib.contextmanager
def master(
    body: str, **options: Any
) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A running program, and the process ids that it printed first."""
    with subprocess.Popen(
        [sys.executable, "-c", program(body)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        assert process.stdout is not None
        try:
            pids = [int(pid) for pid in process.stdout.readline().split()]
            yield process, pids
        finally:
            process.kill()


HELD = """
    channel = _forkserver.connect(child={child!r})
    lives = [spawn(channel, i) for i in range(3)]
    pid = _forkserver.server_pid(child={child!r})
    print(pid, *[life[1] for life in lives], flush=True)
    {then}
"""


def all_gone(pids: list[int]) -> bool:
    """Ended: an orphan may stay a zombie where init does not reap."""
    return eventually(lambda: all(state_of(p) in ("", "Z") for p in pids))


@pytest.mark.parametrize("child", [OBEY, DEAF])
def test_nothing_survives_a_killed_master(child: str) -> None:
    body = HELD.format(child=child, then="sys.stdin.read()")
    with master(body) as (process, pids):
        os.kill(pids[1], signal.SIGSTOP)
        assert eventually(lambda: state_of(pids[1]) == "T")
        process.kill()
        assert all_gone(pids)


def test_stopped_program_is_gone_once_it_continues() -> None:
    body = HELD.format(child=DEAF, then="sys.stdin.read()")
    with master(body) as (process, pids):
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        process.kill()
        os.kill(pids[0], signal.SIGCONT)  # the server alone does the rest
        assert all_gone(pids)


@pytest.mark.parametrize("child", [OBEY, DEAF])
@pytest.mark.parametrize("then", ["pass", "os._exit(0)"])
def test_nothing_survives_an_ended_master(child: str, then: str) -> None:
    with master(HELD.format(child=child, then=then)) as (process, pids):
        assert process.wait(PATIENCE) == 0
        assert all_gone(pids)


def test_ctrl_c_reaches_the_master_only() -> None:
    handled = """
    caught = []
    signal.signal(signal.SIGINT, lambda *_: caught.append(1))
    """
    asked = """
    sys.stdin.readline()
    for link, pid, pidfd in lives:
        link.send(b"exit 6\\n")
    codes = []
    while len(codes) < 3:
        select.select([channel], [], [])
        codes += [report[3] for report in channel.receive()]
    print(caught, codes, flush=True)
    """
    body = handled + HELD.format(child=OBEY, then=asked)
    with master(body, start_new_session=True) as (process, pids):
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "[1] [6, 6, 6]\n"
        assert process.wait(PATIENCE) == 0
        assert all_gone(pids)


def test_ctrl_c_while_the_server_starts_does_not_end_it() -> None:
    done = run_program(
        """
        signal.signal(signal.SIGINT, lambda *_: None)
        channel = _forkserver.connect(child="forkserver_children:obey")
        os.killpg(0, signal.SIGINT)
        spawn(channel)
        print("alive")
        """,
        start_new_session=True,
    )
    assert (done.stdout, done.stderr) == ("alive\n", "")


def test_fork_by_the_user_stops_nothing() -> None:
    done = run_program(
        """
        channel = _forkserver.connect(child="forkserver_children:obey")
        link, pid, pidfd = spawn(channel, 1)
        server = _forkserver.server_pid(child="forkserver_children:obey")
        child = os.fork()
        if child == 0:
            channel.close()
            assert _forkserver.server_pid(
                child="forkserver_children:obey") is None
            other = _forkserver.connect(child="forkserver_children:obey")
            spawn(other)
            mine = _forkserver.server_pid(child="forkserver_children:obey")
            assert mine not in (None, server)
            sys.exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        assert not select.select([pidfd], [], [], 0)[0]
        spawn(channel, 2)
        print("alive")
        """
    )
    assert (done.stdout, done.stderr) == ("alive\n", "")


STARTS = """
    channel = _forkserver.connect(child="forkserver_children:obey")
    link, pid, pidfd = spawn(channel)
    link.close()
    print("alive", flush=True)
"""


@pytest.mark.parametrize(
    "flags",
    [(), ("-I",), ("-E",), ("-s",), ("-B", "-O"), ("-W", "error"),
     ("-X", "dev"), ("-X", "importtime"), ("-X", "utf8"), ("-u",)],
    ids=" ".join,
)  # fmt: skip
def test_starts_under_interpreter_flags(flags: tuple[str, ...]) -> None:
    done = run_program(STARTS, *flags)
    assert done.stdout == "alive\n", done.stderr
    if "importtime" not in flags:
        assert done.stderr == ""


def test_starts_with_closed_standard_streams() -> None:
    body = """
        os.write(int(sys.argv[1]), b"x")
        for fd in 0, 1, 2:
            os.close(fd)
        channel = _forkserver.connect(child="forkserver_children:obey")
        link, pid, pidfd = spawn(channel)
        link.send(b"look\\n")
        import json
        found = json.loads(link.recv(1 << 16))
        same = found["fds"] == found["expected"]
        os.write(int(sys.argv[1]), b"ok" if same else b"no")
        os._exit(0)
    """
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", program(body), str(writer)],
        pass_fds=[writer],
    ) as process:
        os.close(writer)
        with open(reader) as text:
            assert text.read() == "xok"
        assert process.wait(PATIENCE) == 0


def test_starts_where_children_are_reaped_by_the_kernel() -> None:
    done = run_program(
        """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        channel = _forkserver.connect(child="forkserver_children:obey")
        link, pid, pidfd = spawn(channel)
        link.send(b"exit 8\\n")
        select.select([channel], [], [])
        print(channel.receive()[0][3])
        """
    )
    assert (done.stdout, done.stderr) == ("8\n", "")


# pidfd_send_signal is call 424 and pidfd_open 434 on every architecture.
REFUSE_PIDFD = """
    import ctypes, struct
    load, equal, end = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0), (equal, 2, 0, 424), (equal, 1, 0, 434),
            (end, 0, 0, 0x7FFF0000), (end, 0, 0, 0x00050001)]
    text = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(text)
    program = struct.pack("HP", len(code), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, program, 0, 0) == 0  # a seccomp filter
"""


@pytest.mark.parametrize("child", [OBEY, DEAF])
def test_without_pidfd_processes_are_named_by_pid(child: str) -> None:
    check = """
    from pulsar_native import _native
    try:
        _native.pidfd_open(os.getpid())
    except PermissionError:
        assert all(life[2] == -1 for life in lives)
        _native.pidfd_send_signal(-1, lives[0][1], signal.SIGKILL)
        select.select([channel], [], [])
        print(channel.receive()[0][4], flush=True)
    sys.stdin.read()
    """
    body = REFUSE_PIDFD + HELD.format(child=child, then=check)
    with master(body) as (process, pids):
        assert process.stdout is not None
        assert process.stdout.readline() == "9\n"
        process.kill()
        assert all_gone(pids)


def test_users_script_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(program("print('run', flush=True)") + textwrap.dedent(
        STARTS))  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("run\nalive\n", "")


# Preloads


def test_preloaded_modules_are_there() -> None:
    with arbiters(preload=["colorsys"]) as (one,), arbiters() as (other,):
        lives = one.spawn(), other.spawn()
        for life in lives:
            life.order("look")
        modules = [json.loads(read_line(x.link))["modules"] for x in lives]
    assert "colorsys" in modules[0]
    assert "colorsys" not in modules[1]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("preload_thread", "cannot preload 'preload_thread': it leaves 1 thr"),
        ("no_such_module_", "cannot preload 'no_such_module_': ModuleNotFo"),
    ],
)
def test_refused_preload_tells_why(module: str, words: str) -> None:
    with arbiters(preload=["colorsys", module]) as (one,):
        assert readable(one.channel)
        with pytest.raises(EOFError):
            one.take()
    options: Any = {"preload": ["colorsys", module], "child": OBEY}
    assert f"refused to start: {words}" in _forkserver.death_reason(**options)
    with pytest.raises(ForkServerError, match=words):
        _forkserver.connect(**options)


def test_unknown_child_is_refused() -> None:
    with arbiters(child="no_such_module_:main") as (one,):
        assert readable(one.channel)
        with pytest.raises(EOFError):
            one.take()
    with pytest.raises(ForkServerError, match="No module named"):
        _forkserver.connect(child="no_such_module_:main")


# The types and functions


@pytest.mark.parametrize(
    "fds", [(), (0,), (0, 1, 2, 2, -1, 2), (-1, 0, 1, 2), (0, -2, 1, 2),
            (0, 1, 2, 1 << 40)]
)  # fmt: skip
def test_spawn_refuses_other_shapes(arbiter: Arbiter, fds: Any) -> None:
    with pytest.raises(ValueError, match="link, stdin, stdout, stderr"):
        arbiter.channel.spawn(1, fds)


def test_spawn_refuses_other_types(arbiter: Arbiter) -> None:
    channel: Any = arbiter.channel
    for arguments in (), (1,), (1, 2), (1, ("a",) * 4), ("a", (0,) * 4):
        with pytest.raises(TypeError):
            channel.spawn(*arguments)
    with pytest.raises(OverflowError):
        channel.spawn(1 << 64, (0, 0, 0, 0))
    with pytest.raises(OSError, match="Bad file descriptor"):
        channel.spawn(1, (1 << 20, -1, -1, -1))


def test_closed_channel_says_so(arbiter: Arbiter) -> None:
    fd = arbiter.channel.fileno()
    arbiter.channel.close()
    arbiter.channel.close()
    assert arbiter.channel.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    with pytest.raises(EOFError):
        arbiter.channel.receive()
    with pytest.raises(PulsarException, match="closed"):
        arbiter.channel.spawn(1, (0, -1, -1, -1))


def test_dropped_channel_closes_its_descriptor() -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    _native.ForkChannel(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    with pytest.raises(ValueError, match="negative"):
        _native.ForkChannel(-1)


def test_pidfd_functions_name_one_process() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        pidfd = _native.pidfd_open(process.pid)
        assert not os.get_inheritable(pidfd)
        _native.pidfd_send_signal(pidfd, process.pid, 0)
        _native.pidfd_send_signal(-1, process.pid, signal.SIGTERM)
        assert readable(pidfd)
    with pytest.raises(ProcessLookupError):
        _native.pidfd_send_signal(pidfd, process.pid, signal.SIGTERM)
    os.close(pidfd)
    with pytest.raises(OSError) as caught:
        _native.pidfd_open(-1)
    assert caught.value.errno == errno.EINVAL
