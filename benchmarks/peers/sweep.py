"""Run a command and leave no process of it: sweep.py SECONDS COMMAND...

What a peer starts may detach itself and outlive its parent. Here everything
that descends from the command is handed to this process when its parent ends,
and is killed when the command has ended, after so many seconds, or when the
parent of this process ends.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STOPPED = 124  # the exit code for a command that took too long


def children():
    """The processes whose parent this is."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                found.append(int(name))
    return found


def sweep():
    """Kill all that is left; what they had started comes here, too."""
    while pids := children():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def main():
    """Run, sweep, and end as the command did."""
    libc = ctypes.CDLL(None, use_errno=True)

    def set_option(option, value):
        if libc.prctl(option, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")

    def leave(number, _):
        # Nothing disturbs the sweep; what it waits for is short.
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    set_option(PR_SET_CHILD_SUBREAPER, 1)
    set_option(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    try:
        # Not in our group: pulsar's own end kills its group.
        command = subprocess.Popen(
            sys.argv[2:],
            start_new_session=True,
            preexec_fn=lambda: set_option(PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        code = command.wait(float(sys.argv[1]))
    except subprocess.TimeoutExpired:
        code = STOPPED
    finally:
        sweep()
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
