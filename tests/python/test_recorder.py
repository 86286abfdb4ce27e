"""The flight recorder: what others read of a process's loops."""

from __future__ import annotations

import asyncio
import gc
import mmap
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from actors_help import PATIENCE, ask, failure, leftovers, run, until
from hangs_commands import spins_here, spins_while

import pulsar_native as pn
from pulsar_native import _native, _recording
from pulsar_native._down import Down
from pulsar_native._native import Recorder
from pulsar_native._recording import Record
from pulsar_native.consts import ACTOR_STATES
from pulsar_native.exceptions import ProtocolError

PROCESSES = ("process", "subprocess")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    check = leftovers()
    yield next(check)
    gc.collect()  # tests hold pages, and exceptions hold tests
    next(check, None)


def recorder_of(child: Any) -> Recorder:
    """That of the process in which it lives."""
    found = _recording.recorder_of(child)
    assert found is not None
    return found


def loop_of(child: Any) -> dict[str, Any]:
    loops = recorder_of(child).loops()
    (found,) = (loop for loop in loops if loop["node"] == child.number)
    return found


def lines(recorder: Recorder, node: int = 0) -> list[tuple[str, str, str]]:
    return [(r.what, r.kind, r.name) for r in _recording.read(recorder, node)]


def _times_two(actor: Any, number: int) -> int:
    return 2 * number


async def _asks(actor: Any, target: Any) -> Any:
    return await pn.send(target, "ping")


