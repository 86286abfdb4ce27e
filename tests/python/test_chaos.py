"""A short storm; ``./dev chaos`` is the long one."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from actors_help import SANITIZED

STORM = Path(__file__).resolve().parents[1] / "chaos" / "storm.py"


@pytest.mark.skipif(SANITIZED, reason="ASan ends what is short of memory")
def test_a_tree_under_injuries_keeps_its_promises(tmp_path: Path) -> None:
    seed = random.getrandbits(32)
    log = tmp_path / "log"  # no pipe: what is left over would hold it open
    with log.open("wb") as stderr:
        done = subprocess.run(
            [sys.executable, STORM, str(seed), "4"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            timeout=240,
            check=False,
        )
    assert done.stdout, (seed, done.returncode, log.read_text()[-5000:])
    report = json.loads(done.stdout)
    assert report["broken"] == [], report
    assert report["asked"] == report["ended"] > 0
    assert done.returncode == 0
