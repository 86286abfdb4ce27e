"""Ends for want of memory, by the count of a cgroup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from actors_help import run

import pulsar_native as pn
from pulsar_native import _oom
from pulsar_native._oom import OomKills

V2 = "low 0\nhigh 0\nmax 9\noom 7\noom_kill {}\noom_group_kill 0\n"
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"


@pytest.fixture
def count(tmp_path: Path) -> Any:
    path = tmp_path / "memory.events"

    def write(number: int, form: str = V2) -> Path:
        path.write_text(form.format(number))
        return path

    return write


@pytest.mark.parametrize("form", [V1, V2])
def test_each_kill_is_told_once(count: Any, form: str) -> None:
    kills = OomKills(count(3, form))
    kills.begin()
    assert kills.killed() is False
    count(5, form)
    assert [kills.killed() for _ in range(3)] == [True, True, False]
    count(6, form)
    kills.begin()
    assert [kills.killed() for _ in range(2)] == [True, False]


def test_kills_of_others_are_forgotten_in_time(count: Any) -> None:
    kills = OomKills(count(0))
    kills.begin()
    count(1)
    kills.look()
    assert kills.killed() is True  # it may have been just now
    count(2)
    kills.look()
    kills.look()
    assert kills.killed() is False
    kills.look()
    count(3)
    assert kills.killed() is True


def test_what_cannot_be_read_is_not_known(tmp_path: Path, count: Any) -> None:
    for path in (tmp_path / "none", tmp_path):
        kills = OomKills(path)
        assert kills.killed() is None
        kills.begin()
        kills.look()
        assert kills.killed() is None
    path = count(1)
    kills = OomKills(path)
    kills.begin()
    path.unlink()
    kills.look()
    assert kills.killed() is None
    count(1)
    kills.look()
    assert kills.killed() is None  # there is nothing to compare it with
    kills.look()
    assert kills.killed() is False


def test_the_count_of_this_process_is_found_or_not() -> None:
    path = _oom._find()
    assert path is None or "oom_kill " in path.read_text()


def test_a_report_says_so(count: Any, monkeypatch: Any) -> None:
    path = count(0)
    monkeypatch.setattr(_oom, "_find", lambda: path)

    async def killed() -> pn.Down:
        worker = await pn.spawn()
        down = pn.watch(worker)
        worker.kill()
        return await down

    async def main() -> None:
        assert (await killed()).oom is False
        worker = await pn.spawn()
        count(1)
        assert (await killed()).oom is True
        assert (await killed()).oom is False
        path.unlink()
        assert (await killed()).oom is None
        down = pn.watch(worker)
        worker.stop()
        assert (await down).oom is False  # nobody has killed it

    run(main)
