"""Log records of actors: they reach the arbiter's logging tree, and nothing
that an actor writes ever blocks it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from typing import Any

import actors_commands as commands
import pytest
from actors_help import ask, failure, program_output, run, until

import pulsar_native as pn

pytestmark = pytest.mark.usefixtures("nothing_left")


def log(actor: Any, name: str, level: int, text: str, *args: Any) -> None:
    logging.getLogger(name).log(level, text, *args)


def log_error(actor: Any) -> None:
    try:
        raise commands.Odd("logged")
    except commands.Odd:
        logging.getLogger("app").exception("it failed")


def log_in_threads(actor: Any, count: int) -> None:
    def many(number: int) -> None:
        for n in range(count):
            logging.getLogger("app.thread").warning("%d/%d", number, n)

    threads = [threading.Thread(target=many, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def record(caplog: Any, text: str) -> Any:
    found = [r for r in caplog.records if r.getMessage() == text]
    return found[0] if found else None


def test_a_record_arrives_with_aid_name_and_pid(caplog: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn(name="logger")
        await ask(worker, log, "app.part", logging.WARNING, "%s %d", "x", 5)
        found = await until(lambda: record(caplog, "x 5"), "the record")
        assert found.name == "app.part"
        assert found.levelno == logging.WARNING
        assert found.process == worker.pid
        assert found.aid == worker.aid
        assert found.actor_name == "logger"
        assert found.funcName == "log"

    run(main)


def test_a_record_carries_the_text_of_its_exception(caplog: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, log_error)
        found = await until(lambda: record(caplog, "it failed"), "it")
        assert "Odd: logged" in found.exc_text
        assert "in log_error" in found.exc_text

    run(main)
    assert "Odd: logged" in caplog.text


def test_records_of_threads_arrive(caplog: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, log_in_threads, 50)
        await until(
            lambda: sum(r.name == "app.thread" for r in caplog.records) == 200,
            "200 records",
        )

    run(main)


def test_levels_are_those_of_the_spawn(caplog: Any) -> None:
    async def main() -> None:
        with caplog.at_level(logging.DEBUG, logger="app.fine"):
            fine = await pn.spawn()
            await ask(fine, log, "app.fine", logging.DEBUG, "debug text")
            await until(lambda: record(caplog, "debug text"), "the record")
        coarse = await pn.spawn()
        await ask(coarse, log, "app.fine", logging.DEBUG, "not told")
        await ask(coarse, log, "app.fine", logging.ERROR, "told")
        await until(lambda: record(caplog, "told"), "the record")
        assert record(caplog, "not told") is None

    run(main)


@pytest.mark.parametrize("args", [("%d", "no int"), ("%s %s", "one")])
def test_a_record_that_cannot_be_formatted_ends_nobody(args: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, log, "app", logging.ERROR, *args)
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def test_values_that_cannot_travel_become_text(caplog: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, _log_extra)
        found = await until(lambda: record(caplog, "with extra"), "it")
        assert "lock" in found.thing
        assert found.number == 5

    run(main)


def _log_extra(actor: Any) -> None:
    extra = {"thing": threading.Lock(), "number": 5}
    logging.getLogger("app").warning("with extra", extra=extra)


def test_a_flood_of_records_is_bounded_and_what_is_dropped_counted(
    caplog: Any,
) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        flood = ask(worker, _flood_of_records, 20_000)
        time.sleep(0.3)  # the arbiter's loop is busy: nothing is read
        await flood
        dropped = await ask(worker, _dropped)
        assert dropped > 0
        count = sum(r.name == "app.flood" for r in caplog.records)
        assert count + dropped >= 20_000
        await ask(worker, log, "app", logging.ERROR, "afterwards")
        found = await until(lambda: record(caplog, "afterwards"), "it")
        assert found.dropped > 0

    run(main)


def _flood_of_records(actor: Any, count: int) -> None:
    logger = logging.getLogger("app.flood")
    for n in range(count):
        logger.error("%d %s", n, "x" * 200)


def _dropped(actor: Any) -> int:
    return sum(
        getattr(handler, "dropped", 0)
        for handler in logging.getLogger().handlers
    )


def test_local_logging_stays_where_it_is(caplog: Any, capfd: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn(logging="local")
        await ask(worker, log, "app", logging.ERROR, "stays there")
        assert await ask(worker, _root_handlers) == 0
        await pn.send(worker, "ping")

    run(main)
    assert record(caplog, "stays there") is None


def _root_handlers(actor: Any) -> int:
    return len(logging.getLogger().handlers)


def test_the_library_configures_no_root_logger() -> None:
    text = """
