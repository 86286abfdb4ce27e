"""How long is it from asking for a process to its first byte?

The fork server's own share of a spawn, without actor, handshake or mailbox:
a child writes one byte to its link as soon as Python runs in it. Beside a
bare os.fork of a process with the same modules (the floor), multiprocessing's
forkserver with the same modules, and a new interpreter that imports asyncio.

    python benchmarks/first_byte.py [--count 200]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import os
import platform
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import pulsar_native
from pulsar_native import _forkserver

Case = Callable[[], float]


def child(link: int, master: int) -> int:
    """In a child of our fork server."""
    os.write(link, b"!")
    return 0


def other_child(writer: Connection) -> None:
    """In a child of multiprocessing's."""
    writer.send_bytes(b"!")


def fork_server() -> Case:
    channel = _forkserver.connect(child="first_byte:child")

    def measure() -> float:
        ours, theirs = socket.socketpair()
        begin = time.perf_counter()
        channel.spawn(1, (theirs.fileno(), -1, -1, -1))
        theirs.close()
        ours.recv(1)
        end = time.perf_counter()
        ours.close()
        kinds: list[str] = []
        while "exited" not in kinds:
            select.select([channel], [], [])
            for report in channel.receive():
                kinds.append(report[0])
                if report[0] == "started":
                    os.close(report[3])
        return end - begin

    return measure


def bare_fork() -> Case:
    gc.collect()
    gc.freeze()

    def measure() -> float:
        reader, writer = os.pipe()
        begin = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os.write(writer, b"!")
            os._exit(0)
        os.read(reader, 1)
        end = time.perf_counter()
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)
        return end - begin

    return measure


def std_forkserver() -> Case:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["asyncio", "cloudpickle", "first_byte"])

    def measure() -> float:
        reader, writer = context.Pipe(duplex=False)
        begin = time.perf_counter()
        process = context.Process(target=other_child, args=(writer,))
        process.start()
        reader.recv_bytes(1)
        end = time.perf_counter()
        process.join()
        return end - begin

    return measure


def new_interpreter() -> Case:
    code = "import asyncio, os; os.write(1, b'!')"

    def measure() -> float:
        begin = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            return time.perf_counter() - begin

    return measure


CASES = {
    "pulsar_native": fork_server,
    "os.fork, bare": bare_fork,
    "multiprocessing forkserver": std_forkserver,
    "new interpreter": new_interpreter,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    count = parser.parse_args().count
    print(
        f"pulsar_native {pulsar_native.__version__}, Python "
        f"{platform.python_version()}, {platform.release()}, "
        f"{os.cpu_count()} CPUs; milliseconds, {count} each"
    )
    assert asyncio  # so that the bare fork carries what the others do
    for name, make in CASES.items():
        measure = make()
        measure()  # the server's start is another question
        times = sorted(measure() * 1e3 for _ in range(count))
        print(
            f"{name:28} median {statistics.median(times):7.2f}   "
            f"least {times[0]:7.2f}   90 % {times[count * 9 // 10]:7.2f}"
        )


if __name__ == "__main__":
    main()
