"""The peer Ray of death.py and restart.py: an actor on a node of this machine.

A call under way fails with RayActorError (ActorDiedError), or, with
max_restarts=-1 and max_task_retries=-1, is made again in the actor's next
process.
"""

import json
import os
import signal
import sys
import time

from rays import node, ray  # not by itself: that sets what it reads


class Waiter:
    """Works without end; asked about that by another thread."""

    def __init__(self):
        self.works = False

    def wait_once(self, pid):
        """Only the process *pid* never answers."""
        self.works = True
        while os.getpid() == pid:
            time.sleep(3600)
        return os.getpid()

    def working(self):
        """Whether a call is under way, and where."""
        return self.works, os.getpid()

    def pid(self):
        """The process it is in."""
        return os.getpid()


def kill_at_work(actor):
    """The call under way, and when the process was killed."""
    pid = ray.get(actor.pid.remote())
    asked = actor.wait_once.remote(pid)
    while ray.get(actor.working.remote()) != (True, pid):
        time.sleep(0.001)
    begin = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return asked, begin, pid


def death(make):
    """Until the call has failed; an actor each."""
    while True:
        asked, begin, _ = kill_at_work(make())
        try:
            ray.get(asked)
        except ray.exceptions.RayActorError:
            yield time.monotonic() - begin
        else:
            raise AssertionError("it answered")


def restart(make):
    """Until the call is answered by the next process of the one actor."""
    actor = make(max_restarts=-1, max_task_retries=-1)
    while True:
        asked, begin, pid = kill_at_work(actor)
        assert ray.get(asked) != pid
        yield time.monotonic() - begin


def main(question, count):
    """All times."""

    def make(**options):
        kind = ray.remote(Waiter)
        return kind.options(num_cpus=0, max_concurrency=2, **options).remote()

    with node():
        endless = {"death": death, "restart": restart}[question](make)
        next(endless)  # the first process is another question
        times = [next(endless) for _ in range(count)]
    print(json.dumps({"times": times, "version": ray.__version__}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
