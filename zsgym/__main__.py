"""`python -m zsgym` is the command `zsgym`."""

import sys

from zsgym.cli import main

if __name__ == "__main__":
    sys.exit(main())
