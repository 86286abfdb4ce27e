"""Programs whose ``__main__`` cannot be imported: what they define goes by
value, and they are never run again."""

from __future__ import annotations

from typing import Any

import pytest
from actors_help import Program, program_output

pytestmark = pytest.mark.usefixtures("nothing_left")

# Its top level counts how often it runs.
PROGRAM = """
import asyncio, os, sys
import pulsar_native as pn

with open(os.environ["PN_COUNT"], "a") as file:
    file.write(".")

FACTOR = 10

class MyError(Exception):
    def __init__(self, text, detail):
        super().__init__(text, detail)
        self.detail = detail

class Point:
    def __init__(self, x):
        self.x = x
    def __eq__(self, other):
        return type(self) is type(other) and self.x == other.x

@pn.command()
def scale(request, point):
    return Point(point.x * FACTOR)

@pn.command()
async def fail(request):
    raise MyError("text", {"a": Point(1)})

@pn.command()
def helper_of(request, n):
    return helper(n)

def helper(n):
    return n if n == 0 else helper(n - 1) + FACTOR

def start(actor):
    actor.started_with = FACTOR

async def main():
    offset = 5
    worker, other = await asyncio.gather(
        pn.spawn(start=start), pn.spawn(start=lambda actor: None)
    )
    assert await pn.send(worker, "scale", Point(2)) == Point(20)
    assert await pn.send(worker, scale, Point(3)) == Point(30)
    assert await pn.send(worker, "helper_of", 3) == 30
    found = await pn.send(worker, "run", lambda actor: actor.started_with)
    assert found == 10
    found = await pn.send(worker, "run", lambda actor, n: n + offset, 1)
    assert found == 6
    try:
        await pn.send(worker, "fail")
    except MyError as error:
        assert error.detail == {"a": Point(1)}
    else:
        raise AssertionError("nothing was raised")

    # Registered only now, and sent by name, by object, and by a worker.
    @pn.command()
    def late(request, n):
        return n + offset

    assert await pn.send(worker, "late", 1) == 6
    assert await pn.send(other, late, 2) == 7

    # A definition replaced by another is another from then on.
    @pn.command()
    def late(request, n):
        return -n

    assert await pn.send(worker, "late", 1) == -1
    assert await pn.send("arbiter", "late", 1) == -1

    # Known in one worker only, which sends it to another one.
    await pn.send(worker, "run", define)
    found = await pn.send(worker, "run", use, other)
    assert found == "only there", found
    assert sys.modules["__main__"].__dict__ is globals()
    print("done")

def define(actor):
    @pn.command()
    def private(request):
        return "only there"

async def use(actor, target):
    return await pn.send(target, "private")

asyncio.run(main())
"""


@pytest.fixture
def count(tmp_path: Any, monkeypatch: Any) -> Any:
    path = tmp_path / "count"
    monkeypatch.setenv("PN_COUNT", str(path))
    return path


def test_a_script_without_guard_runs_once(count: Any, tmp_path: Any) -> None:
    script = tmp_path / "script with space.py"
    script.write_text(PROGRAM)
    assert program_output(str(script)) == "done\n"
    assert count.read_text() == "."


def test_a_program_of_the_command_line(count: Any) -> None:
    assert program_output("-c", PROGRAM) == "done\n"
    assert count.read_text() == "."


def test_a_module_that_is_run(
    count: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    (tmp_path / "package_here").mkdir()
    (tmp_path / "package_here" / "__init__.py").write_text("")
    (tmp_path / "package_here" / "__main__.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert program_output("-m", "package_here") == "done\n"
    assert count.read_text() == "."


def test_a_program_from_standard_input(count: Any) -> None:
    assert program_output("-", stdin=PROGRAM) == "done\n"
    assert count.read_text() == "."


def test_a_console_that_execs_its_cells(count: Any) -> None:
    console = """
import os, sys, types
main = types.ModuleType("__main__")
sys.modules["__main__"] = main
names = main.__dict__
text = open(os.environ["PN_PROGRAM"]).read()
exec(compile(text, "<cell 1>", "exec"), names)
"""
    path = count.parent / "cells.txt"
    path.write_text(PROGRAM)
    console = console.replace('os.environ["PN_PROGRAM"]', repr(str(path)))
    assert program_output("-c", console) == "done\n"
    assert count.read_text() == "."


def test_an_interactive_session(count: Any) -> None:
    lines = """
import asyncio, pulsar_native as pn
loop = asyncio.new_event_loop()
@pn.command()
def twice(request, n):
    return 2 * n

async def first():
    return await pn.spawn()

worker = loop.run_until_complete(first())
async def second(*args):
    return await pn.send(worker, *args)

loop.run_until_complete(second("twice", 21))
@pn.command()
def thrice(request, n):
    return 3 * n + len(str(twice))

loop.run_until_complete(second("thrice", 1)) > 3
loop.run_until_complete(second("run", lambda actor: "from a lambda"))
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
"""
    with Program("-i", "-q", stdin=lines) as program:
        code, out, err = program.result()
        assert code == 0, err
        assert out.split("\n")[:3] == ["42", "True", "'from a lambda'"], err
        assert "Traceback" not in err
