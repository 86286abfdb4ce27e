"""What ``_native.Restarts`` does, said plainly: lists, and scans of them.

Times are whole nanoseconds. An event gives the list of what is to be done:
(what, id, nanoseconds).
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Child", "Model"]

Action = tuple[str, int, int]


@dataclass
class Child:
    id: int
    rank: int
    restart: str
    state: str = "idle"
    after: str = "ended"  # of one that stops
    awaited: bool = False
    starts: int = 0
    attempts: int = 0
    up_since: int = 0
    due: int = 0


@dataclass
class Model:
    strategy: str
    max_restarts: int
    within: int
    backoff: int
    backoff_max: int
    phase: str = "open"  # stop, wait, start; ending, closed
    children: list[Child] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    lowest: int = 0  # of a group: ranks above it stop
    at: int = 0  # the rank that the phase has come to
    group_due: int = 0
    last_id: int = 0
    last_rank: int = 0
    actions: list[Action] = field(default_factory=list)

    def child(self, id: int) -> Child | None:
        return next((c for c in self.children if c.id == id), None)

    def over(self) -> bool:
        return self.phase in ("ending", "closed")

    def add(self, restart: str, beside: int) -> int:
        other = self.child(beside)
        self.last_id += 1
        if other is None:
            self.last_rank += 1
            child = Child(self.last_id, self.last_rank, restart)
            self.children.append(child)
        else:
            child = Child(self.last_id, other.rank, restart)
            self.children.insert(self.children.index(other) + 1, child)
        return self.last_id

    def remove(self, id: int) -> bool:
        child = self.child(id)
        assert child is not None
        if child.state in ("starting", "up", "stopping"):
            return False
        self.children.remove(child)
        return True

    # --- steps ---

    def become(self, child: Child, state: str) -> None:
        child.state, child.awaited = state, False

    def begin(self, child: Child) -> None:
        self.become(child, "starting")
        child.starts += 1
        self.actions.append(("start", child.id, 0))

    def halt_child(self, child: Child, after: str) -> None:
        self.become(child, "stopping")
        child.after = after
        self.actions.append(("stop", child.id, 0))

    def sweep(self, child: Child) -> None:
        stays = self.over() or child.restart == "temporary"
        after = "ended" if stays else "held"
        if child.state in ("starting", "up"):
            self.halt_child(child, after)
            child.awaited = True
        elif child.state == "stopping":
            if child.after != "ended":
                child.after = after
            child.awaited = True

    def settle(self) -> None:
        """Go on with the phase until something is awaited."""
        while not any(c.awaited for c in self.children):
            if self.phase in ("stop", "ending"):
                ranks = [c.rank for c in self.children]
                ranks = [r for r in ranks if self.lowest < r < self.at]
                if ranks:
                    self.at = max(ranks)
                    for child in reversed(self.children):
                        if child.rank == self.at:
                            self.sweep(child)
                elif self.phase == "stop":
                    self.phase = "wait"
                    return
                else:
                    self.phase = "closed"
                    self.actions.append(("stopped", 0, 0))
                    return
            elif self.phase == "start":
                held = [c.rank for c in self.children if c.state == "held"]
                if not held:
                    self.phase = "open"
                    return
                self.at = min(held)
                for child in self.children:
                    if child.rank == self.at and child.state == "held":
                        self.begin(child)
                        child.awaited = True
            else:
                return

    def begin_down(self, phase: str, lowest: int) -> None:
        for child in self.children:
            child.awaited = False
        self.phase, self.lowest, self.at = phase, lowest, self.last_rank + 1

    def end_all(self) -> None:
        self.begin_down("ending", 0)
        for child in self.children:
            if child.state in ("waiting", "held"):
                self.become(child, "ended")
        self.settle()

    def delay(self, child: Child, random: int) -> int:
        delay = min(self.backoff * 2**child.attempts, self.backoff_max)
        child.attempts += 1
        half = delay // 2
        return half + random % (delay - half + 1)

    def restart_group(self, child: Child, due: int) -> None:
        lowest = 0 if self.strategy == "one_for_all" else child.rank
        if self.phase in ("stop", "wait"):
            lowest = min(lowest, self.lowest)
            due = max(due, self.group_due)
        self.group_due = due
        if self.phase == "stop":
            self.lowest = lowest
        else:
            self.begin_down("stop", lowest)
        self.settle()

    def restart_child(self, child: Child, now: int, random: int) -> None:
        recent = [t for t in self.times if now - t < self.within]
        if len(recent) >= self.max_restarts:
            self.become(child, "ended")
            self.actions.append(("escalate", child.id, 0))
            self.end_all()
            return
        self.times = [*recent, now]
        delay = self.delay(child, random)
        self.actions.append(("wait", child.id, delay))
        child.due = now + delay
        if self.strategy == "one_for_one":
            self.become(child, "waiting")
        else:
            self.become(child, "held")
            self.restart_group(child, child.due)

    # --- events ---

    def start(self, id: int) -> list[Action]:
        self.actions = []
        child = self.child(id)
        assert child is not None
        if not self.over() and child.state in ("idle", "ended"):
            begun = self.at if self.phase == "start" else self.lowest
            if self.phase == "open" or child.rank <= begun:
                self.begin(child)
            else:
                self.become(child, "held")
        return self.actions

    def halt(self, id: int) -> list[Action]:
        self.actions = []
        child = self.child(id)
        assert child is not None
        if child.state in ("starting", "up"):
            self.halt_child(child, "ended")
        elif child.state == "stopping":
            child.after = "ended"
        else:
            self.become(child, "ended")
        self.settle()
        return self.actions

    def again(self, id: int) -> list[Action]:
        child = self.child(id)
        assert child is not None
        if child.state in ("idle", "ended"):
            return self.start(id)
        self.actions = []
        if not self.over():
            if child.state == "waiting":
                self.begin(child)
            elif child.state == "stopping":
                child.after = "held" if child.awaited else "starting"
            elif child.state != "held":
                self.halt_child(child, "starting")
                self.settle()
        return self.actions

    def up(self, id: int, now: int) -> list[Action]:
        self.actions = []
        child = self.child(id)
        assert child is not None
        if child.state == "starting":
            self.become(child, "up")
            child.up_since = now
            self.settle()
        return self.actions

    def down(
        self, id: int, abnormal: bool, now: int, random: int
    ) -> list[Action]:
        self.actions = []
        child = self.child(id)
        assert child is not None
        if child.state == "stopping":
            if self.over():
                self.become(child, "ended")
            elif child.after == "starting":
                self.begin(child)
            else:
                self.become(child, child.after)
            self.settle()
        elif child.state in ("starting", "up"):
            calm = now - child.up_since >= self.within
            if child.state == "up" and calm:
                child.attempts = 0
            returns = child.restart == "permanent" or (
                child.restart == "transient" and abnormal
            )
            if self.over() or not returns:
                self.become(child, "ended")
                self.settle()
            elif self.phase == "stop" and child.rank > self.lowest:
                self.become(child, "held")
                self.settle()
            else:
                self.restart_child(child, now, random)
        return self.actions

    def stop(self) -> list[Action]:
        self.actions = []
        if not self.over():
            self.end_all()
        return self.actions

    def tick(self, now: int) -> list[Action]:
        self.actions = []
        for child in self.children:
            if child.state == "waiting" and child.due <= now:
                self.begin(child)
        if self.phase == "wait" and self.group_due <= now:
            self.phase, self.at = "start", 0
            self.settle()
        return self.actions

    def due(self) -> int | None:
        if self.phase == "wait":
            return self.group_due
        waiting = [c.due for c in self.children if c.state == "waiting"]
        return min(waiting, default=None)
