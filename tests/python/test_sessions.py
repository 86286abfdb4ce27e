"""Interactive sessions: a terminal, a console inside a program, notebooks;
and commands of modules that were loaded in unusual ways."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pty
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from actors_help import PATIENCE, Program, environment, program_output

pytestmark = pytest.mark.usefixtures("nothing_left")


class Terminal:
    """A program whose terminal is here, ended with the block."""

    def __init__(self, *arguments: str) -> None:
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            names = environment() | {"TERM": "dumb", "PYTHON_BASIC_REPL": "1"}
            os.execve(sys.executable, [sys.executable, *arguments], names)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self.fd)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def type(self, text: str) -> None:
        """Type lines, each with its Return."""
        for line in text.splitlines():
            os.write(self.fd, line.encode() + b"\n")

    def interrupt(self) -> None:
        """Type Ctrl-C until it is seen: what is typed while the prompt is
        being made may be dropped."""
        for _ in range(20):
            os.write(self.fd, b"\x03")
            with contextlib.suppress(AssertionError):
                self.wait_for("KeyboardInterrupt", PATIENCE / 20)
                return
        self.wait_for("KeyboardInterrupt")

    def wait_for(self, what: str, patience: float = PATIENCE) -> None:
        """Read until the terminal shows it."""
        deadline = time.monotonic() + patience
        while what not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f"{what!r} is not in {self.text}"
            if select.select([self.fd], [], [], left)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    data = b""
                assert data, f"it ended without {what!r}: {self.text}"
                self.text += data.decode(errors="replace")


# What one types. Results are split, for what is typed is echoed.
SESSION = """\
import asyncio, pulsar_native as pn
loop = asyncio.new_event_loop()
async def go(what, *args): return await what(*args)

def do(*args): return loop.run_until_complete(go(*args))

@pn.command()
def twice(request, n):
    return 2 * n

class MyError(Exception): pass

@pn.command()
def fails(request): raise MyError("mine")

w = do(pn.spawn)
"one" + str(do(pn.send, w, "twice", 21))
try: do(pn.send, w, "fails")
except MyError as e: print("caught" + str(e))

@pn.command()
def twice(request, n):
    return 200 * n

"two" + str(do(pn.send, w, "twice", 21))
"three" + str(do(pn.send, w, "run", lambda actor, x: x + 1, 99))
do(pn.shutdown); loop.close(); "all" + "done"
"""


def play(terminal: Terminal) -> None:
    terminal.wait_for(">>>")
    terminal.type(SESSION)
    for what in ("one42", "caughtmine", "two4200", "three100", "alldone"):
        terminal.wait_for(what)
    assert "Traceback" not in terminal.text, terminal.text


def test_a_session_on_a_terminal() -> None:
    with Terminal("-i", "-q") as terminal:
        play(terminal)
        terminal.type("exit()")


def test_a_console_inside_a_program(tmp_path: Path) -> None:
    script = tmp_path / "console.py"
    script.write_text("import code\ncode.interact(local=globals())\n")
    with Terminal(str(script)) as terminal:
        play(terminal)


def test_a_session_after_a_script(tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = tmp_path / "before.py"
    script.write_text(
        f"open({str(count)!r}, 'a').write('.')\n"
        "def helper(n): return n + 1000\n"
    )
    with Terminal("-i", str(script)) as terminal:
        play(terminal)
        terminal.type(
            "loop = asyncio.new_event_loop()\n"
            "w = do(pn.spawn)\n"
            "'four' + str(do(pn.send, w, 'run', lambda a: helper(1)))\n"
            "do(pn.shutdown); 'all' + 'over'\n"
        )
        terminal.wait_for("four1001")
        terminal.wait_for("allover")
    assert count.read_text() == "."


def test_control_c_at_the_prompt_leaves_the_actors_alone() -> None:
    with Terminal("-i", "-q") as terminal:
        terminal.wait_for(">>>")
        terminal.type(SESSION.partition("try: do(")[0])
        terminal.wait_for("one42")
        terminal.interrupt()
        terminal.type("'again' + str(do(pn.send, w, 'twice', 50))")
        terminal.wait_for("again100")
        terminal.type("do(pn.shutdown); 'all' + 'over'")
        terminal.wait_for("allover")


# Cells as a notebook runs them: compiled one by one, awaited in one loop.
NOTEBOOK = r"""
import ast, asyncio, inspect, sys, types

main = types.ModuleType("__main__")
sys.modules["__main__"] = main
loop = asyncio.new_event_loop()

def cell(number, text):
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(text, f"<cell {number}>", "exec", flags)
    result = eval(code, main.__dict__)
    if inspect.iscoroutine(result):
        loop.run_until_complete(result)

CELLS = open(sys.argv[1]).read().split("# %%\n")
for number, text in enumerate(CELLS):
    cell(number, text)
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
print("cells done")
"""

CELLS = """\
import pulsar_native as pn

class MyError(Exception):
    pass

class Point:
    def __init__(self, x):
        self.x = x

@pn.command()
def answer(request):
    return "first"

RATE = 10
# %%
w = await pn.spawn(name="w")
v = await pn.spawn(name="v")
assert await pn.send(w, "answer") == "first"
# %%
@pn.command()
def answer(request):
    return "second"
# %%
assert await pn.send(w, "answer") == "second"
assert await pn.send(w, answer) == "second"
assert await pn.send(v, "answer") == "second"
assert await pn.send("arbiter", "answer") == "second"
# %%
def rate(actor):
    return RATE

