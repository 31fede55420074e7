"""Numbers that must not move unnoticed: raw measurements of ngspice, and what environments make of them.

`python -m tests.golden.make_golden` makes both files anew.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.chosen import ALWAYS
from tests.golden.make_golden import OBSERVATIONS, ROWS, environment_ids, measured_rows, rollout
from zsgym.circuits import load_circuit

REMAKE = "python -m tests.golden.make_golden {} makes it anew"

EXACT = {"rel": 1e-9, "abs": 0.0}
"""DC and AC: direct solutions of linear systems from an operating point that is converged far below its tolerance."""
TOLERANCES: dict[str, dict[str, float]] = {
    # Differences of 0.72 V: what is left is rounding error.
    "vos": {"rel": 1e-9, "abs": 5e-12},
    "output_error": {"rel": 1e-9, "abs": 5e-12},
    # ngspice prints operating points with six digits, the last of which may fall to either side.
    "min_device_current": {"rel": 2e-6, "abs": 0.0},
    # A rational fit by singular vectors, for which every LAPACK has an algorithm of its own.
    "max_pole_real": {"rel": 1e-3, "abs": 1.0},
    # The choice of time steps amplifies the last bit of libm and compiler, within the tolerance of the transient.
    "slew_rate": {"rel": 1e-3, "abs": 0.0},
    "settling_time": {"rel": 2e-2, "abs": 0.0},
    "static_error": {"rel": 1e-3, "abs": 1e-6},
    "ringing": {"rel": 5e-2, "abs": 1e-5},
    "transient_points": {"rel": 0.1, "abs": 0.0},
}


@pytest.mark.ngspice
@pytest.mark.parametrize("circuit", ALWAYS)
def test_ngspice_measures_what_it_measured(circuit: str) -> None:
    stored = [row for row in json.loads(ROWS.read_text())["rows"] if row["circuit"] == circuit]
    found = measured_rows(load_circuit(circuit))
    assert len(found) == len(stored) > 0, REMAKE.format("rows")
    for row, expected in zip(found, stored, strict=True):
        where = f"{row['sizing']} at {row['conditions']}"
        assert {**row, "raw": list(row["raw"])} == {**expected, "raw": list(expected["raw"])}, where
        for name, value in expected["raw"].items():
            near = value if value is None else pytest.approx(value, **TOLERANCES.get(name, EXACT))
            assert row["raw"][name] == near, f"{name} of {where}"


def test_every_environment_has_golden_observations() -> None:
    assert sorted(json.loads(OBSERVATIONS.read_text())["environments"]) == environment_ids(), REMAKE.format(
        "observations"
    )


@pytest.mark.parametrize("name", environment_ids())
def test_observations_rewards_and_infos_are_what_they_were(name: str) -> None:
    """Exact but for the last digits of a logarithm, for which every processor has an algorithm of its own."""
    stored = json.loads(OBSERVATIONS.read_text())["environments"][name]
    for played in stored["rollouts"]:
        found = rollout(name, played["arguments"], stored["answers"])
        for step, (record, expected) in enumerate(zip(found, played["steps"], strict=True)):
            np.testing.assert_allclose(
                np.float32(record["observation"]),
                np.float32(expected["observation"]),
                rtol=0.0,
                atol=1e-6,
                err_msg=f"step {step} with {played['arguments']}",
            )
            assert_same({**record, "observation": None}, {**expected, "observation": None}, f"step {step}")


def test_golden_rollouts_reach_what_matters() -> None:
    """Working circuits and failures, specs met and missed; no logarithm or margin is at its end throughout."""
    for name, stored in json.loads(OBSERVATIONS.read_text())["environments"].items():
        steps = [step for played in stored["rollouts"] for step in played["steps"]]
        assert {step["info"]["sim_success"] for step in steps} == {True, False}, name
        circuit = load_circuit(name.split("/")[1].split("-v")[0].lower())
        n, k = len(circuit.parameters), len(circuit.metrics)
        seen = np.array([step["observation"] for step in steps if step["info"]["sim_success"]])
        metrics, targets = seen[:, n : n + k], seen[:, n + 2 * k : n + 3 * k]
        assert (np.abs(metrics) < 1.0).any(axis=0).all(), name
        assert (np.abs(targets) < 1.0).any(axis=0).all(), name


def assert_same(found: Any, expected: Any, where: str) -> None:
    assert type(found) is type(expected), where
    if isinstance(found, Mapping):
        assert list(found) == list(expected), where
        for name in found:
            assert_same(found[name], expected[name], f"{where}, {name}")
    elif isinstance(found, float):
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-12), where
    else:
        assert found == expected, where
