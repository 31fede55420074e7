"""What a worker and the pool say to each other: length-prefixed pickles over the pipes between parent and child.

Pickle is safe here because both ends are this program: the pool starts the worker, and nobody else holds the pipes.
"""

import os
import pickle
import struct
from dataclasses import dataclass
from typing import Any, Protocol

from zsgym.errors import SimulatorError
from zsgym.simulators.ngspice.engine import Engine

_LENGTH = struct.Struct("<Q")


class Job(Protocol):
    """Anything picklable that a worker can run."""

    def run(self, engine: Engine) -> Any:
        """The answer (picklable)."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """Either an answer or the error that took its place."""

    answer: Any = None
    error: SimulatorError | None = None


def write_message(descriptor: int, message: object) -> None:
    """Send one message completely."""
    body = pickle.dumps(message)
    view = memoryview(_LENGTH.pack(len(body)) + body)
    while view:
        view = view[os.write(descriptor, view) :]


def read_message(descriptor: int) -> Any:
    """Receive one message.

    :raises EOFError: the other side closed the pipe, also in the middle of a message.
    """
    (length,) = _LENGTH.unpack(_read_exactly(descriptor, _LENGTH.size))
    return pickle.loads(_read_exactly(descriptor, length))


def _read_exactly(descriptor: int, count: int) -> bytes:
    chunks = bytearray()
    while len(chunks) < count:
        chunk = os.read(descriptor, min(count - len(chunks), 1 << 20))
        if not chunk:
            raise EOFError
        chunks += chunk
    return bytes(chunks)
