"""Medians, spreads, tables and ratios of the runs of ask.py.

A run is one measurement of one peer in one round: its keys are ``peer``,
``case``, ``cores``, ``round``, ``load`` and ``result`` (or ``error``). A
row is the summary of all rounds.
"""

from __future__ import annotations

from statistics import median
from typing import Any

ASK = ("rate", "p50_us", "p90_us", "p99_us", "cpu_us")
SPAWN = ("resolve_ms", "answer_ms", "first_ms", "ten_ms")
SUBJECT = "pulsar_native"
BASELINE = "pulsar"

Row = dict[str, Any]


def rows(runs: list[Row]) -> list[Row]:
    """One row for each peer, case and cores, in the order of the runs."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for run in runs:
        if "result" in run:
            key = (run["case"], run["cores"], run["peer"])
            groups.setdefault(key, []).append(run)
    return [summary(group) for group in groups.values()]


def summary(group: list[Row]) -> Row:
    """Median, least and greatest of every figure of one group of runs."""
    first = group[0]
    keys = ASK if "rate" in first["result"] else SPAWN
    row: Row = {name: first[name] for name in ("case", "cores", "peer")}
    row["rounds"] = [run["round"] for run in group]
    row["load"] = median(run["load"] for run in group)
    row["versions"] = first["result"]["versions"]
    row["command"] = first["command"]
    for key in keys:
        values = [round(run["result"][key], 3) for run in group]
        row[key] = {
            "median": median(values),
            "min": min(values),
            "max": max(values),
            "values": values,
        }
    return row


def ratio(one: Row, other: Row) -> tuple[float, float, float]:
    """How many times better *one* is: median, least and greatest round.

    Round by round, because the peers of a round met the same machine; of
    the medians alone where *other* is recorded or has not the same rounds.
    """
    key = "rate" if "rate" in one else "answer_ms"
    mine, theirs = one[key], other[key]
    by_round = dict(zip(other["rounds"], theirs["values"], strict=True))
    pairs = [
        (value, by_round[number])
        for number, value in zip(one["rounds"], mine["values"], strict=True)
        if number in by_round
    ]
    if other.get("recorded") or not pairs:
        pairs = [(mine["median"], theirs["median"])]
    each = [a / b if key == "rate" else b / a for a, b in pairs]
    return median(each), min(each), max(each)


def label(row: Row) -> str:
    """The peer's name, marked if its figures are recorded ones."""
    return str(row["peer"]) + (" (recorded)" if row.get("recorded") else "")


def table(group: list[Row]) -> list[str]:
    """The lines of the table of one case on one set of cores."""
    base = next((row for row in group if row["peer"] == BASELINE), None)
    asks = "rate" in group[0]
    lines = [ask_head() if asks else spawn_head()]
    for row in group:
        times = f"{ratio(row, base)[0]:7.2f}" if base else "      -"
        line = ask_line(row) if asks else spawn_line(row)
        lines.append(f"{line} {times} {row['load']:5.2f}")
    return lines


def ask_head() -> str:
    """The head of a table of asks."""
    return (
        f"{'peer':29} {'asks/s':>8} {'(min':>8} - {'max)':>7}"
        f" {'p50 us':>8} {'p90 us':>8} {'p99 us':>8} {'CPU us':>7}"
        f" {'x pulsar':>7} {'load':>4}"
    )


def ask_line(row: Row) -> str:
    """One peer's asks: rate with its spread, latencies, CPU time an ask."""
    rate = row["rate"]
    spread = f"({rate['min']:7.0f} - {rate['max']:6.0f})"
    latency = " ".join(f"{row[key]['median']:8.1f}" for key in ASK[1:4])
    return (
        f"{label(row):29} {rate['median']:8.0f} {spread} {latency}"
        f" {row['cpu_us']['median']:7.1f}"
    )


def spawn_head() -> str:
    """The head of a table of spawns."""
    return (
        f"{'peer':29} {'spawned':>8} {'answer':>8} {'(min':>8} -"
        f" {'max)':>7} {'first':>8} {'ten':>8} {'x pulsar':>7}"
        f" {'load':>4}   (times in ms)"
    )


def spawn_line(row: Row) -> str:
    """One peer's spawns: resolved, first answer, coldest, ten at once."""
    answer = row["answer_ms"]
    spread = f"({answer['min']:7.1f} - {answer['max']:6.1f})"
    return (
        f"{label(row):29} {row['resolve_ms']['median']:8.1f}"
        f" {answer['median']:8.1f} {spread}"
        f" {row['first_ms']['median']:8.1f}"
        f" {row['ten_ms']['median']:8.1f}"
    )


def groups(summaries: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of every case on every set of cores."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in summaries:
        found.setdefault((row["case"], row["cores"]), []).append(row)
    return found


def ratios(summaries: list[Row]) -> list[Row]:
    """The subject against every other peer, case by case."""
    found = []
    for (case, cores), group in groups(summaries).items():
        mine = next((r for r in group if r["peer"] == SUBJECT), None)
        if mine is None:
            continue
        for row in group:
            if row is not mine:
                middle, least, most = ratio(mine, row)
                found.append(
                    {
                        "case": case,
                        "cores": cores,
                        "against": label(row),
                        "ratio": middle,
                        "min": least,
                        "max": most,
                    }
                )
    return found


def versions(summaries: list[Row]) -> list[str]:
    """A line for each peer: what was measured."""
    seen = {label(row): row["versions"] for row in summaries}
    return [
        f"{peer:29} " + ", ".join(f"{k} {v}" for k, v in found.items())
        for peer, found in seen.items()
    ]
