"""The peer pykka: an actor is a thread with a queue.

With n in flight, batches of n asks are sent with ``block=False`` and then n
answers taken. Messages pass by reference: nothing is copied.
"""

import os
import platform
import time
from importlib.metadata import version

import pykka
from stopwatch import EXPECTED, Watch, WrongAnswer


class Adder(pykka.ThreadingActor):
    """Answers the sum of a tuple."""

    def on_receive(self, message):
        a, b = message
        return a + b


class Asker(pykka.ThreadingActor):
    """Asks from its own thread."""

    def on_receive(self, message):
        return drive(*message)


def drive(answerer, options):
    """Ask in batches for the measured time."""
    watch = Watch(options, [os.getpid()])
    clock, keep = time.perf_counter, watch.laps.append
    batch = range(options["inflight"])
    stop = clock()
    while stop < watch.end:
        sent = []
        for _ in batch:
            start = clock()
            sent.append((start, answerer.ask((1, 2), block=False)))
        for start, future in sent:
            answer = future.get()
            stop = clock()
            if answer != EXPECTED:
                raise WrongAnswer(answer)
            if watch.begin <= stop < watch.end:
                keep(stop - start)
        watch.asked += len(sent)
    return watch.result()


def measure(options, report):
    """Ask from the main thread, or from an actor's."""
    answerer = Adder.start()
    try:
        if options["asker"] == "main":
            result = drive(answerer, options)
        else:
            result = Asker.start().ask((answerer, options))
    finally:
        pykka.ActorRegistry.stop_all()
    result["versions"] = {
        "python": platform.python_version(),
        "pykka": version("pykka"),
    }
    report(result)
