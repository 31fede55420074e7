"""Whole amplifiers against ngspice: operating points, open and closed loop, supply gain, poles."""

from __future__ import annotations

import numpy as np
import physics_circuits as pc
import pytest

from zsgym.circuits import Circuit, load_circuit
from zsgym.circuits.geometry import inside_models
from zsgym.classes.amplifier import AmplifierConditions
from zsgym.classes.amplifier.stability import rightmost_pole
from zsgym.datasets.strategies import sample
from zsgym.simulators.ngspice.engine import Analysis
from zsgym.simulators.ngspice.process import ProcessEngine
from zsgym.simulators.physics.solver import linearise, operating_points

pytestmark = pytest.mark.ngspice

SWEEP = "ac dec 10 0.1 1g"
HERTZ = np.logspace(-1, 9, 101)
ANALYSES = (
    Analysis("open_loop", SWEEP, ("out", "inn"), ("alter vfb ac=1",)),
    Analysis("supply", SWEEP, ("out",), ("alter vfb ac=0", "alter vdd ac=1")),
    Analysis("closed_loop", SWEEP, ("out",), ("alter ffb gain=0", "alter vdd ac=0", "alter vinp ac=1")),
)


def sizings(circuit: Circuit, count: int) -> list[dict[str, float]]:
    """Sizings within the model bins, and those known to work."""
    drawn = (sample(circuit, "log", 2, index) for index in range(1000))
    inside = (sizing for sizing in drawn if inside_models(circuit, circuit.vector(sizing)[None])[0])
    return [*list(circuit.known_good.values())[:1], *(next(inside) for _ in range(count))]


@pytest.mark.parametrize(
    ("name", "conditions"),
    [("nmcf", AmplifierConditions()), ("nmcnr", AmplifierConditions(corner="sf", temperature=125.0, supply=1.62))],
)
def test_amplifiers_agree_with_ngspice(name: str, conditions: AmplifierConditions) -> None:
    circuit = load_circuit(name)
    system = pc.amplifier(circuit, conditions)
    chosen = sizings(circuit, 4)
    points = operating_points(system, pc.sized(circuit, system, chosen, conditions))
    assert points.converged.all()
    assert points.residual.max() < 1e-10
    small = linearise(points)
    found = small.responses(["vfb", "vdd"], HERTZ)
    closed = linearise(points, gain={"ffb": 0.0})
    unity = closed.responses(["vinp"], HERTZ)[:, :, system.place("out"), 0]
    out, inn = system.place("out"), system.place("inn")
    engine = ProcessEngine()
    for row, sizing in enumerate(chosen):
        netlist = pc.netlist_of(circuit, sizing, conditions)
        names = [netlist.nets[node] for node in system.nodes]
        nets = Analysis("op", "op", (*names, "vdd#branch"))
        waves = engine.run(pc.deck(netlist, conditions), [nets, *ANALYSES])
        expected = np.array([waves["op"][name][0] for name in names])
        np.testing.assert_allclose(points.x[row, : len(system.nodes)], expected, atol=1e-8)
        assert points.through("vdd")[row] == pytest.approx(waves["op"]["vdd#branch"][0], rel=1e-7)
        gain = waves["open_loop"]["out"] / waves["open_loop"]["inn"]
        low = HERTZ < 1.01e8  # above, what is left out of the body network begins to show
        mine = found[row, :, out, 0] / found[row, :, inn, 0]
        np.testing.assert_allclose(mine[low], gain[low], rtol=1e-6)
        np.testing.assert_allclose(mine, gain, rtol=1e-4)
        np.testing.assert_allclose(found[row, low, out, 1], waves["supply"]["out"][low], rtol=1e-4)
        response = waves["closed_loop"]["out"]
        np.testing.assert_allclose(unity[row], response, atol=1e-7 * np.abs(response).max())
        fitted = rightmost_pole(HERTZ, np.asarray(response, dtype=np.complex128))
        assert (closed.poles()[row].real.max() > 0.0) == (fitted > 0.0)
