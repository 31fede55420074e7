"""How a script ends for its user: in one line, and with the exit code that a shell expects."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from zsgym.base.errors import ZsgymError

INTERRUPTED = 130


@contextlib.contextmanager
def ending_in_one_line(interrupted: str = "interrupted", failed: str = "") -> Iterator[None]:
    """Turn a deliberate error or a failing file into a line on stderr and exit code 1, Ctrl-C into code 130.

    :param interrupted: what Ctrl-C says, such as how to continue. :param failed: said after an error.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f"\n{interrupted}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except (ZsgymError, OSError) as error:
        raise SystemExit("\n".join(filter(None, [f"error: {reason(error)}", failed]))) from None


def reason(error: BaseException) -> str:
    """An error in words: of one that the operating system reports, the file and the cause, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
