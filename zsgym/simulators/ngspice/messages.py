"""How two processes talk: whole messages over a socket pair, with time limits. Jobs and replies in them are pickles.

Pickle is safe here because both ends are this program: the pool starts the worker, and nobody else holds the sockets.
"""

import socket
import struct
import time
from dataclasses import dataclass
from typing import Any, Protocol

from zsgym.base.errors import SimulatorError
from zsgym.simulators.ngspice.engine import Engine

_LENGTH = struct.Struct("<Q")
_CHUNK = 1 << 20


class Job(Protocol):
    """Anything picklable that a worker can run."""

    def prepare(self) -> None:
        """What a worker does before it forks for the job, so that no child has to; what was done once is done."""
        ...

    def run(self, engine: Engine) -> Any:
        """The answer (picklable)."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """Either an answer or the error that took its place."""

    answer: Any = None
    error: SimulatorError | None = None


class Channel:
    """One end of a connection. Sockets, because they have time limits and never raise SIGPIPE."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        """Two connected ends."""
        return tuple(map(cls, socket.socketpair()))  # type: ignore[return-value]

    def fileno(self) -> int:
        """File descriptor to wait for; -1 when closed."""
        return self._end.fileno()

    def send(self, message: bytes, timeout_s: float | None = None) -> None:
        """Send a message completely.

        :raises EOFError: the other side is gone. :raises TimeoutError: it does not read.
        """
        try:
            self._end.settimeout(timeout_s)
            self._end.sendall(_LENGTH.pack(len(message)) + message, socket.MSG_NOSIGNAL)
        except TimeoutError:
            raise
        except OSError as error:
            raise EOFError(str(error)) from error

    def receive(self, timeout_s: float | None = None) -> bytes:
        """Receive a message.

        :raises EOFError: the other side is gone, also in the middle of a message.
        :raises TimeoutError: the message was not complete in time.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline))
        return self._read(length, deadline)

    def hang_up(self) -> None:
        """End the connection for both sides, also under a thread that waits for a message."""
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended already

    def close(self) -> None:
        """Close this end. Safe to call twice."""
        self._end.close()

    def _read(self, count: int, deadline: float | None) -> bytes:
        received = bytearray()
        while len(received) < count:
            try:
                self._end.settimeout(None if deadline is None else max(deadline - time.monotonic(), 1e-3))
                chunk = self._end.recv(min(count - len(received), _CHUNK))
            except TimeoutError:
                raise
            except OSError as error:
                raise EOFError(str(error)) from error
            if not chunk:
                raise EOFError("the connection was closed")
            received += chunk
        return bytes(received)
