"""The page of circuits: what each is, and its picture."""

from published_markdown import table

from zsgym.circuits import Circuit, list_circuits, load_circuit
from zsgym.envs.registration import env_id

PICTURES = "images/circuits"
"""Below docs/: what `zsgym circuits --schematic` has drawn."""


def circuits() -> list[Circuit]:
    """Those that zsgym comes with, by name."""
    return [load_circuit(name) for name in list_circuits()]


def family() -> str:
    """One line per circuit."""
    headers = ["circuit", "what it is", "devices", "parameters", "environment"]
    return table(
        headers,
        [
            [
                f"[`{circuit.name}`](#{circuit.name})",
                circuit.title,
                str(len(circuit.devices)),
                str(len(circuit.parameters)),
                f"`{env_id(circuit.name)}`",
            ]
            for circuit in circuits()
        ],
    )


def pictures() -> str:
    """One heading and one picture per circuit, which leads to itself in full size."""
    return "\n\n".join(
        f"### {circuit.name}\n\n{circuit.title}. {circuit.source.strip().rstrip('.')}.\n\n"
        f"[![Schematic of {circuit.name.upper()}]({PICTURES}/{circuit.name}.svg)]({PICTURES}/{circuit.name}.svg)"
        for circuit in circuits()
    )
