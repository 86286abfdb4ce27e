"""Run by `./dev wheel` with an installed wheel, where PATH is empty: every
module can be imported, they are the wheel's, and an actor answers."""

from __future__ import annotations

import asyncio
import importlib
import os
import pkgutil
import shutil
from pathlib import Path

import pulsar_native as pn


@pn.command()
def whereabouts(request: object) -> tuple[int, str]:
    return os.getpid(), pn.__file__


def import_all() -> list[str]:
    names = [
        module.name
        for module in pkgutil.walk_packages(pn.__path__, "pulsar_native.")
    ]
    for name in names:
        importlib.import_module(name)
    return names


async def ask() -> tuple[int, str]:
    worker = await pn.spawn()
    return await pn.send(worker, "whereabouts")


async def wake() -> str:
    """libuv has come with the wheel."""
    return await asyncio.to_thread(str, "woken")


if __name__ == "__main__":
    assert shutil.which("cc") is None and shutil.which("gcc") is None
    assert "site-packages" in Path(pn.__file__).parts
    modules = import_all()
    assert "pulsar_native._native" in modules
    pid, where = asyncio.run(asyncio.wait_for(ask(), 60))
    assert pid != os.getpid() and where == pn.__file__
    print(f"pulsar_native {pn.__version__}: {len(modules)} modules, an actor")
