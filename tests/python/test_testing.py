"""The pytest plugin and its leak check, in pytest runs of their own."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import TypeAlias

import pytest

import pulsar_native as pn
from pulsar_native import _forkserver, _leftovers, testing

pytest_plugins = ["pytester"]

Run: TypeAlias = Callable[..., pytest.RunResult]

SLOW = 4 if os.environ.get("PN_SANITIZED") else 1
TIMEOUT = 60.0 * SLOW  # seconds for one inner run, on a machine that is busy
AMPLE = 10.0 * SLOW  # seconds of grace where nothing is left

HEAD = """
import asyncio, os, signal, socket, subprocess, sys, threading
import pytest
import pulsar_native as pn

kept = []

@pn.command()
def add(request, a, b):
    return a + b

def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

async def ask(actors):
    worker = await actors.spawn(name="adder")
    return await pn.send(worker, "add", 1, 2)
"""

CLEAN = """
def test_next(actors):
    assert actors.run(ask(actors)) == 3
"""


def needs(module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run the source of a test module; short grace where asked for."""

    def run(
        source: str,
        *options: str,
        head: str = HEAD,
        grace: float | str | None = None,
    ) -> pytest.RunResult:
        pytester.makepyfile(head + textwrap.dedent(source))
        if grace is not None:
            options += ("-o", f"pulsar_native_timeout={grace}")
        # Each plugin only where a test is about it.
        alone = [
            option
            for name in ("anyio", "asyncio", "xdist", "cov")
            if not any(name in text for text in options)
            for option in ("-p", f"no:{name}")
        ]
        return pytester.runpytest_subprocess(
            *("-p", "no:cacheprovider"), *alone, *options, timeout=TIMEOUT
        )

    return run


# --- pytest alone ---


def test_what_cleans_up_passes(run: Run) -> None:
    run(
        """
        def test_result(actors):
            assert actors.run(ask(actors)) == 3
            (worker,) = actors.spawned
            assert worker.name == "adder" and not exists(worker.pid)

        def test_nothing_at_all(actors):
            assert actors.spawned == []

        def test_loops_of_its_own(actors):
            for factory in (asyncio.SelectorEventLoop, None):
                main = ask(actors)
                assert actors.run(main, loop_factory=factory) == 3

        def test_stopped_by_itself(actors):
            async def main():
                worker = await actors.spawn()
                worker.stop()
                await worker.join()
            actors.run(main())

        def test_failed_spawn(actors):
            def start(actor):
                raise ValueError("not today")
            async def main():
                with pytest.raises(pn.ActorStartError):
                    await actors.spawn(start=start)
            actors.run(main())

        def test_children_that_were_waited_for(actors):
            subprocess.run([sys.executable, "-c", ""], check=True)

        def test_what_multiprocessing_keeps(actors):
            import multiprocessing
            for method in ("spawn", "forkserver"):
                context = multiprocessing.get_context(method)
                with context.Pool(1) as pool:
                    assert pool.apply(abs, (-1,)) == 1
                pool.join()

        def test_descriptors_in_garbage(actors):
            class Node: pass
            node = Node()
            node.me, node.file = node, open(os.devnull)

        def test_servers_with_preloads(actors):
            async def main():
                await actors.spawn(preload=["colorsys"])
            actors.run(main())

        @pytest.mark.filterwarnings("ignore")
        def test_dead_fork_servers(actors):
            from pulsar_native import _forkserver
            async def main():
                worker = await actors.spawn()
                os.kill(_forkserver.server_pid(), signal.SIGKILL)
                await worker.join()
            actors.run(main())
        """
        + CLEAN.replace("\n", "\n        "),
        grace=AMPLE,
    ).assert_outcomes(passed=11)


