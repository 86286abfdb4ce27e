"""The typed face of the C core."""

from collections.abc import Sequence
from typing import Any, Literal, Self, TypeAlias, final

from typing_extensions import Buffer

_ForkReport: TypeAlias = (
    tuple[Literal["started"], int, int, int]  # token, pid, pidfd or -1
    | tuple[Literal["failed"], int, int]  # token, errno
    # token, pid, code, signal, core, utime and stime in us, max_rss in bytes
    | tuple[Literal["exited"], int, int, int, int, bool, int, int, int]
)

class ForkChannel:
    """An arbiter's channel to the fork server; for one thread."""

    def __new__(cls, fd: int) -> ForkChannel: ...
    def fileno(self) -> int: ...
    def spawn(self, token: int, fds: Sequence[int], /) -> None: ...
    def receive(self) -> list[_ForkReport]: ...
    def close(self) -> None: ...

def forkserver_serve(
    control_fd: int, master_pidfd: int, /
) -> tuple[int, int] | None: ...
def pidfd_open(pid: int, /) -> int: ...
def pidfd_send_signal(pidfd: int, pid: int, signal: int, /) -> None: ...

CLOSE_CODES: dict[int, str]

Message: TypeAlias = str | Buffer | None

def close_code_is_valid(code: int, /) -> bool: ...
def apply_mask(data: Buffer, key: Buffer, /) -> bytes: ...

@final
class Frame:
    """A decoded WebSocket frame; see FrameParser."""

    @property
    def body(self) -> Any: ...  # str for opcode 1, else bytes
    @property
    def opcode(self) -> int: ...
    @property
    def final(self) -> bool: ...
    @property
    def masking_key(self) -> bytes: ...
    @property
    def is_message(self) -> bool: ...
    @property
    def is_bytes(self) -> bool: ...
    @property
    def is_close(self) -> bool: ...
    @property
    def is_ping(self) -> bool: ...
    @property
    def is_pong(self) -> bool: ...

class FrameParser:
    """Both directions of a WebSocket's frames, without I/O."""

    def __new__(
        cls,
        kind: int = 0,
        extensions: object = None,
        protocols: object = None,
        *,
        max_payload: int | None = None,
        max_message: int | None = None,
    ) -> Self: ...
    @property
    def version(self) -> int: ...
    @property
    def kind(self) -> int: ...
    @property
    def extensions(self) -> Any: ...
    @property
    def protocols(self) -> Any: ...
    @property
    def decode_mask_length(self) -> int: ...
    @property
    def encode_mask_length(self) -> int: ...
    @property
    def max_payload(self) -> int: ...
    @property
    def max_message(self) -> int: ...
    def decode(self, data: Buffer | None = None, /) -> Frame | None: ...
    def decode_all(self, data: Buffer, /) -> list[Frame]: ...
    def encode(
        self,
        message: Message,
        final: object = True,
        masking_key: Buffer | None = None,
        opcode: int | None = None,
        rsv1: object = 0,
        rsv2: object = 0,
        rsv3: object = 0,
    ) -> bytes: ...
    def encode_parts(
        self,
        message: Message,
        final: object = True,
        masking_key: Buffer | None = None,
        opcode: int | None = None,
        rsv1: object = 0,
        rsv2: object = 0,
        rsv3: object = 0,
    ) -> tuple[bytes, bytes | memoryview]: ...
    def continuation(
        self, body: Message = None, final: object = True
    ) -> bytes: ...
    def ping(self, body: Message = None) -> bytes: ...
    def pong(self, body: Message = None) -> bytes: ...
    def close(
        self, code: int | None = None, reason: Message = None
    ) -> bytes: ...
