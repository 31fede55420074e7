"""Benchmarks are scripts: their folder stands first on the path when they run, and here as well."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
