"""run, stop, close; threads, signals, forks; what asyncio's classes do."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref
from typing import Any

import pytest

import pulsar_native as pn


def program(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def check(code: str) -> str:
    done = program(code)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- ways to run it ---


async def which_loop() -> asyncio.AbstractEventLoop:
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


def test_run_runs_on_it_and_closes_it() -> None:
    loop = pn.run(which_loop())
    assert type(loop) is pn.Loop
    assert isinstance(loop, asyncio.SelectorEventLoop)
    assert loop.is_closed()
    assert pn.run(which_loop(), debug=True).get_debug()


def test_runner_takes_it_as_a_factory() -> None:
    with asyncio.Runner(loop_factory=pn.new_event_loop) as runner:
        assert type(runner.run(which_loop())) is pn.Loop


def test_policy_makes_all_loops() -> None:
    check("""
        import asyncio, pulsar_native as pn
        asyncio.set_event_loop_policy(pn.EventLoopPolicy())
        async def main():
            return asyncio.get_running_loop()
        assert type(asyncio.run(main())) is pn.Loop
        assert type(asyncio.new_event_loop()) is pn.Loop
        """)


def test_run_in_a_running_loop_is_refused() -> None:
    async def main() -> None:
        coroutine = which_loop()
        with pytest.raises(RuntimeError, match="running event loop"):
            pn.run(coroutine)
        coroutine.close()

    pn.run(main())


def test_loop_runs_once_at_a_time(loop: pn.Loop) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_forever()
        assert loop.is_running()
        other = pn.new_event_loop()
        with pytest.raises(RuntimeError, match="another loop is running"):
            other.run_forever()
        assert not other.is_running()
        other.close()
        with pytest.raises(RuntimeError, match="Cannot close a running"):
            loop.close()

    loop.run_until_complete(main())


def test_stop_before_the_run_makes_one_turn_with_a_look(
    loop: pn.Loop,
) -> None:
    a, b = socket.socketpair()
    seen: list[str] = []
    loop.add_reader(a, seen.append, "read")
    loop.call_soon(seen.append, "soon")
    b.send(b"x")
    loop.stop()
    loop.run_forever()
    assert seen == ["soon", "read"]
    loop.remove_reader(a)
    a.close()
    b.close()


def test_overridden_turn_is_used() -> None:
    class Counting(pn.Loop):
        turns = 0

        def _run_once(self) -> None:
            self.turns += 1
            super()._run_once()

    loop = Counting()
    loop.run_until_complete(asyncio.sleep(0))
    assert loop.turns >= 2
    loop.close()


def test_async_generators_are_closed(loop: pn.Loop) -> None:
    closed: list[int] = []

    async def generator() -> Any:
        try:
            yield 1
        finally:
            closed.append(1)

    async def main() -> None:
        async for _ in generator():
            break
        kept.append(generator())
        await anext(kept[0])

    kept: list[Any] = []
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert closed == [1, 1]


def test_unclosed_loop_warns_and_frees_its_descriptors() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        loop = pn.new_event_loop()
        loop.call_soon(print)
        loop.call_later(5, print)
        del loop
        gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_closed_loop_is_freed_at_once_and_lets_go() -> None:
    class Held:
        def call(self) -> None:
            pass

    held = Held()
    gone = weakref.ref(held)
    loop = pn.new_event_loop()
    a, b = socket.socketpair()
    loop.add_reader(a, held.call)
    loop.call_soon(held.call)
    loop.call_later(5, held.call)
    loop.close()
    del held
    assert gone() is None
    ended = weakref.ref(loop)
    del loop
    gc.collect()
    assert ended() is None
    a.close()
    b.close()


def test_handle_that_refers_to_itself_is_collected(loop: pn.Loop) -> None:
    class Held:
        handle: Any

        def call(self) -> None:
            pass

    for make in (loop.call_soon, functools.partial(loop.call_later, 0)):
        held = Held()
        gone = weakref.ref(held)
        held.handle = make(held.call)
        loop.run_until_complete(asyncio.sleep(0))
        del held
        gc.collect()
        assert gone() is None


# --- threads ---


def test_calls_of_other_threads_wake_it(loop: pn.Loop) -> None:
    async def main() -> None:
        for _ in range(300):
            future = loop.create_future()
            thread = threading.Thread(
                target=loop.call_soon_threadsafe,
                args=(future.set_result, None),
            )
            thread.start()
            await asyncio.wait_for(future, 20)
            thread.join()

    loop.run_until_complete(main())


def test_no_call_of_another_thread_is_lost(loop: pn.Loop) -> None:
    threads, each = 4, 3000
    seen = [0] * threads

    def called(i: int, n: int) -> None:
        assert seen[i] == n  # in order
        seen[i] += 1
        if sum(seen) == threads * each:
            loop.stop()

    def work(i: int) -> None:
        for n in range(each):
            loop.call_soon_threadsafe(called, i, n)

    started = [
        threading.Thread(target=work, args=(i,)) for i in range(threads)
    ]
    for thread in started:
        thread.start()
    loop.run_forever()
    for thread in started:
        thread.join()
    assert seen == [each] * threads


def test_loops_of_threads_do_not_meet() -> None:
    results: list[int] = []

    async def main(n: int) -> None:
        for _ in range(50):
            await asyncio.sleep(0.0005)
        results.append(n)

    threads = [
        threading.Thread(target=lambda n=n: pn.run(main(n))) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 1, 2, 3]


# --- signals ---


def test_ctrl_c_is_a_keyboard_interrupt() -> None:
    done = program("""
        import os, signal, threading, pulsar_native as pn
        loop = pn.new_event_loop()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            print("interrupted", loop.is_running())
        loop.close()
        """)
    assert done.stdout == "interrupted False\n", done.stderr


def test_ctrl_c_cancels_main_of_run() -> None:
    done = program("""
        import asyncio, os, signal, threading, pulsar_native as pn
        async def main():
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                print("cancelled")
                raise
        try:
            pn.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """)
    assert done.stdout == "cancelled\ninterrupted\n", done.stderr


def test_ctrl_c_ends_a_loop_that_never_rests() -> None:
    done = program("""
        import os, signal, threading, pulsar_native as pn
        loop = pn.new_event_loop()
        again = lambda: loop.call_soon(again)
        loop.call_soon(again)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            print("interrupted")
        """)
    assert done.stdout == "interrupted\n", done.stderr


def test_signal_handlers_run_and_the_wakeup_fd_found_is_served() -> None:
    check("""
        import asyncio, os, signal, socket, pulsar_native as pn
        mine, theirs = socket.socketpair()
        mine.setblocking(False); theirs.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno())
        async def main():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGUSR2):
                came = asyncio.Event()
                loop.add_signal_handler(number, came.set)
                os.kill(os.getpid(), number)
                await asyncio.wait_for(came.wait(), 20)
                assert mine.recv(10) == bytes([number])
            for number in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGUSR2):
                assert loop.remove_signal_handler(number)
            assert not loop.remove_signal_handler(signal.SIGUSR1)
        pn.run(main())
        assert signal.set_wakeup_fd(-1) == theirs.fileno()
        """)


def test_python_signal_handler_runs_while_it_sleeps() -> None:
    check("""
        import asyncio, os, signal, threading, pulsar_native as pn
        async def main():
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            signal.signal(signal.SIGUSR1, lambda *_: loop.call_soon(
                future.set_result, 1))
            me = os.getpid()
            threading.Timer(0.1, os.kill, (me, signal.SIGUSR1)).start()
            assert await asyncio.wait_for(future, 20) == 1
        pn.run(main())
        """)


def test_sigchld_stays_the_programs() -> None:
    check("""
        import asyncio, signal, pulsar_native as pn
        before = signal.getsignal(signal.SIGCHLD)
        async def main():
            child = await asyncio.create_subprocess_exec("true")
            assert await child.wait() == 0
            assert signal.getsignal(signal.SIGCHLD) is before
        pn.run(main())
        """)


def test_signal_handler_off_the_main_thread_is_refused() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(RuntimeError):
            loop.add_signal_handler(signal.SIGUSR1, print)

    errors: list[BaseException] = []

    def work() -> None:
        try:
            pn.run(main())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors


# --- forks ---


def test_forked_child_cannot_use_its_parents_loop() -> None:
    out = check("""
        import asyncio, os, socket, sys, warnings, pulsar_native as pn
        warnings.simplefilter("ignore")
        loop = pn.new_event_loop()
        a, b = socket.socketpair()
        loop.add_reader(a, print)
        loop.call_soon_threadsafe(print, "parent")
        async def main():
            await asyncio.to_thread(print, "thread", flush=True)
            pid = os.fork()
            if pid:
                return pid
            try:
                await asyncio.sleep(0)
            finally:
                os._exit(9)
        pid = os.fork()
        if pid == 0:
            for use in (loop.run_forever, lambda: loop.add_reader(b, print)):
                try:
                    use()
                except RuntimeError as error:
                    print("forked" if "forked" in str(error) else error)
            loop.remove_reader(a)
            loop.close()
            pn.run(asyncio.sleep(0))
            sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        seen = []
        loop.add_reader(a, lambda: seen.append(a.recv(9)))
        b.send(b"x")
        loop.run_until_complete(asyncio.sleep(0.01))
        assert seen == [b"x"], seen
        loop.close()
        """)
    assert out.splitlines() == ["forked", "forked", "parent"]


def test_child_forked_inside_the_loop_stops_at_the_next_turn() -> None:
    check("""
        import asyncio, os, warnings, pulsar_native as pn
        warnings.simplefilter("ignore")
        async def main():
            await asyncio.to_thread(int)
            pid = os.fork()
            await asyncio.sleep(0)
            return pid
        try:
            pid = pn.run(main())
        except RuntimeError as error:
            os._exit(7 if "forked" in str(error) else 8)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        """)


# --- spinning ---


def test_spin_is_set_by_the_environment_and_by_attribute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for text, low, high in (("0", 0, 0), ("x", 0, 1e-4), ("1e9", 0, 0.01)):
        monkeypatch.setenv("PULSAR_NATIVE_SPIN_US", text)
        loop = pn.new_event_loop()
        assert low <= loop.spin <= high
        loop.spin = 0.001
        assert loop.spin == 0.001
        loop.run_until_complete(asyncio.sleep(0.002))
        with pytest.raises(ValueError):
            loop.spin = 1.0
        assert loop.spin == 0.001
        loop.close()


# --- what stands on it ---


def test_streams_subprocesses_and_datagrams_work() -> None:
    async def main() -> None:
        async def answer(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            writer.write(await reader.readexactly(100_000))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname()
        )
        writer.write(bytes(100_000))
        assert await reader.read() == bytes(100_000)
        writer.close()
        server.close()
        child = await asyncio.create_subprocess_exec(
            "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert (await child.communicate(b"x" * 70_000))[0] == b"x" * 70_000
        assert await asyncio.to_thread(os.getpid) == os.getpid()

    pn.run(main())
    pn.run(main(), debug=True)


def test_actors_work_on_it() -> None:
    check("""
        import pulsar_native as pn
        async def main():
            worker = await pn.spawn(kind="thread")
            assert await pn.send(worker, "ping") == "pong"
            child = await pn.spawn()
            assert await pn.send(child, "ping") == "pong"
            await pn.shutdown()
        pn.run(main())
        """)


def test_programs_run_alike_on_it_and_on_the_stock_loop() -> None:
    """A random mixture of calls, timers, futures and tasks."""

    def trace(factory: Any, seed: int) -> list[Any]:
        import random

        source = random.Random(seed)
        seen: list[Any] = []
        loop = factory()

        async def task(n: int, depth: int) -> None:
            for i in range(source.randrange(4)):
                what = source.randrange(4)
                if what == 0:
                    await asyncio.sleep(0)
                elif what == 1 and depth < 3:
                    await asyncio.create_task(task(n * 10 + i, depth + 1))
                elif what == 2:
                    future = loop.create_future()
                    loop.call_soon(future.set_result, i)
                    await future
                elif source.random() < 0.5:
                    loop.call_soon(seen.append, ("soon", n, i))
                else:
                    handle = loop.call_soon(seen.append, ("no", n, i))
                    loop.call_soon(handle.cancel)
                seen.append((n, i))

        async def main() -> None:
            await asyncio.gather(*(task(n, 0) for n in range(1, 8)))

        loop.run_until_complete(main())
        loop.close()
        return seen

    for seed in range(30):
        assert trace(pn.new_event_loop, seed) == trace(
            asyncio.SelectorEventLoop, seed
        )


def test_warnings_are_none_in_ordinary_use() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pn.run(which_loop())
        gc.collect()
