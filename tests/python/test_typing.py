"""What mypy accepts of programs, and what it refuses, is what they say.

A line of tests/typing/*.py is accepted unless it ends with ``# E: text``: then
mypy must find an error there that contains the text. One run does for all.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

import pulsar_native as pn
from pulsar_native._making import OPTIONS
from pulsar_native.spawning import SpawnOptions

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "typing"
FILES = sorted(FOLDER.glob("*.py"))
FOUND = re.compile(r"^([^:]+):(\d+): error: (.*)$", re.MULTILINE)

slow_under_asan = pytest.mark.skipif(
    bool(os.environ.get("PN_SANITIZED")), reason="runs nothing of ours"
)


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, int], list[str]]:
    """The errors that mypy finds, by file and line."""
    major, minor = sys.version_info[:2]
    cache = ROOT / "build" / f"mypy-{major}.{minor}"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file="]
        + [f"--cache-dir={cache}", "--no-error-summary", "--no-pretty"]
        + [str(path) for path in FILES],
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": str(FOLDER)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    errors: dict[tuple[str, int], list[str]] = {}
    for path, line, text in FOUND.findall(done.stdout):
        errors.setdefault((Path(path).name, int(line)), []).append(text)
    return errors


@slow_under_asan
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_mypy_refuses_what_is_marked_and_nothing_else(
    path: Path, found: dict[tuple[str, int], list[str]]
) -> None:
    wrong = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        expected = [text.strip() for text in line.split("# E:")[1:]]
        errors = list(found.get((path.name, number), ()))
        for text in expected:
            fitting = [error for error in errors if text in error]
            if fitting:
                errors.remove(fitting[0])
            else:
                wrong.append(f"line {number}: accepted, but for {text!r}")
        wrong += [f"line {number}: {error}" for error in errors]
    assert not wrong, "\n".join(wrong)


@slow_under_asan
def test_every_error_is_in_a_file_of_the_suite(
    found: dict[tuple[str, int], list[str]],
) -> None:
    assert {name for name, _ in found} <= {path.name for path in FILES}


def test_accepted_programs_are_right_at_run_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    counter = importlib.import_module("methods").Counter
    assert isinstance(counter.add, pn.Method)


def test_the_types_of_the_package_can_be_written_down() -> None:
    """Where annotations are looked at, such as in dataclasses."""

    class Counter:
        pass

    assert pn.ActorProxy[Counter].__args__ == (Counter,)
    assert pn.Command[[int, str], bytes].__args__ == ((int, str), bytes)


def test_the_options_of_spawn_are_those_that_type_checkers_know() -> None:
    known = set(get_type_hints(SpawnOptions))
    assert known == OPTIONS | set(pn.Config().settings)
