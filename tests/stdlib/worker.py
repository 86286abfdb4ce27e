"""Run one module of CPython's test_asyncio, on the stock loop or on ours.

    worker.py MODULE stock|ours JOURNAL

Each test's beginning and outcome are a line of JOURNAL, so that it tells what
a crash or a hang came in. Tests that it has already are not run again.
"""

from __future__ import annotations

import asyncio
import faulthandler
import importlib
import json
import selectors
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def put_our_loop_in_place() -> None:
    """Where the tests, and asyncio itself, make loops."""
    import pulsar_native

    class Loop(pulsar_native.Loop):
        """Takes a selector, as the stock loop does, and has no use for it."""

        def __init__(self, selector: Any = None) -> None:
            if isinstance(selector, selectors.BaseSelector):
                selector.close()
            super().__init__()

    policy: Any = asyncio.DefaultEventLoopPolicy
    policy._loop_factory = Loop
    for module in (asyncio, asyncio.unix_events):
        for name in ("SelectorEventLoop", "EventLoop"):
            if hasattr(module, name):
                setattr(module, name, Loop)


class Journal(unittest.TestResult):
    """Outcomes as lines of JSON: [test, "ok" or what else, traceback]."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("a", buffering=1)
        self._worst: tuple[str, str] = ("ok", "")

    def _write(self, *line: str) -> None:
        self._file.write(json.dumps(line) + "\n")

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._worst = ("ok", "")
        self._write(test.id(), "begun")

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        self._write(test.id(), *self._worst)

    def _note(self, test: Any, outcome: str, error: Any) -> None:
        text = self._exc_info_to_string(error, test)
        self._worst = (outcome, text)
        if not hasattr(test, "_testMethodName"):  # setUpClass, a module
            self._write(test.id(), outcome, text)

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._note(test, "error", err)

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._note(test, "failed", err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failed", err)

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self._worst = ("skipped", reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._worst = ("expected", "")


def tests_of(suite: Any) -> Iterator[unittest.TestCase]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from tests_of(each)
        else:
            yield each


def main() -> None:
    name, which, journal = sys.argv[1:]
    faulthandler.enable()
    faulthandler.dump_traceback_later(90, repeat=True)
    path = Path(journal)
    done = set()
    if path.exists():
        done = {json.loads(line)[0] for line in path.read_text().splitlines()}
    if which == "ours":
        put_our_loop_in_place()
    module = importlib.import_module(f"test.test_asyncio.{name}")
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    left = [test for test in tests_of(suite) if test.id() not in done]
    # By suites, so that setUpClass and setUpModule happen.
    unittest.TestSuite(left).run(Journal(path))
    # Threads that a test left behind must not keep it.
    sys.stdout.flush()
    sys.stderr.flush()
    import os

    os._exit(0)


if __name__ == "__main__":
    main()
