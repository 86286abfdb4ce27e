"""Whether the kernel has killed a process for want of memory.

Nobody is told which: only a count grows, that of the cgroup in which this
process and its actors are. So a SIGKILL counts as such an end if the count has
grown lately, once for each time that it has.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

__all__ = ["OomKills"]

_LINE = re.compile(r"^oom_kill (\d+)$", re.M)
_WHERE = (
    ("", "/sys/fs/cgroup", "memory.events"),
    ("", "/sys/fs/cgroup/unified", "memory.events"),
    ("memory", "/sys/fs/cgroup/memory", "memory.oom_control"),
)


class OomKills:
    """The count of one arbiter; *path*, if not given, is looked for."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._begun = False
        self._seen: int | None = None
        self._before: int | None = None  # a period ago, less what was told

    def begin(self) -> None:
        """There are processes from now on; again, nothing happens."""
        if not self._begun:
            self._begun = True
            self._path = self._path or _find()
            self._seen = self._before = self._count()

    def look(self) -> None:
        """Once in a period: what has grown two periods ago is others'."""
        if self._begun:
            self._before, self._seen = self._seen, self._count()

    def killed(self) -> bool | None:
        """Whether a process that got SIGKILL now ended so; None where that
        cannot be read."""
        count = self._count()
        if count is None or self._before is None:
            return None
        if count <= self._before:
            return False
        self._before += 1
        self._seen = max(self._seen or 0, self._before)
        return True

    def _count(self) -> int | None:
        if self._path is None:
            return None
        try:
            found = _LINE.search(self._path.read_text())
        except OSError:
            return None
        return None if found is None else int(found[1])


def _find() -> Path | None:
    """Where the count of this process's cgroup stands, if anywhere."""
    groups: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, folder = line.split(":", 2)
            groups.update(dict.fromkeys(controllers.split(","), folder))
    for controller, root, name in _WHERE:
        if controller in groups:
            # In a container the folder may be that outside of it.
            for where in (root + groups[controller], root):
                path = Path(where) / name
                with contextlib.suppress(OSError):
                    if _LINE.search(path.read_text()):
                        return path
    return None
