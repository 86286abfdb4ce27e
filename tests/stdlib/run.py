"""CPython's own tests of asyncio, on the loop of this package.

    python tests/stdlib/run.py [--quick] [-v] [MODULE ...]

The suite is that of the interpreter that runs this. Each module has a process
of its own; a test that crashes it or hangs costs itself, the others go on in
another. The same is done with the stock loop: what counts as lost is what
passes there and not here, twice. Exit status 1 if anything is lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent

# They build the standard classes themselves, and say nothing of another loop.
ABOUT_OTHERS = {
    "test_base_events",
    "test_selector_events",
    "test_proactor_events",
    "test_windows_events",
    "test_windows_utils",
}

# Half a minute: what calls the loop's own code most.
QUICK = (
    "test_context",
    "test_events",
    "test_futures",
    "test_runners",
    "test_sock_lowlevel",
    "test_unix_events",
)

# Ends of test ids that need not pass, and why.
SKIPPED: dict[str, str] = {}

# Seconds without a test's end: it hangs.
HANGS = 120


class Outcome(NamedTuple):
    what: str
    text: str = ""


Outcomes = dict[str, Outcome]


def modules() -> list[str]:
    import test.test_asyncio as package  # type: ignore[import-not-found]

    folder = Path(package.__file__).parent
    names = sorted(path.stem for path in folder.glob("test_*.py"))
    return [name for name in names if name not in ABOUT_OTHERS]


def read(journal: Path) -> Outcomes:
    outcomes: Outcomes = {}
    if journal.exists():
        for line in journal.read_text().splitlines():
            test, *rest = json.loads(line)
            outcomes[test] = Outcome(*rest)
    return outcomes


def run_worker(name: str, which: str, journal: Path) -> str:
    """Run what the journal has not yet. Returns how it ended: "" well."""
    log = journal.with_suffix(".log")
    command = [sys.executable, str(HERE / "worker.py"), name, which]
    with log.open("ab") as output:
        worker = subprocess.Popen(
            [*command, str(journal)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        size = -1
        try:
            while True:
                try:
                    code = worker.wait(HANGS)
                    break
                except subprocess.TimeoutExpired:
                    now = journal.stat().st_size if journal.exists() else 0
                    if now == size:
                        return "hangs"
                    size = now
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    return f"exit {code}" if code else ""


def run_module(name: str, which: str, folder: Path) -> Outcomes:
    journal = folder / f"{name}.{which}"
    while True:
        end = run_worker(name, which, journal)
        outcomes = read(journal)
        begun = [test for test, o in outcomes.items() if o.what == "begun"]
        if not end:
            return outcomes
        tail = journal.with_suffix(".log").read_text(errors="replace")[-3000:]
        with journal.open("a") as file:
            for test in begun:
                file.write(json.dumps([test, end, tail]) + "\n")
        if not begun:  # nothing more can be learnt
            return {**outcomes, f"{name} (all of it)": Outcome(end, tail)}


def lost(stock: Outcomes, ours: Outcomes) -> dict[str, Outcome]:
    missing = Outcome("missing")
    good = ("ok", "expected")
    pairs = {
        t: ours.get(t, missing) for t, o in stock.items() if o.what in good
    }
    strange = {t: o for t, o in ours.items() if t not in stock}
    return {
        test: o
        for test, o in {**pairs, **strange}.items()
        if o.what not in (*good, "skipped" if test in strange else "ok")
        and not any(test.endswith(end) for end in SKIPPED)
    }


def compare(name: str, verbose: bool) -> tuple[str, int, dict[str, Outcome]]:
    """A line about it, how many tests pass on the stock loop, what is lost."""
    with tempfile.TemporaryDirectory() as first:
        stock = run_module(name, "stock", Path(first))
        ours = run_module(name, "ours", Path(first))
    gone = lost(stock, ours)
    if gone:
        with tempfile.TemporaryDirectory() as second:
            again = run_module(name, "ours", Path(second))
        gone = {
            test: o for test, o in lost(stock, again).items() if test in gone
        }
    passed = sum(o.what == "ok" for o in stock.values())
    skips = sum(o.what == "skipped" for o in ours.values())
    line = f"{name:24} {passed:4} pass on the stock loop, {len(gone)} lost"
    if verbose:
        line += f", {skips} skipped, {len(stock) - passed - skips} else"
    return line, passed, gone


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-v", action="store_true", dest="verbose")
    parser.add_argument("-j", type=int, default=2, dest="jobs")
    parser.add_argument("modules", nargs="*")
    options = parser.parse_args()
    try:
        there = modules()
    except ImportError:
        print("this interpreter came without its test suite: nothing is run")
        return 0
    names = options.modules or [
        name for name in there if name in QUICK or not options.quick
    ]
    passed = 0
    gone: dict[str, Outcome] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for line, count, losses in pool.map(
            lambda name: compare(name, options.verbose), names
        ):
            print(line, flush=True)
            passed += count
            gone.update(losses)
    for test, outcome in gone.items():
        print(f"\nLOST {test}: {outcome.what}\n{outcome.text}")
    version = ".".join(map(str, sys.version_info[:3]))
    print(
        f"test_asyncio of {version}: {passed} tests passed on the stock loop, "
        f"{len(gone)} lost"
    )
    return 1 if gone else 0


if __name__ == "__main__":
    sys.exit(main())
