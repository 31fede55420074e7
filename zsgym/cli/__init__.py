"""The command `zsgym`: one module per command group, and the exit codes that all of them share.

| code | meaning |
| --- | --- |
| 0 | done |
| 1 | a check found a problem (`doctor`: something required is missing; `size`: no design meets every spec; `dataset
  merge`: labels disagree) |
| 2 | the command was used wrongly: an option, a file, a name; one or two lines on stderr say what |
| 3 | the infrastructure failed: ngspice, the SKY130 models, the disk |
| 130 | interrupted by Ctrl-C; long work continues when the same command is repeated |

Results go to stdout, everything else to stderr. Modules that are slow to import are imported by the command that needs
them, so that `--help` is immediate.

Another package adds a command by an entry point of the group `zsgym.commands`: a function like `add_parser` of the
modules here, in a module that is quick to import.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from itertools import takewhile
from typing import Any

from zsgym import __version__
from zsgym.base.errors import SampleLogError, ZsgymError
from zsgym.base.scripts import INTERRUPTED
from zsgym.cli import circuits, dataset, doctor, pdk, report, simulate, size

OK, PROBLEM, USAGE, INFRASTRUCTURE = 0, 1, 2, 3
COMMANDS = "zsgym.commands"
"""Group of the entry points that add commands."""

_EPILOG = """examples:
  zsgym doctor                                              is everything installed?
  zsgym circuits nmcf                                       parameters, bounds and targets of a circuit
  zsgym size nmcf --target gbw=2meg                         find a sizing that meets the specs
  zsgym simulate nmcf --known-good robust                   simulate a sizing that works
  zsgym report nmcf --known-good robust --out nmcf.html     margins, waveforms and sizes to read
  zsgym dataset generate nmcf -n 1000 --workers 2 --out data/nmcf
  zsgym retrain --log samples                               labels for what agents found, and a better surrogate

exit codes: 0 done, 1 a check found a problem, 2 wrong use, 3 infrastructure failed, 130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """Of the program and of every command in it: keeps the line breaks of descriptions and examples as written.

    No option may be abbreviated: a script that does so breaks when a second option begins alike.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but an unknown option is named before anything is found missing because of it."""
        given = list(sys.argv[1:] if args is None else args)
        # Options of the program stand before the command; those behind it are the command's own.
        own = takewhile(lambda text: text.startswith("-") if self._subparsers else text != "--", given)
        for text in own:
            name = text.partition("=")[0]
            if name.startswith("--") and " " not in name and name not in self._option_string_actions:
                near = difflib.get_close_matches(name, self._option_string_actions, n=1)
                self.error(f"unknown option {name}" + (f": did you mean {near[0]}?" if near else ""))
        return super().parse_known_args(given, namespace)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="zsgym",
        description="Analog circuit sizing as a reinforcement-learning problem: ngspice, SKY130, labelled data sets.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"zsgym {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in (doctor, pdk, circuits, size, simulate, report, dataset):
        group.add_parser(commands)
    for command in sorted(entry_points(group=COMMANDS), key=lambda found: found.name):
        _add_command_of_another_package(command, commands)
    return parser


def _add_command_of_another_package(command: EntryPoint, commands: Any) -> None:
    """What is broken there must not take the commands of this package with it."""
    try:
        command.load()(commands)
    except Exception as error:
        print(f"zsgym: warning: the command {command.name} ({command.value}) is left out: {error}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code.

    :param arguments: without the program's name; None takes those of the process.
    """
    options = build_parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code: int = options.run(options)
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        print("zsgym: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone (`zsgym circuits | head`)
        _drop_output()
        return OK
    except ZsgymError as error:
        print(f"zsgym: error: {error}", file=sys.stderr)
        return USAGE if _is_users_mistake(error) else INFRASTRUCTURE
    except OSError as error:  # our output goes to a full disk
        _drop_output()
        print(f"zsgym: error: {error.filename or 'cannot write the output'}: {error.strerror}", file=sys.stderr)
        return INFRASTRUCTURE


def _drop_output() -> None:
    """What is still buffered can go nowhere, of which Python would complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_users_mistake(error: ZsgymError) -> bool:
    """A log that is not there, or belongs to something else, is a wrong argument; one that cannot be written is not.

    Nor is any file that the disk has no room for.
    """
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return False
    if isinstance(error, SampleLogError):
        return not isinstance(error.__cause__, OSError)
    return isinstance(error, ValueError)  # ConfigError, and a checkpoint that cannot be used


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"zsgym: warning: {message}", file=sys.stderr)
