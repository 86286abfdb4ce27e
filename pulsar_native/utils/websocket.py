"""The old home of :mod:`pulsar_native.websocket`."""

from __future__ import annotations

from ..websocket import (
    CLOSE_CODES,
    DEFAULT_VERSION,
    SUPPORTED_VERSIONS,
    Frame,
    FrameParser,
    frame_parser,
    get_version,
    parse_close,
    websocket_key,
)

__all__ = [
    "CLOSE_CODES",
    "DEFAULT_VERSION",
    "SUPPORTED_VERSIONS",
    "Frame",
    "FrameParser",
    "frame_parser",
    "get_version",
    "parse_close",
    "websocket_key",
]