import asyncio, logging
import pulsar_native as pn
async def main():
    before = list(logging.getLogger().handlers), logging.getLogger().level
    worker = await pn.spawn()
    await pn.send(worker, "ping")
    after = list(logging.getLogger().handlers), logging.getLogger().level
    print(before == after == ([], logging.WARNING))
asyncio.run(main())
"""
    assert program_output("-c", text) == "True\n"


def test_a_handler_of_the_users_that_raises_ends_nobody() -> None:
    class Bad(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise commands.Odd("handler")

    logger = logging.getLogger("app.bad")
    handler = Bad()
    logger.addHandler(handler)

    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, log, "app.bad", logging.ERROR, "text")
        assert await pn.send(worker, "ping") == "pong"

    try:
        run(main)
    finally:
        logger.removeHandler(handler)


# --- standard error ---


def test_standard_error_is_shown(capfd: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, commands.write, "written by an actor")
        os_text = []

        def seen() -> bool:
            os_text.append(capfd.readouterr().err)
            return "written by an actor" in "".join(os_text)

        await until(seen, "the text")

    run(main)


def test_a_flood_of_standard_error_never_blocks_the_actor() -> None:
    async def main() -> None:
        worker = await pn.spawn()
        asked = ask(worker, _flood_of_text, 8 << 20)
        time.sleep(0.3)  # nobody reads the pipe meanwhile
        assert await asked == "done"
        assert await pn.send(worker, "ping") == "pong"

    stderr, sys.stderr = sys.stderr, open("/dev/null", "w")  # noqa: SIM115
    try:
        run(main)
    finally:
        sys.stderr.close()
        sys.stderr = stderr


def _flood_of_text(actor: Any, size: int) -> str:
    for _ in range(size // 4096):
        sys.stderr.write("x" * 4095 + "\n")
    sys.stderr.flush()
    return "done"


def test_a_closed_standard_error_of_the_arbiter_is_no_trouble() -> None:
    text = """
import asyncio, os
import pulsar_native as pn
import actors_commands as commands
async def main():
    os.close(2)
    worker = await pn.spawn()
    await pn.send(worker, "run", commands.write, "lost")
    print(await pn.send(worker, "ping"))
asyncio.run(main())
"""
    assert program_output("-c", text) == "pong\n"


def test_the_tail_of_standard_error_is_in_the_start_error() -> None:
    async def main() -> None:
        error = await failure(pn.spawn(start=_write_and_fail))
        assert isinstance(error, pn.ActorStartError)
        assert "last words ünï" in error.output
        assert "Odd" in error.traceback

    run(main)


def _write_and_fail(actor: Any) -> None:
    print("last words ünï", file=sys.stderr)
    raise commands.Odd("start")


def test_standard_output_is_inherited(capfd: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, _print)

    run(main)
    assert "printed by an actor" in capfd.readouterr().out


def _print(actor: Any) -> None:
    print("printed by an actor", flush=True)


def test_an_unhandled_task_exception_is_logged_here(caplog: Any) -> None:
    async def main() -> None:
        worker = await pn.spawn()
        await ask(worker, _callback_that_fails)
        await until(lambda: "Odd: callback" in caplog.text, "the record")
        assert await pn.send(worker, "ping") == "pong"

    run(main)


def _callback_that_fails(actor: Any) -> None:
    def fail() -> None:
        raise commands.Odd("callback")

    asyncio.get_running_loop().call_soon(fail)
