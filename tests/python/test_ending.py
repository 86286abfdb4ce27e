"""A process actor ends as an interpreter does, though it takes less time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import ending_things as things
import pytest
from actors_help import Program, ask, failure, run

import pulsar_native as pn
from pulsar_native import _ending

pytestmark = pytest.mark.usefixtures("nothing_left")

KEPT = ("global", "list", "extra", "cycle", "atexit", "finalize")


@pytest.mark.parametrize("reserve", [0, 1])
def test_what_the_program_has_brought_ends(
    tmp_path: Path, reserve: int
) -> None:
    async def main() -> None:
        worker = await pn.spawn(reserve=reserve)
        await ask(worker, things.keep_open, tmp_path)
        assert not (tmp_path / "extra").exists()
        await pn.send(worker, "stop")
        await worker.join()

    run(main)
    for name in KEPT:
        assert json.loads((tmp_path / name).read_text()) == "ended", name
    assert (tmp_path / "file").read_text() == "not flushed yet"
    assert (tmp_path / "other").read_text() == "not flushed"


@pytest.mark.parametrize("hold", [things.keep_thread, things.print_late])
@pytest.mark.parametrize("code", [0, 9])
def test_exit_codes_are_kept(hold: Callable[..., None], code: int) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, hold)
        error = await failure(ask(worker, things.end, code))
        assert isinstance(error, pn.ActorDown)
        await worker.join()
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown)
        assert (error.exit_code, error.signal) == (code, None)

    run(main)


def test_threads_are_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "worked"

    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, things.keep_working, path)
        await pn.send(worker, "stop")
        await worker.join()

    run(main)
    assert json.loads(path.read_text()) == "ended"


PROGRAM = """
import asyncio, os, sys
import pulsar_native as pn

class Last:
    def __del__(self):
        print("ended in", os.path.basename(os.getcwd()), flush=True)

kept = None

def keep(actor):
    global kept
    kept = Last()

async def main():
    worker = await pn.spawn()
    await pn.send(worker, "run", keep)
    await pn.send(worker, "stop")
    await worker.join()

asyncio.run(main())
"""


def test_objects_of_the_script_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    with Program(str(script)) as program:
        code, out, err = program.result()
    assert (code, out, err) == (0, f"ended in {tmp_path.name}\n", "")


def test_late_words_are_written(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    folder = str(Path(__file__).parent)
    script.write_text(
        f"import asyncio, sys; sys.path.insert(0, {folder!r})\n"
        "import ending_things as things\n"
        "import pulsar_native as pn\n"
        "async def main():\n"
        "    worker = await pn.spawn()\n"
        "    await pn.send(worker, 'run', things.print_late)\n"
        "asyncio.run(main())\n"
    )
    with Program(str(script)) as program:
        assert program.result() == (0, "late words", "late errors")


def test_a_failing_exit_handler_is_told(tmp_path: Path) -> None:
    def register(actor: Any) -> None:
        import atexit

        atexit.register(lambda: 1 // 0)

    async def main() -> str:
        worker = await pn.spawn()
        await ask(worker, register)
        await pn.send(worker, "stop")
        await worker.join()
        assert worker.carrier is not None
        return worker.carrier.output()

    assert "ZeroDivisionError" in run(main)


def call_at_exit(actor: Any, words: bytes) -> None:
    """Have the C library say that, last of all."""
    import ctypes

    library = ctypes.CDLL(None)
    library.strdup.restype = ctypes.c_void_p
    kept = ctypes.c_void_p(library.strdup(words))
    assert library.__cxa_atexit(library.puts, kept, None) == 0


def test_libraries_of_the_program_hear_of_the_end(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, call_at_exit, b"the library ends")
        await pn.send(worker, "stop")
        await worker.join()

    run(main)
    assert capfd.readouterr().out == "the library ends\n"


@pytest.mark.parametrize("at_once", [True, False])
def test_what_c_has_printed_is_written(at_once: bool) -> None:
    program = f"""
import ctypes
from pulsar_native import _native
ctypes.CDLL(None).puts(b"words")
_native.exit_process(3, {at_once})
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "words\n", "")


def test_modules_brought_later_are_known_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = (_ending.__name__, "one", "two")
    modules = {name: ModuleType(name) for name in names}
    found = []
    with monkeypatch.context() as patch:
        patch.setattr(sys, "modules", modules)
        shared = _ending.Shared()
        found.append(shared.brought())
        modules["three"] = modules["four"] = ModuleType("three")
        modules["one"] = modules.pop("one")  # imported anew
        found.append(shared.brought())
        del modules[_ending.__name__]
        found.append(shared.brought())
    assert found == [[], ["three", "four"], ["three", "four"]]


def test_a_library_that_is_loaded_first_is_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    shared = _ending.Shared()
    assert shared.has_all_libraries()
    monkeypatch.setenv("LD_PRELOAD", "libprofile.so")
    assert not shared.has_all_libraries()
