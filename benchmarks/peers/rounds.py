"""Interleaved rounds of a question: peers found, run, swept up, shown.

A question is a file beside this folder. It names its peers and its cases;
each measurement is a process of its own that runs ``run.py``. A case is a
dict with ``title``, ``kind`` (what of a peer can run it) and the options
that its peers get.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import python36
import report

FOLDER = Path(__file__).resolve().parent
Row = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """Something that is measured: a module of this folder, its options."""

    module: str
    options: dict[str, str]
    cases: str  # the kinds of cases that make sense
    probe: str = "pass"  # fails where the peer cannot run
    missing: str = ""  # what to tell then
    old: bool = False  # runs on Python 3.6


PLACES = {
    "one": "all processes on one core",
    "two": "all processes on the same two cores, as the scheduler likes",
    "apart": "asker and answerer on a core each",
}


def placement(place: str) -> dict[str, list[int]]:
    """The cores of all, of the asker and of the answerer."""
    usable = sorted(os.sched_getaffinity(0))[:2]
    if place == "one":
        usable = usable[:1]
    if place == "apart":
        return {"cores": usable, "near": usable[:1], "far": usable[1:]}
    return {"cores": usable, "near": usable, "far": usable}


# --- one measurement -----------------------------------------------------


def run_once(python: Path, peer: Peer, options: Row, patience: float) -> Row:
    """Measure once, in processes of its own; a result or an error."""
    command = [
        str(python),
        str(FOLDER / "run.py"),
        peer.module,
        json.dumps(options),
    ]
    with (
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
        tempfile.TemporaryDirectory() as folder,
    ):  # for pulsar.log
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=folder,
            start_new_session=True,
        )
        ended = wait_and_sweep(process, patience)
        out.seek(0)
        err.seek(0)
        lines = [line for line in out if line.startswith("{")]
        if lines:
            result = json.loads(lines[-1])
            if "error" not in result:
                return {"result": result}
            return {"error": result["error"].strip()}
        told = err.read().strip() or "nothing was printed"
        return {"error": told if ended else f"no end in {patience:.0f} s"}


def wait_and_sweep(process: subprocess.Popen[bytes], patience: float) -> bool:
    """Wait for the end, then kill what is left of its process group."""
    fd = os.pidfd_open(process.pid)
    try:
        ended = bool(select.select([fd], [], [], patience)[0])
        os.killpg(process.pid, signal.SIGKILL)  # unreaped, so still its own
    finally:
        os.close(fd)
        process.wait()
    return ended


# --- all of them ---------------------------------------------------------


def find_peers(
    known: dict[str, Peer], names: Iterable[str], given36: str | None
) -> tuple[dict[str, Path], list[str]]:
    """The interpreter of every peer that can run, and why others cannot."""
    python: dict[bool, Path | None] = {False: Path(sys.executable)}
    found: dict[str, Path] = {}
    skipped = []
    if any(known[name].old for name in names):
        base = python36.find(given36)
        python[True] = python36.environment(base) if base else None
        if base is None:
            skipped.append(python36.HOW)
    for name in names:
        peer = known[name]
        interpreter = python[peer.old]
        if interpreter is None:
            continue
        probe = subprocess.run(
            [str(interpreter), "-c", peer.probe],
            capture_output=True,
            cwd=FOLDER,
        )
        if probe.returncode == 0:
            found[name] = interpreter
        else:
            skipped.append(f"{name} is skipped. {peer.missing}")
    return found, skipped


Fits = Callable[[str, str, str], bool]  # (peer, case, place)


def plan(args: argparse.Namespace, peers: list[str], fits: Fits) -> list[Row]:
    """What to measure, in order: the peers of a case follow each other.

    Every round begins with another peer, so that none is always first.
    """
    steps = []
    for number in range(args.rounds):
        shift = number % max(len(peers), 1)
        turn = peers[shift:] + peers[:shift]
        for place in args.cores:
            for case in args.only:
                steps += [
                    {
                        "round": number,
                        "cores": place,
                        "case": case,
                        "peer": name,
                    }
                    for name in turn
                    if fits(name, case, place)
                ]
    return steps


def run_all(
    steps: list[Row],
    known: dict[str, Peer],
    found: dict[str, Path],
    options_of: Callable[[Row], Row],
    patience: float,
) -> list[Row]:
    """Every step of the plan; the runs, with what failed among them."""
    for number, step in enumerate(steps, 1):
        peer = known[step["peer"]]
        options = {
            **peer.options,
            **placement(step["cores"]),
            **options_of(step),
        }
        step["load"] = os.getloadavg()[0]
        step["command"] = shlex.join(
            [
                "python3.6" if peer.old else "python",
                "peers/run.py",
                peer.module,
                json.dumps(options),
            ]
        )
        step.update(run_once(found[step["peer"]], peer, options, patience))
        name = f"{step['case']} {step['cores']} {step['peer']}"
        if "error" in step:
            tail = step["error"].splitlines()[-1]
            print(f"failed: {name}: {tail}", file=sys.stderr)
        if sys.stderr.isatty():
            print(
                f"\r{number}/{len(steps)} {name:45}\r", end="", file=sys.stderr
            )
    return steps


# --- telling -------------------------------------------------------------


def circumstances(script: str) -> Row:
    """When, where and by which command."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    argv = [
        Path(arg).name if arg.startswith("/") else arg for arg in sys.argv[1:]
    ]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", f"benchmarks/{script}", *argv]),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": model,
        "usable_cores": len(os.sched_getaffinity(0)),
        "load": list(os.getloadavg()),
    }


