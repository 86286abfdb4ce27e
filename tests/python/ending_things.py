"""A module whose objects notice the end of their process."""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

held: list[Any] = []


class Last:
    """Writes to a file when it ends, by what its module refers to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __del__(self) -> None:
        self.path.write_text(json.dumps("ended"))


def keep_open(actor: Any, folder: Path) -> None:
    """Open files that nobody closes, and objects that nobody drops."""
    global last, _file
    last = Last(folder / "global")
    _file = (folder / "file").open("w")
    _file.write("not flushed yet")
    held.append(Last(folder / "list"))
    cycle: list[Any] = [Last(folder / "cycle")]
    cycle.append(cycle)
    actor.extra["last"] = Last(folder / "extra")
    # Where no module of the program refers to it.
    logging.root.file = (folder / "other").open("w")  # type: ignore[attr-defined]
    logging.root.file.write("not flushed")  # type: ignore[attr-defined]
    atexit.register((folder / "atexit").write_text, json.dumps("ended"))
    weakref.finalize(
        actor, (folder / "finalize").write_text, json.dumps("ended")
    )


def keep_thread(actor: Any) -> None:
    """A thread that nobody waits for."""
    stays = threading.Event()
    threading.Thread(target=stays.wait, daemon=True).start()


def keep_working(actor: Any, path: Path) -> None:
    """A thread that is waited for."""
    ready = threading.Event()

    def work() -> None:
        ready.wait(0.2)
        path.write_text(json.dumps("ended"))

    threading.Thread(target=work).start()


def print_late(actor: Any) -> None:
    """What is printed while the process ends."""

    class Late:
        def __del__(self) -> None:
            print("late words", end="")
            sys.stderr.write("late errors")

    held.append(Late())


def end(actor: Any, code: int) -> None:
    """End by a code."""
    raise SystemExit(code)


def pid(actor: Any) -> int:
    """The process."""
    return os.getpid()
