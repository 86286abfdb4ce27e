"""The peer multiprocessing.Pipe: a blocking echo process, no loop.

With n in flight, batches of n asks are written and then n answers read.
"""

import multiprocessing
import os
import platform
import time

from stopwatch import EXPECTED, Watch, WrongAnswer, spawn_result


def add(a, b):
    """The sum, as in the other peers."""
    return a + b


def pin(cores):
    """Pin this process to *cores*; answers its pid."""
    os.sched_setaffinity(0, cores)
    return os.getpid()


COMMANDS = {"add": add, "pin": pin}


def echo_main(pipe):
    """Answer until the other end closes."""
    while True:
        try:
            name, args = pipe.recv()
        except EOFError:
            return
        pipe.send(COMMANDS[name](*args))


def start(context):
    """Start an echo process; answers our end of its pipe."""
    ours, theirs = context.Pipe()
    process = context.Process(target=echo_main, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return ours


def drive(pipe, options, pids):
    """Ask in batches for the measured time."""
    watch = Watch(options, pids)
    clock, keep = time.perf_counter, watch.laps.append
    batch = range(options["inflight"])
    stop = clock()
    while stop < watch.end:
        starts = []
        for _ in batch:
            starts.append(clock())
            pipe.send(("add", (1, 2)))
        for start_time in starts:
            answer = pipe.recv()
            stop = clock()
            if answer != EXPECTED:
                raise WrongAnswer(answer)
            if watch.begin <= stop < watch.end:
                keep(stop - start_time)
        watch.asked += len(starts)
    return watch.result()


def asks(options):
    """Ask an echo process from here."""
    pipe = start(multiprocessing.get_context("fork"))
    pipe.send(("pin", (options["far"],)))
    pids = [os.getpid(), pipe.recv()]
    os.sched_setaffinity(0, options["near"])
    return drive(pipe, options, pids)


def spawns(options):
    """Start echo processes one after another, then ten at once."""
    context = multiprocessing.get_context(options["context"])
    pipes, answered = [], []
    for _ in range(options["spawns"] + 1):
        begin = time.perf_counter()
        pipes.append(start(context))
        pipes[-1].send(("add", (1, 2)))
        if pipes[-1].recv() != EXPECTED:
            raise WrongAnswer
        answered.append((time.perf_counter() - begin) * 1e3)
    begin = time.perf_counter()
    ten = [start(context) for _ in range(10)]
    for pipe in ten:
        pipe.send(("add", (1, 2)))
    for pipe in ten:
        pipe.recv()
    together = (time.perf_counter() - begin) * 1e3
    return spawn_result(answered, answered, together)


def measure(options, report):
    """Measure and report."""
    result = (spawns if options["kind"] == "spawn" else asks)(options)
    result["versions"] = {"python": platform.python_version()}
    report(result)
