"""The recipe of a web service, run as a process under load."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from actors_help import Program, leftovers, run, wait_until

EXAMPLE = str(
    Path(__file__).parents[2] / "docs" / "examples" / "web_service.py"
)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield from leftovers()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Program, int]]:
    monkeypatch.setenv("LAG", "0.2")
    with Program(EXAMPLE) as program:
        word, port = program.line().rsplit(" ", 1)
        assert word == "listening on"
        yield program, int(port)
        wait_until(lambda: not program.group(), "nothing of it is left")


async def get(port: int, target: str) -> tuple[int, str]:
    """Status and body; ConnectionError where nobody listens."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        text = (await reader.read()).decode()
    finally:
        writer.close()
    if not text:
        raise ConnectionResetError("no answer")
    head, _, body = text.partition("\r\n\r\n")
    return int(head.split(" ")[1]), body.strip()


def test_no_request_is_lost_when_it_stops(
    service: tuple[Program, int],
) -> None:
    program, port = service
    answered = 0

    async def ask_on() -> None:
        """As a client behind a balancer: while it says it is ready."""
        nonlocal answered
        while (await get(port, "/ready"))[0] == 200:
            assert await get(port, "/count?one+two+three") == (200, "3")
            answered += 1

    async def main() -> None:
        assert await get(port, "/nothing") == (
            404,
            "there is /ready and /count",
        )
        clients = [asyncio.create_task(ask_on()) for _ in range(8)]
        while answered < 16:
            await asyncio.sleep(0.005)
        os.kill(program.pid, signal.SIGTERM)
        await asyncio.gather(*clients)

    run(main)
    code, out, err = program.result()
    assert (code, err) == (0, "")
    assert out.split("\n") == ["not ready any more", "bye", ""]


def test_requests_under_way_are_answered_after_the_listener_closes(
    service: tuple[Program, int],
) -> None:
    program, port = service

    async def main() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /count?a+b HTTP/1.1\r\n")  # more is to come
        await writer.drain()
        assert await get(port, "/ready") == (200, "ready")
        os.kill(program.pid, signal.SIGINT)
        with pytest.raises(OSError, match=r"(?i)connect|reset|answer"):
            while True:
                await get(port, "/ready")
        writer.write(b"\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\n2\n")
        writer.close()

    run(main)
    code, out, err = program.result()
    assert (code, err) == (0, "")
    assert out.endswith("bye\n")


def workers_of(pid: int) -> list[int]:
    """Those that its fork server has made, a spare among them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and pid in parents(int(entry.name))[1:]:
            found.append(int(entry.name))
    return found


def parents(pid: int) -> list[int]:
    """Its parent, and that one's."""
    found = []
    for _ in range(2):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
        found.append(pid)
    return found


def test_no_request_is_lost_when_its_workers_die(
    service: tuple[Program, int],
) -> None:
    program, port = service

    async def main() -> None:
        asked = [
            asyncio.create_task(get(port, "/count?one+two")) for _ in range(8)
        ]
        assert await get(port, "/count?one") == (200, "1")
        for pid in workers_of(program.pid):
            os.kill(pid, signal.SIGKILL)
        assert await get(port, "/count?a+b+c") == (200, "3")
        assert await asyncio.gather(*asked) == [(200, "2")] * 8

    run(main)
    os.kill(program.pid, signal.SIGTERM)
    code, out, err = program.result()
    assert (code, err) == (0, "")
    assert out.endswith("bye\n")


def test_a_second_signal_ends_it_at_once(
    service: tuple[Program, int],
) -> None:
    program, port = service

    async def main() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /count?a+b HTTP/1.1\r\n")  # and never more
        await writer.drain()
        await get(port, "/ready")
        os.kill(program.pid, signal.SIGTERM)

    run(main)
    assert program.line() == "not ready any more"
    os.kill(program.pid, signal.SIGTERM)
    code, _, _ = program.result()
    assert code == -signal.SIGTERM
