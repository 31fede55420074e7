"""A sized amplifier with its testbench: one file for plain ngspice and the full SKY130 library.

It shares nothing with the fast backend but the definitions of the metrics: SKY130's own subcircuits with every model
bin, and ngspice's `meas` instead of Python. What it prints is therefore an independent check of an outcome, and the
file is what a designer takes along.
"""

from __future__ import annotations

import string
from collections.abc import Mapping

from zsgym import pdk
from zsgym.circuits import Circuit, Sizing
from zsgym.classes.testbench import Wave
from zsgym.netlist import TRANSISTORS, parse_outline, read_outline, write_subcircuit
from zsgym.report.evidence import Evidence
from zsgym.simulators.ngspice.testbench import TOLERANCES


class _Template(string.Template):
    """SPICE uses `$` and `{}` itself."""

    delimiter = "@"


def testbench_deck(evidence: Evidence) -> str | None:
    """The text of a deck that `ngspice -b FILE` runs, and that prints every metric as `name = value` in SI units.

    The node voltages that ngspice has found before, where it has, make every analysis start close to its solution.

    None for a class of circuits that has no such text. Optional metrics are not among those that it prints.

    :raises PdkError: the SKY130 models are not installed. :raises ConfigError: the sizing is not complete.
    """
    request, provenance = evidence.request, evidence.provenance
    circuit, conditions = request.circuit, request.conditions
    plain = circuit.circuit_class.plain_deck(conditions, circuit.policy(request.policy))
    if plain is None:
        return None
    text, numbers = plain
    library = pdk.locate()
    return _Template(text).substitute(
        {name: spice_number(value) for name, value in numbers.items()},
        name=circuit.name.upper(),
        title=circuit.title,
        provenance=f"zsgym {provenance['zsgym']} ({provenance['git revision']}), {provenance['written']}",
        corner=conditions.corner,
        library=library,
        includes="\n".join(pdk.corner_includes(library, conditions.corner)),
        parameters="\n".join(_parameters(circuit, circuit.validate(request.sizing))),
        subcircuit=_subcircuit(circuit).rstrip(),
        subcircuit_name=circuit.subcircuit.name,
        ports=" ".join(circuit.subcircuit.ports),
        nodesets="\n".join(_nodesets(circuit, evidence.waveforms.get("operating_point", {}))),
        tolerances=TOLERANCES,
        echoes="\n".join(f'echo "{name} = ${name}"' for name in circuit.circuit_class.metrics.names),
    )


def spice_number(value: float) -> str:
    """A number that every SPICE reads back unchanged: twelve digits, no numpy, `1e-05` and not `1e-5 s`."""
    return f"{float(value):.12g}"


def _nodesets(circuit: Circuit, voltages: Mapping[str, Wave]) -> list[str]:
    """One `.nodeset` line for each net; those inside the amplifier carry the name of its instance."""
    ports = circuit.subcircuit.ports
    names = {net: net if net in ports else f"xamplifier.{net}" for net in voltages}
    return [f".nodeset v({names[net]})={spice_number(value[0].real)}" for net, value in voltages.items()]


def _parameters(circuit: Circuit, sizing: Sizing) -> list[str]:
    """One `.param` line for each group."""
    groups: dict[str, list[str]] = {}
    for parameter in circuit.parameters:
        groups.setdefault(parameter.group, []).append(f"{parameter.name}={spice_number(sizing[parameter.name])}")
    return [".param " + " ".join(members) for members in groups.values()]


def _runs_as_it_stands(circuit: Circuit) -> bool:
    """Whether a circuit's own text is the circuit in a deck for the full library, whose testbench connects its ports.

    In the full library a transistor is a subcircuit, so that its name has to begin with X; and a default of a `.subckt`
    line would hide the sizing parameter of the same name.
    """
    outline = read_outline(circuit.netlist_text, str(circuit.netlist_path))
    if not outline.is_plain or len(outline.definitions) != 1:
        return False
    (own,) = parse_outline(outline).values()
    same = own.ports == circuit.subcircuit.ports and len(own.devices) == len(circuit.devices)
    pairs = zip(own.devices, circuit.devices, strict=same)
    return (
        same
        and not own.parameters
        and all(one.nodes == other.nodes for one, other in pairs)
        and all(device.name[0] == "x" for device in own.devices if device.kind in TRANSISTORS)
    )


def _subcircuit(circuit: Circuit) -> str:
    """The circuit's own text with its comments, where it runs as it stands; else the flat circuit."""
    transistors = [device for device in circuit.devices if device.kind in TRANSISTORS]
    if _runs_as_it_stands(circuit):
        return circuit.netlist_text
    lines = []
    models = {device.name: pdk.DEVICES[device.kind] for device in transistors}
    for line in write_subcircuit(circuit.subcircuit).splitlines():
        name, *words = line.split(" ")
        if name in models:
            words[4] = models[name]
            line = " ".join([name if name[0] == "x" else f"x{name}", *words])
        lines.append(line)
    return "\n".join(lines)
