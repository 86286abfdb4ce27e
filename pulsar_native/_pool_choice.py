"""Which worker of a pool a key belongs to."""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["hash_key", "weigh"]

_MASK = (1 << 64) - 1


def hash_key(key: Any) -> int:
    """64 bits of a key, the same in every process. TypeError for what is no
    text, bytes or int, or a tuple of such."""
    data = "".join(_spell(key)).encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _spell(key: Any) -> list[str]:
    """Parts that tell any two keys apart."""
    if isinstance(key, tuple):
        parts = [part for item in key for part in _spell(item)]
        return [f"({len(key)}", *parts]
    if isinstance(key, str):
        return [f"s{len(key)}:", key]
    if isinstance(key, bytes):
        return [f"b{len(key)}:", key.hex()]
    if isinstance(key, int):
        return [f"i{int(key)};"]
    raise TypeError(
        f"a key is a text, bytes, an int or a tuple of such, not {key!r}"
    )


def weigh(key: int, slot: int) -> int:
    """The weight of a slot for a hashed key: the heaviest has it, so that
    only the keys of slots that come or go move."""
    # The end of splitmix64, a bijection that leaves no pattern.
    x = (key ^ (slot + 1) * 0x9E3779B97F4A7C15) & _MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK
    return x ^ x >> 31
