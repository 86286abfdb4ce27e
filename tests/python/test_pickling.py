"""How values travel between processes; the receivers are real processes."""

from __future__ import annotations

import asyncio
import enum
import importlib.util
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pickling_workers import Worker

from pulsar_native._importable import Importability
from pulsar_native._namespaces import known, namespaces
from pulsar_native._pickling import (
    dumps,
    dumps_exception,
    explain,
    is_plain,
    loads,
    loads_exception,
)
from pulsar_native.exceptions import (
    CommandError,
    PulsarException,
    RemoteError,
    RemoteTraceback,
)

HERE = Path(__file__).parent
PROGRAM = HERE / "pickling_program.py"
SOURCE = PROGRAM.read_text() + "\n"  # a console wants the empty line
CHECKS = [
    SOURCE[at + 11 : SOURCE.index("(", at)]
    for at in range(len(SOURCE))
    if SOURCE.startswith("@check\ndef ", at)
]

# The program as the user may run it: arguments of the interpreter, and
# what it reads from stdin.
LAUNCHERS: dict[str, Callable[[Path], tuple[list[str], str]]] = {
    "script": lambda tmp: ([str(PROGRAM)], ""),
    "command": lambda tmp: (["-c", SOURCE], ""),
    "stdin": lambda tmp: (["-"], SOURCE),
    "module": lambda tmp: (["-m", "pkg.mod"], ""),
    "interactive": lambda tmp: (["-i", "-q"], SOURCE),
    "console": lambda tmp: (["-c", "import code; code.interact()"], SOURCE),
    "asyncio console": lambda tmp: (["-m", "asyncio"], _EXEC),
    "runpy main": lambda tmp: (["-c", _RUNPY, str(PROGRAM), "__main__"], ""),
    "runpy name": lambda tmp: (["-c", _RUNPY, str(PROGRAM), "somewhere"], ""),
    "by location": lambda tmp: (["-c", _BY_LOCATION, str(PROGRAM)], ""),
    "made module": lambda tmp: (["-c", _MADE, str(PROGRAM)], ""),
}
_EXEC = f"exec(open({str(PROGRAM)!r}).read())\n"
_RUNPY = "import runpy, sys; runpy.run_path(sys.argv[1], run_name=sys.argv[2])"
_BY_LOCATION = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("elsewhere.mod", sys.argv[1])
module = sys.modules["elsewhere.mod"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""
_MADE = """
import sys, types
module = sys.modules["made"] = types.ModuleType("made")
exec(open(sys.argv[1]).read(), module.__dict__)
"""


@pytest.fixture(scope="module", params=list(LAUNCHERS))
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What the program says of its checks, run in one of the ways."""
    tmp = tmp_path_factory.mktemp("program")
    (tmp / "pkg").mkdir()
    (tmp / "pkg" / "__init__.py").touch()
    (tmp / "pkg" / "mod.py").write_text(SOURCE)
    args, stdin = LAUNCHERS[request.param](tmp)
    path = os.pathsep.join([str(HERE), *map(str, sys.path)])
    done = subprocess.run(
        [sys.executable, *args],
        input=stdin,
        cwd=tmp,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "RESULTS " in done.stdout, done.stderr[-5000:]
    printed = done.stdout.partition("RESULTS ")[2].splitlines()[0]
    found: dict[str, str] = json.loads(printed)
    return found


@pytest.mark.parametrize("name", CHECKS)
def test_definitions_of_a_program(results: dict[str, str], name: str) -> None:
    assert results[name] == "ok", results[name]


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as worker:
        yield worker


# Plain values


class Int(int):
    pass


PLAIN = [
    None,
    5,
    "x",
    b"\x93",
    (),
    ((1, 2), {}),
    ((), {"a": 1.5}),
    (([1, (2, b"")],), {"k": {"a": None}}),
]
NOT_PLAIN = [
    Int(3),
    (Int(3),),
    ((Int(3),), {}),
    ((), {"a": Int(3)}),
    (([[Int(3)]],), {}),
    {Int(3): 1},
    {1: [Int(3)]},
    int,
    lambda: None,
    Fraction(1, 3),
]


def short(value: object) -> str:
    """An id for a case: the same in each process, so no address in it."""
    text = repr(value)
    if len(text) > 40 or "0x" in text:
        text = getattr(value, "__name__", type(value).__name__)
    return text


@pytest.mark.parametrize("value", PLAIN, ids=short)
def test_plain_values_are_pickled_plainly(value: object) -> None:
    assert is_plain(value)
    assert dumps(value) == pickle.dumps(value, 5)


@pytest.mark.parametrize("value", NOT_PLAIN, ids=short)
def test_instances_are_not_plain(value: object) -> None:
    assert not is_plain(value)


@pytest.mark.parametrize(
    "value",
    [
        *PLAIN,
        Int(3),
        int,
        len,
        [].append,
        type(None),
        type(...),
        types.FunctionType,
        types.MethodType,
        os.path.join,
        json,
        Fraction(1, 3),
        enum.Enum,
        {1, 2},
        list(range(1000)),
        [[[[[[1]]]]]],
        {"a": {"b": {"c": [1, {"d": (2,)}]}}},
        os.environ.copy(),
        Path("/tmp"),
        range(3),
        bytearray(b"x"),
    ],
    ids=short,
)
def test_values_arrive_equal(worker: Worker, value: Any) -> None:
    arrived = worker(lambda value: value, value)
    if type(value) is not types.BuiltinFunctionType:
        assert arrived == value
    assert type(arrived) is type(value)


def test_importable_functions_go_by_reference() -> None:
    for value in (json.dumps, json.JSONEncoder, Fraction, Path.exists):
        assert dumps(value) == pickle.dumps(value, 5)


def test_views_are_loaded() -> None:
    data = dumps((1, [2]))
    assert loads(memoryview(data)) == loads(bytearray(data)) == (1, [2])


# Modules


def test_modules_that_another_process_finds() -> None:
    is_importable = Importability()
    for name in ("sys", "os", "json.decoder", "posixpath", "asyncio.events"):
        assert is_importable(name), name


@pytest.mark.parametrize("name", ["__main__", "__mp_main__", "no.such"])
def test_programs_are_not_importable(name: str) -> None:
    assert not Importability()(name)


def load_from(path: Path, name: str, mp: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    mp.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_verdict_follows_sys_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pn_somewhere.py").write_text("def f(): pass\n")
    load_from(tmp_path / "pn_somewhere.py", "pn_somewhere", monkeypatch)
    is_importable = Importability()
    assert not is_importable("pn_somewhere")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert is_importable("pn_somewhere")
    monkeypatch.setattr(sys, "path", sys.path[1:])
    assert not is_importable("pn_somewhere")


def test_verdict_follows_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pn_here.py").touch()
    (tmp_path / "other").mkdir()
    load_from(tmp_path / "pn_here.py", "pn_here", monkeypatch)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.chdir(tmp_path)
    is_importable = Importability()
    assert is_importable("pn_here")
    monkeypatch.chdir(tmp_path / "other")
    assert not is_importable("pn_here")


def test_a_module_of_the_same_name_elsewhere_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pn_twin.py").touch()
    load_from(tmp_path / "a" / "pn_twin.py", "pn_twin", monkeypatch)
    monkeypatch.syspath_prepend(str(tmp_path / "b"))
    assert not Importability()("pn_twin")


def test_submodules_need_importable_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pn_pkg").mkdir()
    for name in ("__init__", "sub"):
        (tmp_path / "pn_pkg" / f"{name}.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("pn_pkg.sub")
    assert Importability()("pn_pkg.sub")
    monkeypatch.delitem(sys.modules, "pn_pkg")
    assert not Importability()("pn_pkg.sub")
    monkeypatch.delitem(sys.modules, "pn_pkg.sub")


def test_no_module_is_imported_to_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pn_bomb.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "pn_bomb", types.ModuleType("pn_bomb"))
    assert not Importability()("pn_bomb")


def test_a_module_made_by_hand_travels(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = types.ModuleType("pn_made")
    monkeypatch.setitem(sys.modules, "pn_made", module)
    exec("LIMIT = 3\ndef limit(): return LIMIT", module.__dict__)
    assert worker(module.limit) == 3
    assert worker(lambda: module.limit() + module.LIMIT) == 6


# Hostile values


class Sly:
    def __reduce__(self) -> Any:
        raise ZeroDivisionError("no")


class Stubborn:
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise KeyError("no")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def refused() -> list[tuple[str, Any, type[BaseException]]]:
    with socket.socket() as closed:
        pass
    return [
        ("lock", threading.Lock(), TypeError),
        ("generator", (n for n in ()), TypeError),
        ("socket", closed, TypeError),
        ("file", sys.__stdout__, TypeError),
        ("reduce raises", Sly(), ZeroDivisionError),
        ("reduce_ex raises", Stubborn(), KeyError),
        ("deep list", nested(100_000), RecursionError),
        ("deep list of instances", [nested(100_000), Sly], RecursionError),
    ]


@pytest.mark.parametrize(
    "value, error",
    [pytest.param(value, error, id=name) for name, value, error in refused()],
)
def test_what_cannot_be_pickled_fails_at_the_sender(
    value: object, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        dumps(((value,), {}))
    with pytest.raises(error):
        dumps(lambda: value)


@pytest.mark.parametrize(
    "make", [threading.Lock, lambda: (n for n in ())], ids=["lock", "gen"]
)
def test_a_result_that_cannot_be_pickled_is_the_reply(
    worker: Worker, make: Any
) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        worker(make)
    assert worker(int) == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of 3.12")
def test_type_parameters_arrive(worker: Worker) -> None:
    names: dict[str, Any] = {"__name__": "pn_typed"}
    source = (
        "type Many[T] = list[T]\n"
        "def one[T](value: T) -> Many[T]: return [value]\n"
        "class Holder[T]:\n"
        "    def get(self, value: T) -> T: return value\n"
    )
    exec(source, names)
    one, holder = names["one"], names["Holder"]
    assert worker(one, 3) == [3]
    assert worker(lambda: holder[int]().get(4)) == 4
    params = worker(
        lambda f, c: f.__type_params__ + c.__type_params__, one, holder
    )
    assert params == one.__type_params__ + holder.__type_params__


def test_recursive_values_arrive(worker: Worker) -> None:
    value: list[Any] = [1]
    value.append(value)
    arrived = worker(lambda value: (value, value[1] is value), value)
    assert arrived[1] and arrived[0][1] is arrived[0]


def test_a_failed_message_leaves_nothing_half_made(worker: Worker) -> None:
    message = dumps((pick_from_missing_module(), ()))
    for _ in range(2):
        done, reply = loads(worker.exchange(message))
        assert not done
        assert isinstance(loads_exception(reply), ImportError)


def pick_from_missing_module() -> Any:
    class Missing:
        def __reduce__(self) -> Any:
            return importlib.import_module, ("pn_no_such_module",)

    missing = Missing()
    return lambda: missing


# Explanations


@pytest.mark.parametrize(
    "args, kwargs, note",
    [
        ((1, threading.Lock()), {}, "argument 2, of type _thread.lock,"),
        ((1,), {"k": threading.Lock()}, "argument 'k', of type _thread.lock,"),
        ((Sly(),), {}, f"argument 1, of type {__name__}.Sly,"),
    ],
)
def test_notes_tell_which_argument(
    args: tuple[object, ...], kwargs: dict[str, object], note: str
) -> None:
    with pytest.raises((TypeError, ZeroDivisionError)) as info:
        dumps((args, kwargs))
    error = explain(info.value, args, kwargs)
    assert error is info.value
    assert [n for n in error.__notes__ if n.startswith(note)]


# Exceptions


def travelled(exc: BaseException) -> BaseException:
    try:
        raise exc
    except BaseException as raised:
        return loads_exception(dumps_exception(raised))


def test_exceptions_have_the_remote_traceback_as_cause() -> None:
    exc = travelled(ValueError("x", 1))
    assert type(exc) is ValueError and exc.args == ("x", 1)
    assert type(exc.__cause__) is RemoteTraceback
    assert "raise exc" in str(exc.__cause__)
    assert "ValueError: ('x', 1)" in str(exc.__cause__)


def test_notes_and_the_chain_are_kept() -> None:
    exc = ValueError("outer")
    exc.add_note("a note")
    exc.__cause__ = KeyError("inner")
    arrived = travelled(exc)
    assert arrived.__notes__ == ["a note"]
    assert "KeyError: 'inner'" in str(arrived.__cause__)
    assert "a note" in str(arrived.__cause__)


def test_exceptions_forwarded_keep_the_first_traceback() -> None:
    arrived = travelled(travelled(ValueError("x")))
    assert str(arrived.__cause__).count("ValueError: x") == 2


def test_groups_travel() -> None:
    group = ExceptionGroup(
        "g", [ValueError(1), ExceptionGroup("h", [OSError(2)])]
    )
    arrived = travelled(group)
    assert isinstance(arrived, ExceptionGroup)
    assert repr(arrived) == repr(group)


class Hidden(Exception):
    def __str__(self) -> str:
        raise SystemExit("no str")

    def __repr__(self) -> str:
        raise KeyboardInterrupt("no repr")


class Locked(Exception):
    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class Fussy(Exception):
    def __init__(self, a: object, b: object) -> None:
        super().__init__(a)


class Liar(Exception):
    def __reduce__(self) -> Any:
        return int, (3,)


class Stopper(Exception):
    def __reduce__(self) -> Any:
        return StopIteration, ()


class BadNotes(Exception):
    __notes__ = 3  # type: ignore[assignment]


class Exiting(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit


@pytest.mark.parametrize(
    "exc, name, message",
    [
        (Locked(), "Locked", "locked"),
        (Fussy("a", "b"), "Fussy", "a"),
        (Liar("x"), "Liar", "x"),
        (Stopper("x"), "Stopper", "x"),
        (Exiting("x"), "Exiting", "x"),
        (StopIteration(3), "StopIteration", "3"),
        (StopAsyncIteration(), "StopAsyncIteration", ""),
        (GeneratorExit(), "GeneratorExit", ""),
        (asyncio.CancelledError("c"), "CancelledError", "c"),
        (
            ExceptionGroup("g", [Locked()]),
            "ExceptionGroup",
            "g (1 sub-exception)",
        ),
    ],
    ids=short,
)
def test_exceptions_that_cannot_travel_are_remote_errors(
    exc: BaseException, name: str, message: str
) -> None:
    exc.add_note("noted")
    arrived = travelled(exc)
    assert type(arrived) is RemoteError
    assert arrived.type_name.rpartition(".")[2] == name
    assert arrived.message == message
    assert name in arrived.traceback and "raise exc" in arrived.traceback
    assert type(arrived.__cause__) is RemoteTraceback
    assert arrived.__notes__ == ["noted"]


@pytest.mark.parametrize(
    "exc", [Hidden(), BadNotes("x")], ids=["str", "notes"]
)
def test_hostile_exceptions_travel(exc: BaseException) -> None:
    arrived = travelled(exc)
    assert type(arrived) is type(exc)
    assert "raise exc" in str(arrived.__cause__)


def test_an_exception_that_only_the_receiver_cannot_make(
    worker: Worker,
) -> None:
    def fail() -> None:
        class Local(Exception):
            def __init__(self, text: str = "") -> None:
                import pn_only_here

                super().__init__(text + str(pn_only_here))

        sys.modules["pn_only_here"] = types.ModuleType("pn_only_here")
        raise Local("x")

    with pytest.raises(RemoteError, match="Local"):
        worker(fail)


def test_garbage_is_a_remote_error() -> None:
    for data in (b"", b"junk", dumps(3), dumps(("a", "b", "c", [], b"junk"))):
        assert isinstance(loads_exception(data), RemoteError)


def test_remote_errors_are_command_errors_and_travel() -> None:
    error = RemoteError("mod.Err", "message", "text")
    assert isinstance(error, CommandError)
    assert isinstance(error, PulsarException)
    assert str(error) == "mod.Err: message"
    arrived = travelled(error)
    assert type(arrived) is RemoteError
    assert vars(arrived) == vars(error)


# Threads and forks


def test_threads_load_one_class() -> None:
    source = "class Fresh:\n" + "".join(
        f"    def m{n}(self): return {n}\n" for n in range(50)
    )
    with Worker() as worker:
        message = worker(make_class_message, source)
    found: list[Any] = []
    start = threading.Barrier(4)

    def load() -> None:
        start.wait()
        cls = loads(message)
        found.append((cls, cls().m49()))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({cls for cls, _ in found}) == 1
    assert [value for _, value in found] == [49] * 4


def test_what_a_gone_origin_sent_is_forgotten() -> None:
    with Worker() as worker:
        message = worker(make_class_message, "class Gone: pass\n")
    cls = loads(message)
    home = known.home(cls)
    assert home and namespaces.get(home)
    namespaces.forget(home[0])
    assert namespaces.get(home) is None
    assert loads(message) is cls


def make_class_message(source: str) -> bytes:
    import __main__

    exec(source, __main__.__dict__)
    name = source.split()[1].rstrip(":")
    return dumps(getattr(__main__, name))


def test_a_forked_child_is_another_origin() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, dumps(lambda: "child"))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    mine = loads(dumps(lambda: "parent"))
    theirs = loads(os.read(read, 100_000))
    os.close(read)
    os.close(write)
    assert (mine(), theirs()) == ("parent", "child")
