"""Run by `./dev wheel` with an installed wheel, where PATH is empty: every
module can be imported, and it is the wheel's."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
from pathlib import Path

import pulsar_native

assert shutil.which("cc") is None and shutil.which("gcc") is None
names = [
    module.name
    for module in pkgutil.walk_packages(
        pulsar_native.__path__, "pulsar_native."
    )
]
for name in names:
    importlib.import_module(name)
assert "pulsar_native._native" in names
assert "site-packages" in Path(pulsar_native.__file__).parts
print(f"pulsar_native {pulsar_native.__version__}: {len(names)} modules")
