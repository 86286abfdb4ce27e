"""A process actor ends as an interpreter does, though it takes less time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ending_things as things
import pytest
from actors_help import Program, ask, failure, run

import pulsar_native as pn

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
