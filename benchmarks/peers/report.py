"""Medians, spreads, tables and ratios of the runs of a question.

A run is one measurement of one peer in one round: its keys are ``peer``,
``case``, ``cores``, ``round``, ``load`` and ``result`` (or ``error``). A
row is the summary of all rounds. A form says which figures of a case are
shown, and by which one peers are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

SUBJECT = "pulsar_native"
BASELINE = "pulsar"

Row = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """How a case is shown: the figure that counts first, with its spread."""

    figure: str
    title: str
    more: bool  # more is better
    others: tuple[tuple[str, str], ...]  # (figure, title)
    digits: int = 1


ASK = Form(
    "rate",
    "asks/s",
    True,
    (
        ("p50_us", "p50 us"),
        ("p90_us", "p90 us"),
        ("p99_us", "p99 us"),
        ("cpu_us", "CPU us"),
    ),
    digits=0,
)
SPAWN = Form(
    "answer_ms",
    "answer ms",
    False,
    (("resolve_ms", "spawned"), ("first_ms", "first"), ("ten_ms", "ten")),
)

Forms = Callable[[str], Form]  # of a case


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
    row: Row = {name: first[name] for name in ("case", "cores", "peer")}
    row["rounds"] = [run["round"] for run in group]
    row["load"] = median(run["load"] for run in group)
    row["versions"] = first["result"]["versions"]
    row["command"] = first["command"]
    for key, figure in first["result"].items():
        if not isinstance(figure, (int, float)):
            continue
        values = [round(run["result"][key], 3) for run in group]
        row[key] = {
            "median": median(values),
            "min": min(values),
            "max": max(values),
            "values": values,
        }
    return row


def ratio(one: Row, other: Row, form: Form) -> tuple[float, float, float]:
    """How many times better *one* is: median, least and greatest round.

    Round by round, because the peers of a round met the same machine; of
    the medians alone where *other* is recorded or has not the same rounds.
    """
    mine, theirs = one[form.figure], other[form.figure]
    by_round = dict(zip(other["rounds"], theirs["values"], strict=True))
    pairs = [
        (value, by_round[number])
        for number, value in zip(one["rounds"], mine["values"], strict=True)
        if number in by_round
    ]
    if other.get("recorded") or not pairs:
        pairs = [(mine["median"], theirs["median"])]
    each = [a / b if form.more else b / a for a, b in pairs if a and b]
    each = each or [float("nan")]  # nothing came in the time
    return median(each), min(each), max(each)


def label(row: Row) -> str:
    """The peer's name, marked if its figures are recorded ones."""
    return str(row["peer"]) + (" (recorded)" if row.get("recorded") else "")


def table(group: list[Row], form: Form) -> list[str]:
    """The lines of the table of one case on one set of cores."""
    names = {str(row["peer"]) for row in group}
    base = next((row for row in group if row["peer"] == BASELINE), None)
    heads = " ".join(f"{title:>9}" for _, title in form.others)
    times = f"x {BASELINE}" if BASELINE in names else ""
    lines = [
        f"{'peer':29} {form.title:>9} {'(min':>10} - {'max)':>9} {heads}"
        f" {times:>8} load"
    ]
    for row in group:
        share = f"{ratio(row, base, form)[0]:8.2f}" if base else 8 * " "
        lines.append(f"{line(row, form)} {share} {row['load']:4.2f}")
    return lines


def line(row: Row, form: Form) -> str:
    """One peer's figures: the first with its spread."""
    first, digits = row[form.figure], form.digits
    others = " ".join(
        f"{row[key]['median']:9.1f}" if key in row else f"{'-':>9}"
        for key, _ in form.others
    )
    return (
        f"{label(row):29} {first['median']:9.{digits}f}"
        f" ({first['min']:9.{digits}f} - {first['max']:8.{digits}f}) {others}"
    )


def groups(summaries: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of every case on every set of cores."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in summaries:
        found.setdefault((row["case"], row["cores"]), []).append(row)
    return found


def ratios(summaries: list[Row], forms: Forms) -> list[Row]:
    """Every peer that is ours against all others, case by case."""
    found = []
    for (case, cores), group in groups(summaries).items():
        for mine in group:
            if not str(mine["peer"]).startswith(SUBJECT):
                continue
            for row in group:
                if str(row["peer"]).startswith(SUBJECT):
                    continue
                middle, least, most = ratio(mine, row, forms(case))
                found.append(
                    {
                        "case": case,
                        "cores": cores,
                        "peer": mine["peer"],
                        "against": label(row),
                        "ratio": middle,
                        "min": least,
                        "max": most,
                    }
                )
    return found


def ratio_lines(found: list[Row]) -> list[str]:
    """The ratios as text."""
    return [
        f"{row['case']:12} {row['cores']:5} {row['peer']:24} / "
        f"{row['against']:20} {row['ratio']:7.2f}"
        f" ({row['min']:.2f} - {row['max']:.2f})"
        for row in found
    ]


def versions(summaries: list[Row]) -> list[str]:
    """A line for each peer: what was measured."""
    seen = {label(row): row["versions"] for row in summaries}
    return [
        f"{peer:29} " + ", ".join(f"{k} {v}" for k, v in found.items())
        for peer, found in seen.items()
    ]
