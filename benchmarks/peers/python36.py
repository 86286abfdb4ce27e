"""Where pulsar 2.0.2 can run: a Python 3.6 with an environment of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

VENV = Path(__file__).resolve().parent.parent / ".venv36"
# pulsar 2.0.2 has C extensions, but they import httptools, which it does
# not ask for: without it pulsar silently runs in pure Python.
REQUIRED = ("pulsar==2.0.2", "httptools==0.2.0")
OPTIONAL = ("uvloop==0.14.0",)  # the last one for Python 3.6
HOW = (
    "No Python 3.6 found, so pulsar 2.0.2 cannot run here. To get one: "
    "pyenv install 3.6.15, or give its path with --python36 PATH or in "
    "the environment variable PYTHON36."
)


def find(given: str | None) -> Path | None:
    """The Python 3.6 *given*, of $PYTHON36, or of pyenv; None if none is."""
    chosen = given or os.environ.get("PYTHON36")
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(root.glob("versions/3.6.*/bin/python3"), reverse=True)
    for candidate in [Path(chosen)] if chosen else found:
        if answers(candidate, "sys.version_info[:2]", "(3, 6)"):
            return candidate
    return None


def answers(python: str | Path, expression: str, expected: str) -> bool:
    """Whether *expression* prints as *expected* in that interpreter."""
    code = f"import sys; print({expression})"
    try:
        done = subprocess.run(
            [str(python), "-c", code], capture_output=True, text=True
        )
    except OSError:
        return False
    return done.stdout.strip() == expected


def environment(python: Path) -> Path:
    """The interpreter of the environment; made at the first call.

    Raises subprocess.CalledProcessError if pip cannot install pulsar.
    """
    inside = VENV / "bin" / "python3"
    done = VENV / "complete"
    if done.exists() and inside.exists():
        return inside
    print(f"Making {VENV.name} with {', '.join(REQUIRED)} ...", flush=True)
    subprocess.run([str(python), "-m", "venv", str(VENV)], check=True)
    pip = [
        str(inside),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, *REQUIRED], check=True)
    subprocess.run([*pip, *OPTIONAL], check=False)
    check = "__import__('pulsar.api').api.HAS_C_EXTENSIONS"
    if not answers(inside, check, "True"):
        print(
            "Mind: pulsar's C extensions do not load; it runs in pure "
            "Python and is slower than it could be."
        )
    for script in inside.parent.iterdir():
        # They carry the path of this folder, and only python is used.
        if not script.name.startswith("python"):
            script.unlink()
    done.touch()
    return inside
