"""How many asks a second, and with what latency, does an actor answer?

Beside pulsar 2.0.2 on Python 3.6, a multiprocessing pipe, and sockets with
pickle written by hand on asyncio and uvloop. See README.md in this folder.
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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PEERS_FOLDER = HERE / "peers"
RECORDED = HERE / "recorded" / "pulsar-2.0.2.json"
sys.path.insert(0, str(PEERS_FOLDER))

import python36  # noqa: E402
import report  # noqa: E402

Row = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """Something that answers asks: a module of peers/ and its options."""

    module: str
    options: dict[str, str]
    cases: str  # the kinds of cases that make sense: main, worker, spawn
    probe: str = "pass"  # fails where the peer cannot run
    missing: str = ""  # what to tell then
    old: bool = False  # runs on Python 3.6


NATIVE = (
    "import pulsar_native as pn; pn.spawn, pn.send, pn.command",
    "pulsar_native cannot be imported, or has no spawn yet: pip install .",
)
UVLOOP = ("import uvloop", "uvloop is not installed: pip install uvloop")
ALL, ASKS = "main worker spawn", "main worker"


def _native(loop: str, probe: str = "pass") -> Peer:
    """A peer that is the package under test, on one of two loops."""
    test, missing = NATIVE
    return Peer("native", {"loop": loop}, ALL, f"{test}; {probe}", missing)


PEERS = {
    "pulsar_native": _native("stock"),
    "pulsar_native+uvloop": _native("uv", "import uvloop"),
    "pulsar": Peer("pulsar2", {"loop": "epoll"}, ALL, old=True),
    "pulsar+uvloop": Peer("pulsar2", {"loop": "uv"}, ALL, *UVLOOP, old=True),
    "pipe": Peer("pipes", {}, "main"),
    "streams": Peer("sockets", {"loop": "stock", "style": "streams"}, ASKS),
    "streams36": Peer(
        "sockets", {"loop": "stock", "style": "streams"}, ASKS, old=True
    ),
    "protocol": Peer("sockets", {"loop": "stock", "style": "protocol"}, ASKS),
    "uvloop": Peer(
        "sockets", {"loop": "uv", "style": "protocol"}, ASKS, *UVLOOP
    ),
    "fork": Peer("pipes", {"context": "fork"}, "spawn"),
    "forkserver": Peer("pipes", {"context": "forkserver"}, "spawn"),
    "new-interpreter": Peer("pipes", {"context": "spawn"}, "spawn"),
}

CASES: dict[str, Row] = {
    "main-1": {
        "kind": "main",
        "asker": "main",
        "inflight": 1,
        "title": "main -> worker, one in flight",
    },
    "main-100": {
        "kind": "main",
        "asker": "main",
        "inflight": 100,
        "title": "main -> worker, 100 in flight",
    },
    "worker-1": {
        "kind": "worker",
        "asker": "worker",
        "inflight": 1,
        "title": "worker -> worker, one in flight",
    },
    "worker-100": {
        "kind": "worker",
        "asker": "worker",
        "inflight": 100,
        "title": "worker -> worker, 100 in flight",
    },
    "spawn": {
        "kind": "spawn",
        "asker": "main",
        "inflight": 1,
        "title": "a process actor until it answers",
    },
}
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


def run_once(python: Path, peer: Peer, options: Row, patience: float) -> Row:
    """Measure once, in processes of its own; a result or an error."""
    command = [
        str(python),
        str(PEERS_FOLDER / "run.py"),
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


def find_peers(args: argparse.Namespace) -> tuple[dict[str, Path], list[str]]:
    """The interpreter of every peer that can run, and why others cannot."""
    python: dict[bool, Path | None] = {False: Path(sys.executable)}
    found: dict[str, Path] = {}
    skipped = []
    if any(PEERS[name].old for name in args.peers):
        base = python36.find(args.python36)
        python[True] = python36.environment(base) if base else None
        if base is None:
            skipped.append(python36.HOW)
    for name in args.peers:
        peer = PEERS[name]
        interpreter = python[peer.old]
        if interpreter is None:
            continue
        probe = subprocess.run(
            [str(interpreter), "-c", peer.probe],
            capture_output=True,
            cwd=PEERS_FOLDER,
        )
        if probe.returncode == 0:
            found[name] = interpreter
        else:
            skipped.append(f"{name} is skipped. {peer.missing}")
    return found, skipped


def plan(args: argparse.Namespace, peers: list[str]) -> list[Row]:
    """What to measure, in order: the peers of a case follow each other.

    Every round begins with another peer, so that none is always first.
    """
    steps = []
    for number in range(args.rounds):
        shift = number % max(len(peers), 1)
        turn = peers[shift:] + peers[:shift]
        for place in args.cores:
            for case in args.only:
                kind = CASES[case]["kind"]
                if kind == "spawn" and place != args.cores[-1]:
                    continue
                steps += [
                    {
                        "round": number,
                        "cores": place,
                        "case": case,
                        "peer": name,
                    }
                    for name in turn
                    if kind in PEERS[name].cases.split()
                ]
    return steps


def run_all(args: argparse.Namespace, peers: dict[str, Path]) -> list[Row]:
    """Every step of the plan; the runs, with what failed among them."""
    steps = plan(args, list(peers))
    for number, step in enumerate(steps, 1):
        peer, case = PEERS[step["peer"]], CASES[step["case"]]
        options = {
            **peer.options,
            **placement(step["cores"]),
            "kind": "spawn" if case["kind"] == "spawn" else "ask",
            "asker": case["asker"],
            "inflight": case["inflight"],
            "seconds": args.seconds,
            "warmup": args.seconds * 0.3,
            "spawns": args.spawns,
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
        step.update(
            run_once(peers[step["peer"]], peer, options, args.seconds * 2 + 60)
        )
        name = f"{step['case']} {step['cores']} {step['peer']}"
        if "error" in step:
            tail = step["error"].splitlines()[-1]
            print(f"failed: {name}: {tail}", file=sys.stderr)
        if sys.stderr.isatty():
            print(
                f"\r{number}/{len(steps)} {name:45}\r", end="", file=sys.stderr
            )
    return steps


def circumstances() -> Row:
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
        "command": shlex.join(["python", "benchmarks/ask.py", *argv]),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": model,
        "usable_cores": len(os.sched_getaffinity(0)),
        "load": list(os.getloadavg()),
    }


def recorded_rows(args: argparse.Namespace) -> list[Row]:
    """The recorded rows of the peers that need Python 3.6."""
    if not RECORDED.exists():
        return []
    record = json.loads(RECORDED.read_text())
    meta = record["meta"]
    print(
        f"Figures marked (recorded) are of {meta['date'][:10]}, on "
        f"{meta['processor']}, {meta['usable_cores']} cores, load "
        f"{meta['load'][0]:.2f}, by: {meta['command']}"
    )
    return [
        {**row, "recorded": True}
        for row in record["summary"]
        if row["peer"] in args.peers
        and row["case"] in args.only
        and row["cores"] in args.cores
    ]


def show(meta: Row, rows: list[Row]) -> None:
    """The tables, the ratios and what was measured."""
    for (case, place), group in report.groups(rows).items():
        print(f"\n{case}: {CASES[case]['title']}; {PLACES[place]}")
        print("\n".join(report.table(group)))
    ratios = report.ratios(rows)
    if ratios:
        print(
            "\npulsar_native against the others (the rounds' ratios: median, "
            "least and greatest)"
        )
    for row in ratios:
        print(
            f"{row['case']:10} {row['cores']:5} / {row['against']:29}"
            f" {row['ratio']:7.2f} ({row['min']:.2f} - {row['max']:.2f})"
        )
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


def arguments() -> argparse.Namespace:
    """What was asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=1.0, help="measured time of a run")
    add("--spawns", type=int, default=10, help="spawns timed in a run")
    add("--quick", action="store_true", help="one round of 0.3 s")
    add(
        "--only",
        type=names(CASES),
        default=list(CASES),
        metavar="CASE,...",
        help=", ".join(CASES),
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
        type=names(PEERS),
        default=list(PEERS),
        metavar="PEER,...",
        help=", ".join(PEERS),
    )
    add("--python36", metavar="PATH", help="a Python 3.6, for pulsar 2.0.2")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add(
        "--record",
        action="store_true",
        help=f"write the figures of Python 3.6 to {RECORDED.name}",
    )
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds, args.spawns = 1, 0.3, 3
    if len(os.sched_getaffinity(0)) < 2:
        args.cores = ["one"]
        print("Only one core is usable: the cases on two are left out.")
    return args


def main() -> int:
    """Measure, show, and write what was asked for."""
    args = arguments()
    meta = circumstances()
    peers, skipped = find_peers(args)
    for sentence in skipped:
        print(sentence)
    runs = run_all(args, peers)
    rows = report.rows(runs)
    old = [row for row in rows if PEERS[row["peer"]].old]
    if args.record and old:
        write(RECORDED, {"meta": meta, "summary": old})
    if python36.HOW in skipped:
        rows += recorded_rows(args)
    if rows:
        show(meta, rows)
    if args.json:
        write(
            args.json,
            {
                "meta": meta,
                "skipped": skipped,
                "runs": runs,
                "summary": rows,
                "ratios": report.ratios(rows),
            },
        )
    failed = [run for run in runs if "error" in run]
    if failed:
        print(f"{len(failed)} of {len(runs)} runs failed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