def test_left_actor_is_named_and_killed(run: Run) -> None:
    result = run(
        """
        def test_leaves(actors):
            async def main():
                return await pn.spawn(name="lost", aid="lost-aid")
            loop = asyncio.new_event_loop()
            worker = loop.run_until_complete(main())
            kept.extend((loop, worker.pid))
            print(f"<{worker.pid}>")
            assert exists(worker.pid)

        def test_is_gone(actors):
            loop, pid = kept
            assert not exists(pid)
            assert actors.run(ask(actors)) == 3
        """,
        "-rP",
        grace=0.2,
    )
    result.assert_outcomes(passed=2, errors=1)
    text = result.stdout.str()
    pid = text.partition("\n<")[2].partition(">")[0]
    assert f"actor 'lost' (aid lost-aid, pid {pid})" in text
    result.stdout.fnmatch_lines(
        [
            "*test_leaves left behind, after a grace of 0.2 s:",
            "*arbiter of <*running=False*> with its actors lost(lost-aid)",
        ]
    )


def test_left_zombie_is_named_and_reaped(run: Run) -> None:
    result = run(
        """
        def test_leaves(actors):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            kept.append(pid)
            print(f"<{pid}>")

        def test_is_gone(actors):
            assert not exists(kept[0])
        """
        + CLEAN.replace("\n", "\n        "),
        "-rP",
        grace=0.2,
    )
    result.assert_outcomes(passed=3, errors=1)
    pid = result.stdout.str().partition("\n<")[2].partition(">")[0]
    result.stdout.fnmatch_lines([f"*child '*' (pid {pid})"])


def test_left_child_is_named_and_killed(run: Run) -> None:
    result = run(
        """
        def test_leaves(actors):
            kept.append(subprocess.Popen(["sleep", "600"]))

        def test_is_gone(actors):
            assert not exists(kept[0].pid)
        """,
        grace=0.2,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["  child 'sleep' (pid *)"])


def test_left_descriptor_is_named(run: Run) -> None:
    result = run(
        """
        def test_leaves(actors):
            kept.append(open("/dev/zero"))
            print(f"<{kept[0].fileno()}>")
        """
        + CLEAN.replace("\n", "\n        "),
        "-rP",
        grace=0.2,
    )
    result.assert_outcomes(passed=2, errors=1)
    number = result.stdout.str().partition("\n<")[2].partition(">")[0]
    result.stdout.fnmatch_lines([f"  descriptor {number} -> /dev/zero"])


def test_actor_that_does_not_stop_in_time_is_left(run: Run) -> None:
    result = run(
        """
        def test_leaves(actors):
            async def stopping(actor):
                await asyncio.sleep(600)
            async def main():
                await actors.spawn(name="slow", stopping=stopping)
            loop = asyncio.new_event_loop()
            try:
                loop.run_until_complete(main())
            finally:
                kept.append(loop)
        """
        + CLEAN.replace("\n", "\n        "),
        grace=0.3,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["  actor 'slow' (aid *, pid *)"])


def test_open_descriptor_of_a_failed_test_is_no_second_failure(
    run: Run,
) -> None:
    result = run(
        """
        def test_fails(actors):
            file = open(os.devnull)
            assert False
        """
        + CLEAN.replace("\n", "\n        "),
        grace=0.2,
    )
    result.assert_outcomes(passed=1, failed=1)


