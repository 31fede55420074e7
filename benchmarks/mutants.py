"""Do the tests bite? Faults are put into a copy of the code, one at a time; a fault that no test notices has survived.

    python benchmarks/mutants.py                    # every fault of mutants.yaml; writes results/mutants.json
    python benchmarks/mutants.py --only phase       # those whose title holds a word

Each fault changes one line of the verdict, the measurements, the specs, the observation, the score or the belief. It
counts as killed when the tests of its room fail, and as unfair when they fail without it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from common import RESULTS
from tqdm import tqdm

from zsgym.base.files import write_text
from zsgym.base.scripts import ending_in_one_line
from zsgym.base.tables import table
from zsgym.samples.manifest import provenance_of_this_process

ROOT = Path(__file__).parents[1]
_FAULTS = Path(__file__).with_name("mutants.yaml")
_TESTS_FAILED = 1
"""pytest's exit status; any other says that the tests could not be run."""


@dataclass(frozen=True)
class Fault:
    """What is put in place of what, in which file, and which tests must notice."""

    title: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


def read_faults() -> list[Fault]:
    """The faults of `mutants.yaml`, each with the tests of its group."""
    groups = yaml.safe_load(_FAULTS.read_text(encoding="utf-8"))
    return [Fault(**fault, tests=tuple(group["tests"])) for group in groups for fault in group["faults"]]


def status_of_tests(copy: Path, tests: Sequence[str]) -> int:
    """Exit status of pytest in a copy of the project."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False).returncode


def is_killed(copy: Path, fault: Fault) -> bool:
    """Whether a test fails because of a fault.

    :raises SystemExit: the text that it replaces is not there, or not once.
    """
    path = copy / fault.file
    text = path.read_text(encoding="utf-8")
    if text.count(fault.before) != 1:
        found = text.count(fault.before)
        raise SystemExit(f"error: {fault.title}: {fault.file} holds {fault.before!r} {found} times, not once")
    path.write_text(text.replace(fault.before, fault.after), encoding="utf-8")
    try:
        return status_of_tests(copy, fault.tests) == _TESTS_FAILED
    finally:
        path.write_text(text, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults whose title holds this text; nothing is written then")
    arguments = parser.parse_args(argv)
    faults = [fault for fault in read_faults() if arguments.only in fault.title]
    if not faults:
        raise SystemExit(f"error: no fault is called anything with {arguments.only!r}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "zsgym"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True)
        for tests in dict.fromkeys(fault.tests for fault in faults):
            if status_of_tests(copy, tests) != 0:
                raise SystemExit(f"error: {', '.join(tests)} fail without any fault")
        killed = {fault: is_killed(copy, fault) for fault in tqdm(faults, unit="fault")}
    rows = [[fault.title, fault.file, "killed" if killed[fault] else "SURVIVED"] for fault in faults]
    print(table(["fault", "file", ""], rows))
    print(f"\n{sum(killed.values())} of {len(faults)} faults were noticed by a test")
    if not arguments.only:
        survivors = [fault.title for fault in faults if not killed[fault]]
        result = {"mutants": len(faults), "killed": sum(killed.values()), "survived": survivors}
        result |= {"faults": [fault.title for fault in faults], "provenance": provenance_of_this_process()}
        write_text(RESULTS / "mutants.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    with ending_in_one_line():
        main()
