"""The typed face of the C core."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, TypeAlias, final

from typing_extensions import Buffer

from .actor import Actor
from .proxy import ActorProxy

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
def link_pair() -> tuple[int, int]: ...
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

class BaseCommand:
    """What the core must know of a command."""

    name: str
    function: Callable[..., Any]
    ack: bool
    serial: int

@final
class Request:
    """What a command gets as its first argument."""

    @property
    def actor(self) -> Actor: ...
    @property
    def caller(self) -> ActorProxy: ...
    @property
    def connection(self) -> Mailbox | None: ...

@final
class Replier:
    """Answers an ask when its command's task is done."""

    def __call__(self, task: asyncio.Task[Any], /) -> None: ...

@final
class Mailbox:
    """An actor's end of messaging; for the thread that made it."""

    def __new__(
        cls,
        number: int,
        actor: object,
        port: object,
        *,
        message_bytes: int = ...,
        outbox_messages: int = ...,
        outbox_bytes: int = ...,
    ) -> Self: ...
    @property
    def number(self) -> int: ...
    @property
    def tasks(self) -> set[asyncio.Task[Any]]: ...
    @property
    def closed(self) -> bool: ...
    def attach(self, loop: asyncio.AbstractEventLoop, /) -> None: ...
    def become(self, number: int, /) -> None: ...
    def hold(self) -> None: ...
    def connect(
        self, number: int, fd: int, *, onward: bool = False
    ) -> None: ...
    def disconnect(self, number: int, /) -> None: ...
    def ask(
        self,
        target: int,
        name: str | None,
        command: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
        /,
    ) -> asyncio.Future[Any]: ...
    def tell(
        self,
        target: int,
        name: str | None,
        command: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
        /,
    ) -> None: ...
    def post(
        self,
        kind: int,
        target: int,
        payload: bytes,
        command: str = "",
        *,
        source: int = ...,
        id: int = 0,
    ) -> bool: ...
    def fail(
        self, target: int | None, make: Callable[[], BaseException], /
    ) -> int: ...
    def know(self, target: int, serial: int, /) -> None: ...
    def peers(self, number: int, /) -> list[int]: ...
    def stats(self) -> dict[str, int]: ...
    def fileno(self) -> int: ...
    def hello(self) -> bytes: ...
    def flush(self) -> bool: ...
    def wait(self, seconds: float, /) -> bool: ...
    def close(self) -> None: ...
    def forget(self) -> None: ...
    def _on_ready(self) -> None: ...
    def _end_turn(self) -> None: ...
