"""The core in subinterpreters, each with its own GIL: nothing is shared."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

if sys.version_info < (3, 12):
    pytest.skip("one GIL for all interpreters", allow_module_level=True)

interpreters: Any
if sys.version_info >= (3, 13):
    interpreters = pytest.importorskip("_interpreters")
else:
    interpreters = pytest.importorskip("_xxsubinterpreters")

PRELUDE = f"""
import sys
sys.path[:] = {sys.path!r}
import gc
from pulsar_native import _native
"""

FRAMES = """
parser = _native.FrameParser(kind=1)
other = _native.FrameParser()
for size in (0, 5, 200, 70000):
    data = other.encode(b"x" * size, 2)
    frame = parser.decode(data)
    assert frame is not None and frame.body == b"x" * size, frame
"""

COMMANDS = """
class Command(_native.BaseCommand):
    pass

command = Command()
command.name, command.function, command.ack = "double", None, True
command.function = lambda request, value: value * 2
proxy = _native.BaseProxy("aid", "name", 3)
assert proxy.number == 3 and proxy._ours
_native.new_generation()
assert not proxy._ours
"""

MAILBOXES = (
    COMMANDS
    + """
import asyncio, pickle

class Port:
    dumps = loads = staticmethod(pickle.loads)
    table = {"double": command}
    names = {}
    told = []

    def dumps(self, value, buffers):
        return pickle.dumps(value, 5)

    def dump_error(self, error):
        return pickle.dumps(error)

    def load_error(self, source, condition, data):
        return ValueError(condition)

    def resolve(self, target):
        return target, None

    def control(self, *told):
        self.told.append(told)

    start_task = defer = drive = lend = lost = fatal = failed = control
    explain = control
    doom = control
    define = introduce = proxy = actor = progress = control

    def future(self, *, loop):
        return loop.create_future()

async def main():
    loop = asyncio.get_running_loop()
    a, b = (_native.Mailbox(n, None, Port()) for n in (1, 2))
    ours, theirs = _native.link_pair()
    a.connect(2, ours)
    b.connect(1, theirs)
    for mailbox, other in ((a, 2), (b, 1)):
        mailbox.post(1, other, mailbox.hello())
        mailbox.attach(loop)
    for value in (1, [1], "x" * 100_000):
        assert await a.send(2, "double", (value,), {}) == value * 2
    for _ in range(300):
        assert await a.send(2, "double", (1,), {}) == 2
    try:
        await a.send(2, "nothing", (), {})
    except ValueError as error:
        assert str(error) == "unknown-command"
    else:
        raise AssertionError
    a.close()
    b.close()

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
"""
)

LOOPS = """
import asyncio

class Loop(_native.LoopCore, asyncio.SelectorEventLoop):
    _ready = _scheduled = property(lambda self: [], lambda self, value: None)

loop = Loop()

async def main():
    timer = loop.call_later(0.001, int)
    await asyncio.sleep(0.002)
    for _ in range(100):
        future = loop.create_future()
        loop.call_soon_threadsafe(future.set_result, 1)
        assert await future == 1
    assert isinstance(timer, asyncio.TimerHandle)

loop.run_until_complete(main())
loop.close()
"""


def run(source: str) -> None:
    """Run it in an interpreter of its own, with its own GIL, and end that."""
    one = interpreters.create()
    try:
        failure = interpreters.run_string(one, PRELUDE + source)
    finally:
        interpreters.destroy(one)
    # 3.12 raises, 3.13 returns what was raised.
    assert failure is None, failure.formatted


def at_once(count: int, call: Callable[[], None]) -> None:
    """Call it in so many threads; the first exception is raised here."""
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


@pytest.mark.parametrize(
    "source",
    [FRAMES, COMMANDS, MAILBOXES, LOOPS],
    ids=["frames", "types", "mailbox", "loop"],
)
def test_core_works_in_an_interpreter_of_its_own(source: str) -> None:
    for _ in range(3):
        run(source)


def test_interpreters_work_at_the_same_time() -> None:
    at_once(3, lambda: run(FRAMES + MAILBOXES + LOOPS))


def test_types_are_not_those_of_another_interpreter() -> None:
    from pulsar_native import _native

    before = sys.getrefcount(_native.Mailbox)
    run(f"assert id(_native.Mailbox) != {id(_native.Mailbox)}\n" + COMMANDS)
    after = sys.getrefcount(_native.Mailbox)
    assert after == before
    assert _native.BaseProxy("aid", "name", 1)._ours


def test_interpreter_ends_with_mailboxes_in_use() -> None:
    kept = "kept = a, b, [a.send(2, 'double', (1,), {}) for _ in range(3)]"
    closed = "    a.close()\n    b.close()\n"
    assert closed in MAILBOXES
    run(MAILBOXES.replace(closed, f"    global kept\n    {kept}\n"))
