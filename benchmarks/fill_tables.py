"""Write the tables of the README and of the documentation from the results, so that nobody types a figure.

    python benchmarks/fill_tables.py            # after a benchmark
    python benchmarks/fill_tables.py --check    # fails if a page says anything else than the results

A page holds `<!-- figures: NAME -->`, then what this script writes, then `<!-- end -->`. The blocks are in
`published_blocks.py`, one function each.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from published_blocks import BLOCKS

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"(<!-- figures: (?P<name>[a-z-]+) -->\n)(?P<content>.*?)(?=<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """Every page that may hold blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(text: str) -> str:
    """A page with its blocks as the results say.

    :raises SystemExit: it asks for a block that does not exist, or a block has no end.
    """
    if text.count("<!-- figures:") != len(_BLOCK.findall(text)):
        raise SystemExit("error: a block of figures has no '<!-- end -->', or a name that is not of a-z and '-'")

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in BLOCKS:
            raise SystemExit(f"error: no figures {name!r}; there are {', '.join(BLOCKS)}")
        return f"{match[1]}{BLOCKS[name]()}\n"

    return _BLOCK.sub(fill, text)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is out of date")
    arguments = parser.parse_args(argv)
    changed = [(page, text) for page in pages() if (text := filled(page.read_text())) != page.read_text()]
    names = ", ".join(str(page.relative_to(ROOT)) for page, _ in changed)
    if arguments.check and changed:
        raise SystemExit(f"error: not what the results say: {names}; run python benchmarks/fill_tables.py")
    for page, text in changed:
        page.write_text(text)
    print(f"written: {names}" if changed else "every page says what the results say")


if __name__ == "__main__":
    main()
