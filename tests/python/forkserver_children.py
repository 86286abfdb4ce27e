"""What runs in the fork server's children in tests."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import time


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _findings(link: int, master: int) -> dict[str, object]:
    fds = {int(name) for name in os.listdir("/proc/self/fd")}
    return {
        "fds": sorted(fd for fd in fds if _is_open(fd)),
        "expected": sorted({0, 1, 2, link, master} - {-1}),
        "stdin": os.readlink("/proc/self/fd/0"),
        "sigint_ignored": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        "sigterm": str(signal.getsignal(signal.SIGTERM)),
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "main": getattr(sys.modules["__main__"], "__file__", None),
        "modules": sorted(sys.modules),
        "ppid": os.getppid(),
    }


def _burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def _obey(order: str, link: int, master: int) -> int | None:
    """Carry out one order; an exit code ends the child."""
    if order.startswith("exit"):
        return int(order[4:])
    if order == "look":
        text = json.dumps(_findings(link, master))
        os.write(link, text.encode() + b"\n")
    elif order == "burn":
        _burn(0.2)
        return 0
    elif order == "grow":
        return len(b"x" * (64 << 20)) % 2
    elif order == "raise":
        raise LookupError("out of the child")
    elif order == "atexit":
        atexit.register(os.write, link, b"bye\n")
        return 0
    elif order == "print":
        print("printed", flush=True)
        return 0
    elif order == "abort":
        os.abort()
    return None


def obey(link: int, master: int, recorder: int) -> int:
    """Do what the link says, line by line; its end of file ends all."""
    try:
        os.write(link, b"ready\n")
        with open(link, "rb", buffering=0, closefd=False) as orders:
            for line in orders:
                code = _obey(line.decode().strip(), link, master)
                if code is not None:
                    return code
    except ConnectionError:
        pass  # another way in which a link ends
    return 0


def deaf(link: int, master: int, recorder: int) -> int:
    """Notice no end of file, no end of the master and no gentle signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(link, b"ready\n")
    while True:
        signal.pause()
