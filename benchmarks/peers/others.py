"""Other packages' part in death.py and restart.py.

Each is a script beside this file, ``ends_NAME.py QUESTION COUNT``, that runs
in processes of its own and prints one line of JSON: the ``times`` in seconds,
and what they are of. One that cannot run here is skipped with a sentence.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
VENV36 = FOLDER.parent / ".venv36" / "bin" / "python3"
PATIENCE = 600.0  # seconds, for all times of one script


class Skipped(Exception):
    """Why there is no figure."""


@dataclass(frozen=True)
class Other:
    """A package: what it answers, and how often it is asked at most."""

    name: str
    titles: dict[str, str]  # of the rows, by question
    most: int
    missing: str
    cannot: str = ""  # said of a question without a title
    old: bool = False  # runs on Python 3.6


OTHERS = (
    Other(
        "pulsar",
        {
            "death": "pulsar: the arbiter forgets it",
            "restart": "pulsar: monitor with a worker",
        },
        20,
        "--python36 names a Python 3.6 that has pulsar 2.0.2",
        old=True,
    ),
    Other(
        "xoscar",
        {
            "death": "xoscar: ServerClosed",
            "restart": "xoscar: auto_recover",
        },
        30,
        "pip install xoscar",
    ),
    Other(
        "ray",
        {
            "death": "ray: RayActorError",
            "restart": "ray: max_task_retries=-1",
        },
        30,
        "pip install ray",
    ),
    Other(
        "lapinbeam",
        {"death": "lapinbeam: peer_disconnected"},
        30,
        "pip install lapinbeam",
        "its supervisor restarts actors within a process, and a node that "
        "was killed is started by nobody",
    ),
)


def interpreter(other: Other, python36: str | None) -> str:
    """That of the peer; raises Skipped if it has no such package."""
    python = sys.executable
    if other.old:
        python = python36 or (str(VENV36) if VENV36.exists() else "")
    if python:
        probe = subprocess.run(
            [python, "-c", f"import {other.name}"],
            capture_output=True,
            cwd=FOLDER,
        )
        if probe.returncode == 0:
            return python
    raise Skipped(f"it is not installed: {other.missing}")


def run(command: list[str], folder: str) -> tuple[int, str, str]:
    """Its exit code and what it printed; interrupted, it may clean up."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"TMPDIR": folder},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate()
    finally:
        process.terminate()
        process.wait()
    return process.returncode, out, err


def measure(
    other: Other, question: str, count: int, python36: str | None
) -> tuple[str, list[float]]:
    """The row's title with the version, and the times in seconds.

    Raises Skipped if there are none.
    """
    if question not in other.titles:
        raise Skipped(other.cannot)
    script = FOLDER / f"ends_{other.name}.py"
    command = [
        sys.executable,
        str(FOLDER / "sweep.py"),
        str(PATIENCE),
        interpreter(other, python36),
        str(script),
        question,
        str(min(count, other.most)),
    ]
    with tempfile.TemporaryDirectory() as folder:  # for logs
        code, out, err = run(command, folder)
    lines = [line for line in out.splitlines() if line[:1] == "{"]
    if not lines:
        told = err.strip().splitlines() or ["nothing was printed"]
        raise Skipped(f"it failed ({code}): {told[-1]}")
    result = json.loads(lines[-1])
    return f"{other.titles[question]} ({result['version']})", result["times"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What ``rows`` is told on the command line."""
    parser.add_argument("--python36", metavar="PATH")
    parser.add_argument(
        "--others",
        default=",".join(other.name for other in OTHERS),
        metavar="PEER,...",
        help="which other packages; an empty text for none",
    )


def rows(
    question: str, options: argparse.Namespace
) -> Iterator[tuple[str, list[float]]]:
    """Title and seconds of each; it prints why one is skipped."""
    for other in OTHERS:
        if other.name not in options.others.split(","):
            continue
        try:
            yield measure(other, question, options.count, options.python36)
        except Skipped as why:
            print(f"{other.name} is skipped: {why}.", flush=True)