def show(
    meta: Row, rows: list[Row], cases: dict[str, Row], forms: report.Forms
) -> None:
    """The tables, the ratios and what was measured."""
    for (case, place), group in report.groups(rows).items():
        print(f"\n{case}: {cases[case]['title']}; {PLACES[place]}")
        print("\n".join(report.table(group, forms(case))))
    ratios = report.ratios(rows, forms)
    if ratios:
        print(
            "\nours against the others (the rounds' ratios: median, least "
            "and greatest)"
        )
        print("\n".join(report.ratio_lines(ratios)))
    print("\n" + "\n".join(report.versions(rows)))
    load = " ".join(f"{value:.2f}" for value in meta["load"])
    print(
        f"\n{meta['processor']}, {meta['usable_cores']} usable cores, "
        f"{meta['system']}; load before: {load}; {meta['date']}"
        f"\n{meta['command']}"
    )


def write(path: Path, content: Row) -> None:
    """Write *content* as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def failures(runs: list[Row]) -> int:
    """Tell how many runs failed; the exit code."""
    failed = [run for run in runs if "error" in run]
    if failed:
        print(f"{len(failed)} of {len(runs)} runs failed.")
    return 1 if failed else 0


# --- a question with nothing of its own ----------------------------------


def names(known: dict[str, Any]) -> Any:
    """An argparse type: a comma-separated list of known names."""

    def parse(text: str) -> list[str]:
        asked = text.split(",")
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(unknown)}; known: {', '.join(known)}"
            )
        return asked

    return parse


def parser(
    text: str | None, peers: dict[str, Peer], cases: dict[str, Row]
) -> argparse.ArgumentParser:
    """The arguments that all questions have."""
    made = argparse.ArgumentParser(description=text)
    add = made.add_argument
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=1.0, help="measured time of a run")
    add("--quick", action="store_true", help="one short round")
    add(
        "--only",
        type=names(cases),
        default=list(cases),
        metavar="CASE,...",
        help=", ".join(cases),
    )
    add(
        "--cores",
        type=names(PLACES),
        default=["one", "two"],
        metavar="PLACE,...",
        help=", ".join(PLACES),
    )
    add(
        "--peers",
        type=names(peers),
        default=list(peers),
        metavar="PEER,...",
        help=", ".join(peers),
    )
    add("--python36", metavar="PATH", help="a Python 3.6, for pulsar 2.0.2")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    return made


def arguments(made: argparse.ArgumentParser) -> argparse.Namespace:
    """What was asked on the command line."""
    args = made.parse_args()
    if args.quick:
        args.rounds, args.seconds = 1, 0.3
    if len(os.sched_getaffinity(0)) < 2:
        args.cores = ["one"]
        print("Only one core is usable: the cases on two are left out.")
    return args


@dataclass(frozen=True)
class Question:
    """What a file asks. A case has its form under ``form``."""

    script: str
    text: str | None
    peers: dict[str, Peer]
    cases: dict[str, Row]
    options: Callable[[argparse.Namespace, Row], Row]  # of a step
    cores: str = "one,two"

    def fits(self, peer: str, case: str, place: str) -> bool:
        """Whether the peer runs the case."""
        return self.cases[case]["kind"] in self.peers[peer].cases.split()

    def form(self, case: str) -> report.Form:
        """How the case is shown."""
        found: report.Form = self.cases[case]["form"]
        return found

    def answer(self) -> int:
        """Measure, show, and write what was asked for; the exit code."""
        made = parser(self.text, self.peers, self.cases)
        made.set_defaults(cores=self.cores.split(","))
        args = arguments(made)
        meta = circumstances(self.script)
        found, skipped = find_peers(self.peers, args.peers, args.python36)
        for sentence in skipped:
            print(sentence)
        runs = run_all(
            plan(args, list(found), self.fits),
            self.peers,
            found,
            lambda step: self.options(args, step),
            args.seconds * 2 + 120,
        )
        rows = report.rows(runs)
        if rows:
            show(meta, rows, self.cases, self.form)
        if args.json:
            ratios = report.ratios(rows, self.form)
            write(
                args.json,
                {
                    "meta": meta,
                    "skipped": skipped,
                    "runs": runs,
                    "summary": rows,
                    "ratios": ratios,
                },
            )
        return failures(runs)
