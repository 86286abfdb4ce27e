"""What mailboxes tell of themselves: in info(), and in Prometheus' format."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import flow_commands as commands
import pytest
from actors_help import ask, failure, run, until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")

each_kind = pytest.mark.parametrize("kind", ["process", "thread", "coroutine"])
LABEL = r'[a-z]+="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(
    rf"([a-z_]+)\{{({LABEL}(?:,{LABEL})*)\}} ([0-9.e+-]+)", re.ASCII
)
BUCKETS = 28


def fails(actor: Any) -> None:
    raise ValueError("as it is meant to")


async def mailbox_of(target: Any) -> dict[str, Any]:
    info = await pn.send(target, "info")
    found: dict[str, Any] = info["mailbox"]
    return found


def parse(text: str) -> dict[str, dict[str, float]]:
    """Samples by name and labels; what is against the format raises."""
    found: dict[str, dict[str, float]] = {}
    family = ""
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in found
            found[family] = {}
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2] == family
            assert line.split(" ")[3] in ("gauge", "counter", "histogram")
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            name, labels, value = match.groups()
            assert name.startswith(family)
            found.setdefault(name, {})[labels] = float(value)
    return found


@each_kind
def test_info_counts_what_the_mailbox_did(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind, max_inflight=1)
        for n in range(5):
            await pn.send(worker, "note", n)
        assert "as it is" in str(await failure(ask(worker, fails)))
        found = await mailbox_of(worker)
        assert found["handled"] == 7 and found["failed"] == 1
        assert found["queued"] == found["bytes"] == found["expired"] == 0
        assert found["oldest"] == 0.0 and found["dead_letters"] == 0
        pn.tell(worker, "no such command")
        await pn.send(worker, "note", 0)
        assert (await mailbox_of(worker))["dead_letters"] == 1

    run(main)


@each_kind
def test_info_tells_what_waits(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(
            kind=kind, max_inflight=1, timeout=0.2, exit_timeout=0.1
        )
        asked = [pn.send(worker, "pass_gate", n) for n in range(3)]

        def told() -> dict[str, Any]:
            found: dict[str, Any] = worker.info.get("mailbox", {})
            return found

        await until(lambda: told().get("queued") == 2, "two that wait")
        assert told()["in_flight"] == 1 and told()["bytes"] >= 0
        assert told()["oldest"] > 0
        worker.kill()
        await asyncio.gather(*asked, return_exceptions=True)

    run(main)


@each_kind
def test_info_has_a_histogram_for_each_command(kind: str) -> None:
    async def main() -> None:
        worker = await pn.spawn(kind=kind)
        for n in range(4):
            await pn.send(worker, "note", n)
            await pn.send(worker, "note_slowly", n)
        await failure(pn.send(worker, "note"))
        if kind == "coroutine":
            assert (await mailbox_of(worker))["commands"] == {}
        node = "arbiter" if kind == "coroutine" else worker
        found = (await mailbox_of(node))["commands"]
        assert found["note"]["count"] == 5 and found["note"]["failed"] == 1
        assert found["note_slowly"]["count"] == 4
        assert found["note_slowly"]["failed"] == 0
        for record in found.values():
            assert len(record["buckets"]) == BUCKETS
            assert sum(record["buckets"]) == record["count"]
            assert record["seconds"] >= 0

    run(main)


def test_latency_includes_what_a_task_waits_for() -> None:
    async def main() -> None:
        worker = await pn.spawn(kind="thread")
        begun = asyncio.get_running_loop().time()
        gate = pn.send(worker, "pass_gate")
        await pn.send(worker, "note", 0)
        shut = asyncio.get_running_loop().time()
        await until(
            lambda: asyncio.get_running_loop().time() > shut + 0.05,
            "a while",
        )
        opened = asyncio.get_running_loop().time()
        await ask(worker, commands.open_gate)
        await gate
        ended = asyncio.get_running_loop().time()
        record = (await mailbox_of(worker))["commands"]["pass_gate"]
        assert opened - shut <= record["seconds"] <= ended - begun

    run(main)


@each_kind
def test_metrics_of_an_actor_reach_the_arbiter(kind: str) -> None:
    async def main() -> None:
        name = 'odd "name"\\with\nall'
        worker = await pn.spawn(kind=kind, name=name, timeout=0.2)
        for n in range(10):
            await pn.send(worker, "note", n)
        labels = rf'actor="{worker.aid}",name="odd \"name\"\\with\nall"'
        labels = labels.replace("\\\\with", "\\\\with")
        handled = "pulsar_native_handled_total"

        def told() -> bool:
            return parse(pn.metrics())[handled].get(labels, 0) >= 10

        await until(told, "what the worker tells")

    run(main)


def test_histograms_are_cumulative() -> None:
    async def main() -> None:
        worker = await pn.spawn(kind="coroutine")
        for n in range(10):
            await pn.send(worker, "note", n)
        found = parse(pn.metrics())
        name = "pulsar_native_command_seconds"
        mine = 'command="note"'
        counts = [
            (labels, value)
            for labels, value in found[f"{name}_bucket"].items()
            if mine in labels
        ]
        values = [value for _, value in counts]
        assert len(values) == BUCKETS and values == sorted(values)
        assert counts[-1][0].endswith('le="+Inf"') and values[-1] == 10
        bounds = [float(re.findall('le="(.+)"', at)[0]) for at, _ in counts]
        assert bounds == [*(2**n / 1e6 for n in range(27)), float("inf")]
        for kind in ("sum", "count"):
            (value,) = [
                v for at, v in found[f"{name}_{kind}"].items() if mine in at
            ]
            assert value == 10 or kind == "sum"

    run(main)


def test_metrics_need_an_actor() -> None:
    with pytest.raises(RuntimeError, match="no actor"):
        pn.metrics()