@pytest.mark.parametrize("kind", (*PROCESSES, "thread"))
def test_plain_function_that_runs_is_seen(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        child = await pn.spawn(kind=kind)
        recorder = recorder_of(child)
        file = tmp_path / "spin"
        file.touch()
        asked = pn.send(child, spins_while, str(file))
        name, seconds, actor = await until(lambda: recorder.busy(child.number))
        assert name == "spins_while" and actor == child.number
        assert 0 <= seconds < 60
        later = await until(lambda: recorder.busy(child.number))
        assert later[1] > seconds
        assert recorder.awake(child.number) is not None
        file.unlink()
        assert await asked == "spun"
        await until(lambda: recorder.busy(child.number) is None)

    run(main)


@pytest.mark.parametrize("kind", (*PROCESSES, "thread"))
def test_loop_that_sleeps_beats_when_it_is_asked(kind: str) -> None:
    async def main() -> None:
        child = await pn.spawn(kind=kind)
        recorder = recorder_of(child)
        await until(lambda: recorder.awake(child.number) is None, "it sleeps")
        before = recorder.beats(child.number)
        assert before
        assert await ask(child, _times_two, 4) == 8
        after = recorder.beats(child.number)
        assert after is not None and after > before

    run(main)


def test_coroutine_that_waits_is_no_busy_function() -> None:
    async def main() -> None:
        child = await pn.spawn()
        asked = pn.send(child, "run", _waits)
        recorder = recorder_of(child)
        await until(lambda: recorder.awake(child.number) is None, "it sleeps")
        assert recorder.busy(child.number) is None
        asked.cancel()

    run(main)


async def _waits(actor: Any) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", (*PROCESSES, "thread"))
def test_loops_tell_who_they_are(kind: str) -> None:
    async def main() -> None:
        child = await pn.spawn(kind=kind, name="teller")
        assert await ask(child, _times_two, 4) == 8
        await until(lambda: loop_of(child)["state"] == ACTOR_STATES.RUN)
        found = loop_of(child)
        arbiter = pn.arbiter()
        assert found["name"] == "teller" and found["kind"] == kind
        assert found["manager"] == arbiter.number
        assert found["handled"] >= 1
        assert recorder_of(child).pid == child.pid
        own = _recording.own()
        assert own is not None and own.pid == os.getpid()
        mine = [loop["node"] for loop in own.loops()]
        assert arbiter.number in mine

    run(main)


def test_messages_are_recorded_at_both_ends() -> None:
    async def main() -> None:
        child = await pn.spawn()
        assert await pn.send(child, "echo", "four") == "four"
        own = _recording.own()
        assert own is not None
        asked = ("sent", "ask", "echo"), ("received", "reply", "")
        for line in asked:
            assert line in lines(own, child.number)
        answered = ("received", "ask", "echo"), ("sent", "reply", "")
        for line in answered:
            assert line in lines(recorder_of(child))
        found = _recording.read(recorder_of(child))
        (received,) = (
            r for r in found if (r.what, r.name) == answered[0][::2]
        )
        assert received.source == pn.arbiter().number
        assert received.target == child.number
        assert abs(received.when - time.time()) < 60
        assert found == sorted(found, key=lambda r: r.when)
        assert "received ask echo" in str(received)

    run(main)


def test_what_is_relayed_is_recorded() -> None:
    async def main() -> None:
        one, other = await pn.spawn(), await pn.spawn()
        assert await ask(one, _asks, other) == "pong"
        own = _recording.own()
        assert own is not None
        assert ("passed on", "ask", "ping") in lines(own, one.number)

    run(main)


def test_failures_are_recorded_with_their_condition() -> None:
    async def main() -> None:
        child = await pn.spawn()
        error = await failure(pn.send(child, "no_such_command"))
        assert isinstance(error, pn.CommandNotFound)
        sent = ("sent", "error", "unknown-command")
        assert sent in lines(recorder_of(child))

    run(main)


@pytest.mark.parametrize("kind", PROCESSES)
def test_page_of_a_killed_process_is_read_afterwards(kind: str) -> None:
    async def main() -> None:
        child = await pn.spawn(kind=kind)
        recorder = recorder_of(child)
        asked = pn.send(child, spins_here, 60.0)
        await until(lambda: recorder.busy(child.number))
        child.stop(signal.SIGKILL)
        assert isinstance(await failure(asked), pn.ActorDown)
        busy = recorder.busy(child.number)
        assert busy is not None and busy[0] == "spins_here"
        assert ("received", "ask", "spins_here") in lines(recorder)
        states = [
            r.kind for r in _recording.read(recorder) if r.what == "state"
        ]
        assert states == ["starting", "running"]

    run(main)


async def _end_of(child: Any) -> Down:
    end: asyncio.Future[Down] = asyncio.get_running_loop().create_future()
    pn.arbiter().on_end(child.number, end.set_result)
    return await end


@pytest.mark.parametrize("kind", (*PROCESSES, "thread"))
def test_last_records_are_in_the_report(kind: str) -> None:
    async def main() -> None:
        child = await pn.spawn(kind=kind)
        other = await pn.spawn(kind=kind)
        assert await ask(other, _times_two, 4) == 8
        end = asyncio.ensure_future(_end_of(child))
        error = await failure(pn.send(child, "run", _exits, 3))
        assert isinstance(error, pn.ActorDown)
        flight = (await end).flight
        assert 0 < len(flight) <= 32
        assert any(" received ask run " in line for line in flight)
        assert any(line.endswith(" is stopping") for line in flight)
        assert all(str(child.number) in line for line in flight)

    run(main)


def _exits(actor: Any, code: int) -> None:
    raise SystemExit(code)


@pytest.mark.parametrize("kind", PROCESSES)
def test_last_records_of_a_killed_process_are_in_the_report(kind: str) -> None:
    async def main() -> None:
        child = await pn.spawn(kind=kind)
        end = asyncio.ensure_future(_end_of(child))
        asked = pn.send(child, spins_here, 60.0)
        await until(lambda: recorder_of(child).busy(child.number))
        child.kill()
        assert isinstance(await failure(asked), pn.ActorDown)
        last = (await end).flight[-1]
        assert " received ask spins_here " in last

    run(main)


def test_end_that_was_asked_for_has_no_records() -> None:
    async def main() -> None:
        child = await pn.spawn()
        end = asyncio.ensure_future(_end_of(child))
        await pn.send(child, "stop")
        assert (await end).flight == ()

    run(main)


@pytest.mark.parametrize("kind", PROCESSES)
def test_crash_tells_where_in_the_report(kind: str) -> None:
    async def main() -> None:
        child = await pn.spawn(kind=kind)
        end = asyncio.ensure_future(_end_of(child))
        assert isinstance(await failure(ask(child, _crashes)), pn.ActorDown)
        found = await end
        assert found.signal == signal.SIGSEGV
        assert found.traceback.startswith("Fatal Python error")
        assert "_crashes" in found.traceback

    run(main)


def _crashes(actor: Any) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.raise_signal(signal.SIGSEGV)


def test_loop_is_given_back_at_its_end() -> None:
    async def main() -> None:
        own = _recording.own()
        child = await pn.spawn(kind="thread")
        assert own is not None and own.beats(child.number) is not None
        await pn.send(child, "stop")
        await child.join()
        await until(lambda: own.beats(child.number) is None)

    run(main)
    gc.collect()
    assert _recording._own is None or _recording._own() is None


def test_actors_live_without_recorders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(fd: int = -1) -> Recorder:
        raise PermissionError(1, "refused")

    monkeypatch.setattr(_recording, "Recorder", refused)

    async def main() -> None:
        for kind in (*PROCESSES, "thread"):
            child = await pn.spawn(kind=kind)
            assert await ask(child, _times_two, 4) == 8
            assert getattr(child.carrier, "recorder", None) is None

    run(main)


def test_child_forked_by_others_leaves_the_page_alone() -> None:
    async def main() -> None:
        child = await pn.spawn()
        own = _recording.own()
        assert own is not None
        arbiter = pn.arbiter()
        before = own.records()[-1][0]
        pid = os.fork()
        if not pid:
            try:
                arbiter.state = ACTOR_STATES.CLOSE
                arbiter.mailbox.close()
                fine = _recording.own() is not own
            finally:
                os._exit(0 if fine else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert own.records()[-1][0] == before
        assert own.beats(arbiter.number) is not None
        assert own.pid == os.getpid()
        assert await ask(child, _times_two, 4) == 8

    run(main)


def test_sixty_five_loops_are_one_too_many_and_that_is_all() -> None:
    recorder = Recorder()
    recorder.own()
    port = _Port()
    boxes = [_native.Mailbox(n, None, port) for n in range(1, 66)]
    for box in boxes:
        box.record(recorder, 0, "k", "n" * 100)
        box.note_state(3)
    assert len(recorder.loops()) == 64
    assert recorder.beats(65) is None
    assert len(recorder.records()) == 65
    boxes[0].close()
    assert recorder.beats(1) is None and recorder.beats(2) == 0


class _Port:
    """Names what a mailbox calls, which nothing here does."""

    names: dict[str, int] = {}  # noqa: RUF012
    table: dict[str, Any] = {}  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        return None


def test_whatever_a_process_has_written_is_read_without_harm() -> None:
    seed = int(os.environ.get("PN_SEED", time.time_ns() % (1 << 32)))
    print(f"PN_SEED={seed}")
    chance = random.Random(seed)
    for bits in (8, 2, 1) * 5:
        recorder = Recorder()
        size = os.fstat(recorder.fileno()).st_size
        noise = chance.randbytes(size)
        words = (noise[i : i + 8] for i in range(0, size, 8))
        noise = b"".join(
            word if chance.random() < bits / 8 else bytes(8) for word in words
        )
        os.pwrite(recorder.fileno(), noise[64:], 64)
        recorder.records()
        for loop in recorder.loops():
            assert loop["busy"] is None or loop["busy"][1] >= 0
            recorder.busy(loop["node"])
        for line in _recording.read(recorder):
            assert str(line)


# Where the page counts its records.
_COUNT = slice(64, 72)

_LIAR = """
import mmap, sys
page = mmap.mmap(int(sys.argv[1]), mmap.PAGESIZE)
while True:
    for count in (0, 2**62):
        page[64:72] = count.to_bytes(8, "little")
"""


def test_a_count_of_records_that_jumps_holds_no_reader_up() -> None:
    recorder = Recorder()
    fd = recorder.fileno()
    liar = subprocess.Popen(
        [sys.executable, "-c", _LIAR, str(fd)], pass_fds=[fd]
    )
    try:
        with mmap.mmap(fd, mmap.PAGESIZE) as page:
            end = time.monotonic() + PATIENCE
            while page[_COUNT] == bytes(8) and time.monotonic() < end:
                time.sleep(0.001)
            assert liar.poll() is None
        for _ in range(1000):
            assert recorder.records() == []
    finally:
        liar.kill()
        liar.wait()


def test_other_files_are_refused() -> None:
    ends = os.pipe()
    file = os.memfd_create("other")
    try:
        for fd in (*ends, file):
            with pytest.raises(ProtocolError):
                Recorder(fd)
        with pytest.raises(TypeError):
            Recorder("x")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            _native.Mailbox(1, None, _Port()).record(
                object(),  # type: ignore[arg-type]
                0,
                "",
                "",
            )
    finally:
        for fd in (*ends, file):
            os.close(fd)


def test_stacks_are_read_from_where_they_were_read_before() -> None:
    recorder = Recorder()
    path = f"/proc/self/fd/{recorder.fileno()}"
    with open(path, "ab", buffering=0) as file:
        file.write(b"first")
        assert recorder.stacks() == b"first"
        size = recorder.stacks_size()
        file.write(b"second")
        assert recorder.stacks(size) == b"second"
        recorder.drop_stacks()
        assert recorder.stacks_size() == 11
        assert recorder.stacks(11) == b""
        assert recorder.stacks(100) == b""
        assert recorder.stacks(2**63 - 1) == b""
        with pytest.raises(ValueError):
            recorder.stacks(-1)


def test_a_record_is_a_line() -> None:
    line = Record(0.25, "state", "running", 7, 0, 3, 0, "")
    assert str(line).endswith(".250000 7 is running")