def double(actor, point):
    return Point(2 * point.x)

found = await pn.send(w, "run", double, Point(4))
assert isinstance(found, Point) and found.x == 8
assert type(found) is Point
assert await pn.send(w, "run", rate) == 10
# %%
def fails(actor):
    raise MyError("mine")

try:
    await pn.send(w, "run", fails)
except MyError as error:
    assert type(error) is MyError
else:
    raise AssertionError("nothing was raised")
# %%
async def catches(actor):
    try:
        await pn.send("v", "run", fails)
    except MyError as error:
        return type(error), error

kind, error = await pn.send(w, "run", catches)
assert kind is MyError and type(error) is MyError
# %%
class Point:
    def __init__(self, x):
        self.x = x
        self.new = True

def make(actor):
    return Point(1)

found = await pn.send(w, "run", make)
assert type(found) is Point and found.new
# %%
def start(actor):
    actor.extra["start"] = RATE

async def stopping(actor):
    await pn.send("arbiter", "note", Point(RATE))

def periodic(actor):
    actor.extra["periodic"] = RATE

def on_info(actor, info=None):
    info["of mine"] = RATE

notes = []

@pn.command()
def note(request, what):
    notes.append(what)

u = await pn.spawn(
    start=start,
    stopping=[stopping, lambda actor: None],
    periodic_task=periodic,
    on_info=on_info,
    own=Point(5),
)
info = await pn.send(u, "info")
assert info["of mine"] == 10, info
assert info["extra"]["start"] == 10
assert (await pn.send(u, "run", lambda actor: actor.own)).x == 5
pn.tell(u, "stop")
await u.join(20)
assert [type(one) for one in notes] == [Point]
# %%
def counter():
    count = 0
    def count_up(actor):
        nonlocal count
        count += 1
        return count
    return count_up

up = counter()
assert await pn.send(w, "run", up) == 1
assert up(None) == 1  # a copy counted there
# %%
await pn.shutdown()
"""


def test_cells_of_a_notebook(tmp_path: Path) -> None:
    (tmp_path / "cells.txt").write_text(CELLS)
    script = tmp_path / "notebook.py"
    script.write_text(NOTEBOOK)
    out = program_output(str(script), str(tmp_path / "cells.txt"))
    assert out == "cells done\n"


@pytest.mark.skipif(
    importlib.util.find_spec("IPython") is None, reason="needs IPython"
)
def test_cells_of_ipython(tmp_path: Path) -> None:
    (tmp_path / "cells.txt").write_text(CELLS)
    program = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for text in open(sys.argv[1]).read().split("# %%\\n"):
    shell.run_cell(text).raise_error()
print("cells done")
"""
    script = tmp_path / "shell.py"
    script.write_text(program)
    out = program_output(str(script), str(tmp_path / "cells.txt"))
    assert out.endswith("cells done\n")


# --- modules ---

MODULE = """
import pulsar_native as pn

class Fault(Exception):
    pass

class Thing:
    pass

@pn.command()
def of_{name}(request):
    return __name__, Thing()

@pn.command()
def fault_of_{name}(request):
    raise Fault(__name__)

def plain(actor):
    return __name__, Thing()
"""

MODULES = """
import asyncio, importlib, importlib.util, sys
import pulsar_native as pn

def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module

async def check(worker, module, name):
    for target in (worker, "arbiter"):
        found, thing = await pn.send(target, "of_" + name)
        assert found == module.__name__, found
        assert type(thing) is module.Thing
        try:
            await pn.send(target, "fault_of_" + name)
        except module.Fault as error:
            assert str(error) == module.__name__
        found, thing = await pn.send(target, "run", module.plain)
        assert type(thing) is module.Thing

async def main():
    folder = sys.argv[1]
    early = await pn.spawn()
    modules = {
        "usual": importlib.import_module("usual"),
        "byPath".lower(): load("bypath", folder + "/elsewhere/odd-name.py"),
    }
    late = await pn.spawn()
    for name, module in modules.items():
        for worker in (early, late):
            await check(worker, module, name)

    # Loaded only in a worker, which sends its command to another one.
    found = await pn.send(early, "run", load_and_ask, late, folder)
    assert found == "only", found
    print("modules done")

async def load_and_ask(actor, target, folder):
    load("only", folder + "/elsewhere/only.py")
    name, thing = await pn.send(target, "of_only")
    assert type(thing) is sys.modules["only"].Thing
    return name

asyncio.run(main())
"""


def test_commands_of_modules_by_name_and_by_path(
    tmp_path: Path, monkeypatch: Any
) -> None:
    elsewhere = tmp_path / "elsewhere"
    path = tmp_path / "path"
    elsewhere.mkdir()
    path.mkdir()
    (path / "usual.py").write_text(MODULE.format(name="usual"))
    (elsewhere / "odd-name.py").write_text(MODULE.format(name="bypath"))
    (elsewhere / "only.py").write_text(MODULE.format(name="only"))
    monkeypatch.syspath_prepend(str(path))
    script = tmp_path / "script.py"
    script.write_text(MODULES)
    assert program_output(str(script), str(tmp_path)) == "modules done\n"


def test_a_script_that_fails_at_its_end_leaves_nothing(
    tmp_path: Path,
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        """
import asyncio
import pulsar_native as pn

async def main():
    await pn.spawn()
    raise ValueError("the end")

asyncio.run(main())
"""
    )
    with Program(str(script)) as program:
        code, _, err = program.result()
        assert code == 1
        assert err.rstrip().endswith("ValueError: the end")
        assert not program.group()
