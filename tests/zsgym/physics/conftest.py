"""Tests of the physics backend share the comparison with ngspice with its benchmark, and need numba."""

import importlib.util
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

if importlib.util.find_spec("numba") is None:
    collect_ignore_glob = ["test_*.py"]
