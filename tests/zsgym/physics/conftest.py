"""Tests of the physics backend share the comparison with ngspice with its benchmark."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
