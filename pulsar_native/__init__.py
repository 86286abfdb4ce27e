"""Actors for asyncio programs, with a core in C."""

from __future__ import annotations

__version__ = "0.1.0"
