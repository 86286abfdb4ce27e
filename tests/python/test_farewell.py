"""An actor that has stopped may take its time to leave its interpreter."""

from __future__ import annotations

import atexit
import time
from pathlib import Path
from typing import Any

import pytest
from actors_help import SANITIZED, failure, run

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

# Longer than the arbiter waits between a link's end and its process's.
LONG = 1.0 if SANITIZED else 0.4


def leave_slowly(actor: Any, path: Path, seconds: float) -> None:
    def leave() -> None:
        time.sleep(seconds)
        path.write_text("left")

    atexit.register(leave)


@pytest.mark.parametrize("code", [0, 8])
def test_exit_handlers_run_to_their_end(tmp_path: Path, code: int) -> None:
    path = tmp_path / "left"

    async def main() -> None:
        worker = await pn.spawn()
        await pn.send(worker, "run", leave_slowly, path, LONG)
        waiting = pn.send(worker, "run", end, code)
        error = await failure(waiting)
        assert isinstance(error, pn.ActorDown)
        assert not path.exists()  # who asks need not wait for that
        assert await failure(pn.send(worker, "ping"))
        await worker.join(20)
        assert path.read_text() == "left"
        error = await failure(pn.send(worker, "ping"))
        assert isinstance(error, pn.ActorDown)
        assert (error.exit_code, error.signal) == (code, None)

    run(main)


def end(actor: Any, code: int) -> None:
    raise SystemExit(code)


def test_who_never_leaves_is_made_to(tmp_path: Path) -> None:
    path = tmp_path / "left"

    async def main() -> None:
        worker = await pn.spawn(exit_timeout=0.1)
        await pn.send(worker, "run", leave_slowly, path, 3600.0)
        assert await failure(pn.send(worker, "run", end, 0))
        await worker.join(20)
        assert not path.exists()

    run(main)