def test_fixture_has_options_and_accepts(run: Run) -> None:
    result = run(
        """
        def test_library_keeps_something(actors):
            kept.append(open(os.devnull))
            actors.accept()

        def test_grace_of_one_test(actors):
            actors.timeout = 0.125
            kept.append(open(os.devnull))
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*grace of 0.125 s:"])


def test_loops_that_outlive_the_test_lose_only_its_actors(run: Run) -> None:
    run(
        """
        @pytest.fixture(scope="module")
        def loop():
            with asyncio.Runner() as runner:
                yield runner.get_loop()

        @pytest.fixture(scope="module")
        def elder(loop):
            async def main():
                return await pn.spawn(name="elder")
            return loop.run_until_complete(main())

        def test_idle(loop, actors):
            assert loop.run_until_complete(ask(actors)) == 3
            kept.append(actors.spawned[0].pid)

        def test_beside_others(elder, loop, actors):
            assert not exists(kept[0])
            assert loop.run_until_complete(ask(actors)) == 3
            kept.append(actors.spawned[0].pid)

        def test_others_live(elder, loop, actors):
            assert not exists(kept[1])
            async def main():
                return await pn.send(elder, "add", 1, 2)
            assert loop.run_until_complete(main()) == 3

        @pytest.fixture(scope="module")
        def elsewhere():
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            yield loop
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

        def test_in_another_thread(elsewhere, actors):
            done = asyncio.run_coroutine_threadsafe(ask(actors), elsewhere)
            assert done.result(20) == 3
            kept.append(actors.spawned[0].pid)

        def test_is_gone_there(elsewhere, actors):
            assert not exists(kept[2])
        """,
        grace=AMPLE,
    ).assert_outcomes(passed=5)


def test_grace_must_be_a_number(run: Run) -> None:
    result = run(CLEAN, grace="soon")
    assert result.ret != 0
    result.stdout.fnmatch_lines(
        ["*pulsar_native_timeout is a number of seconds, not 'soon'*"]
    )


def test_plugin_can_be_switched_off(run: Run) -> None:
    result = run(CLEAN, "-p", "no:pulsar_native")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'actors' not found*"])


def test_package_is_imported_only_for_the_fixture(run: Run) -> None:
    run(
        """
        import sys

        def test_without():
            assert "pulsar_native_pytest" in sys.modules
            assert "pulsar_native" not in sys.modules

        def test_with(actors):
            assert "pulsar_native" in sys.modules
        """,
        head="",
    ).assert_outcomes(passed=2)


# --- beside other plugins ---

ASYNC = """
{marks}
async def test_asks(actors{more}):
    assert await ask(actors) == 3
    kept.append(actors.spawned[0].pid)
    loop = asyncio.get_running_loop()
    assert type(loop).__module__.startswith({loop!r})

{marks}
async def test_asks_again(actors{more}):
    assert not exists(kept[0])
    assert await ask(actors) == 3

{marks}
async def test_leaves(actors{more}):
    kept.append(open("/dev/zero"))
"""

POLICY = """
import uvloop
@pytest.fixture
def event_loop_policy():
    return uvloop.EventLoopPolicy()
"""

BACKEND = """
@pytest.fixture
def anyio_backend():
    return "asyncio", {{"use_uvloop": {uvloop}}}
"""


def check_async(result: pytest.RunResult) -> None:
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(
        ["*test_leaves left behind*", "  descriptor * -> /dev/zero"]
    )
    # Told twice where CI is set: pytest's summary is not cut short there.
    named = {n for n in result.outlines if n.startswith("  descriptor ")}
    assert len(named) == 1


@needs("pytest_asyncio")
@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_pytest_asyncio(run: Run, mode: str) -> None:
    marks = "@pytest.mark.asyncio" if mode == "strict" else ""
    source = ASYNC.format(marks=marks, loop="asyncio", more="")
    check_async(run(source + CLEAN, f"--asyncio-mode={mode}", grace=1))


@needs("pytest_asyncio")
@needs("uvloop")
def test_pytest_asyncio_on_uvloop(run: Run) -> None:
    source = POLICY + ASYNC.format(marks="", loop="uvloop", more="")
    check_async(run(source + CLEAN, "--asyncio-mode=auto", grace=1))


@needs("pytest_asyncio")
def test_pytest_asyncio_with_one_loop_for_a_module(run: Run) -> None:
    marks = '@pytest.mark.asyncio(loop_scope="module")'
    source = ASYNC.format(marks=marks, loop="asyncio", more="")
    check_async(run(source + CLEAN, "--asyncio-mode=strict", grace=2 * SLOW))


@needs("anyio")
@pytest.mark.parametrize(
    "loop", ["asyncio", pytest.param("uvloop", marks=needs("uvloop"))]
)
def test_anyio(run: Run, loop: str) -> None:
    source = BACKEND.format(uvloop=loop == "uvloop") + ASYNC.format(
        marks="@pytest.mark.anyio", loop=loop, more=", anyio_backend"
    )
    if loop == "uvloop":
        source = "import uvloop\n" + source
    check_async(run(source + CLEAN, "-p", "anyio", grace=1))


@needs("uvloop")
def test_uvloop_alone(run: Run) -> None:
    run(
        """
        import uvloop

        def test_asks(actors):
            main = ask(actors)
            assert actors.run(main, loop_factory=uvloop.new_event_loop) == 3
        """
    ).assert_outcomes(passed=1)


@needs("xdist")
def test_workers_of_xdist_watch_themselves(run: Run) -> None:
    result = run(
        """
        @pytest.mark.parametrize("number", range(4))
        def test_asks(actors, number):
            assert actors.run(ask(actors)) == 3

        def test_leaves(actors):
            kept.append(open("/dev/zero"))
        """,
        *("-p", "xdist", "-n", "2"),
        grace=1,
    )
    result.assert_outcomes(passed=5, errors=1)
    result.stdout.fnmatch_lines(["  descriptor * -> /dev/zero"])


# --- without the fixture ---


def zombie() -> int:
    """A child that ends at once and that nobody waits for."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return pid


def test_no_leftovers_raises_what_is_left() -> None:
    with (
        pytest.raises(testing.LeftBehind, match="child") as caught,
        testing.no_leftovers(timeout=0.1),
    ):
        pid = zombie()
    (left,) = caught.value.left
    assert left.kind == "child" and str(pid) in left.text
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_leftovers_adds_a_note_to_what_the_body_raises() -> None:
    with (
        pytest.raises(ValueError, match="mine") as caught,
        testing.no_leftovers(timeout=0.1),
    ):
        zombie()
        raise ValueError("mine")
    (note,) = caught.value.__notes__
    assert "child" in note


def test_no_leftovers_is_silent_after_asyncio_run() -> None:
    async def main() -> None:
        await pn.spawn()

    with testing.no_leftovers():
        asyncio.run(main())


def test_leftovers_waits_for_what_is_about_to_go() -> None:
    before = testing.Snapshot()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        (left,) = before.leftovers(timeout=0)
        assert left.text.startswith("zombie child")
    assert before.leftovers(timeout=0) == []


def test_same_number_with_another_target_is_new() -> None:
    file = os.open(os.devnull, os.O_RDONLY)
    try:
        before = testing.Snapshot()
        os.close(file)
        assert os.open("/dev/zero", os.O_RDONLY) == file
        (left,) = before.leftovers(timeout=0)
        assert left.text == f"descriptor {file} -> /dev/zero"
    finally:
        os.close(file)


def test_later_owner_of_a_pid_is_not_killed() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
    )
    with child:
        found = _leftovers.Process.of(child.pid)
        assert found is not None
        _leftovers.Process(child.pid, found.start - 1).kill()
        assert found.exists() and child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert not found.exists()


def test_search_finds_the_children_that_the_kernel_lists() -> None:
    _forkserver.connect().close()
    gc.collect()
    here = os.getpid()
    found = _leftovers._children_by_search(here)
    assert _forkserver.server_pid() in found
    assert found == _leftovers._children(here)


def test_name_of_a_process_may_hold_brackets() -> None:
    code = "open('/proc/self/comm', 'w').write(') Z 1 (x'); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE
    )
    with child:
        while True:
            stat = _leftovers._stat(child.pid)
            assert stat is not None and child.poll() is None
            if stat.name == ") Z 1 (x":
                break
        assert stat.parent == os.getpid() and stat.state != "Z"
        child.kill()
