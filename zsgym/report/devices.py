"""Tables about devices: the sizing by groups, and every transistor's operating point."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

from zsgym.base.typography import MISSING, printed
from zsgym.circuits import Circuit, Sizing, SizingParameter
from zsgym.netlist import Device
from zsgym.report.markup import html_table
from zsgym.simulators.outcome import Outcome

SAFE_HEADROOM = 0.05
"""Volts of V_DS beyond V_Dsat from which a transistor counts as well in saturation."""

_TRANSISTORS = ("nmos", "pmos")
_AT_BOUND = 1e-6
"""Relative distance at which a value counts as lying at its bound."""


def device_name(device: Device) -> str:
    """The designer's name: `XM1` of the netlist is M1, also within an instance."""
    return re.sub(r"(^|\.)x(?=m)", r"\1", device.name).upper()


def sizing_table(circuit: Circuit, sizing: Sizing) -> str:
    """One row for each group: its devices, and W, L and M or its value."""
    headers = [("group", ""), *((name, "n named") for name in ("W", "L", "M")), ("value", "n"), ("devices", "wide")]
    rows = []
    for group, devices in circuit.groups.items():
        cells = {p.quantity: _value(p, sizing[p.name]) for p in circuit.parameters if p.group == group}
        kinds = " ".join(sorted({_KINDS.get(device.kind, device.kind) for device in devices}))
        rows.append(
            [
                f'{escape(group)}<span class="sub">{escape(kinds)}</span>',
                *(cells.get(quantity, "") for quantity in ("W", "L", "M", "value")),
                ", ".join(_with_multiplier(device, group, circuit, sizing) for device in devices),
            ]
        )
    return html_table(headers, rows, "sizes stack")


_KINDS = {"nmos": "nMOS", "pmos": "pMOS", "isource": "current source", "vsource": "voltage source"}


def _value(parameter: SizingParameter, value: float) -> str:
    """A value with a mark where the search has run into its bound."""
    text = printed(value, parameter.unit)
    for bound, side in ((parameter.low, "lower"), (parameter.high, "upper")):
        if abs(value - bound) <= _AT_BOUND * abs(bound):
            return f'<span class="edge" title="at the {side} bound">{text}</span>'
    return text


def _with_multiplier(device: Device, group: str, circuit: Circuit, sizing: Sizing) -> str:
    """Name of a device, and how many of it the netlist has beyond what sizes the group."""
    name, factor = escape(device_name(device)), _multiplier(device, group, circuit, sizing)
    return name if factor == 1.0 else f"{name}&nbsp;<small>&times;{factor:g}</small>"


def _multiplier(device: Device, group: str, circuit: Circuit, sizing: Sizing) -> float:
    """How many times the group's multiplier a transistor has, or, where M is not sized, how often it is there."""
    if device.kind not in _TRANSISTORS:
        return 1.0
    unit = sizing[f"M_{group}"] if f"M_{group}" in circuit.parameter_names else 1.0
    factor = device.values["m"].evaluate(dict(sizing)) / unit
    return 1.0 if abs(factor - 1.0) < 1e-9 else factor


def multipliers_of_the_netlist(circuit: Circuit, sizing: Sizing) -> str:
    """The same for all transistors in a line, such as `M7 x8 of M_bias, M9 x2`; empty where there are none."""
    parts = []
    for group, devices in circuit.groups.items():
        unit = f" of M_{group}" if f"M_{group}" in circuit.parameter_names else ""
        for device in devices:
            factor = _multiplier(device, group, circuit, sizing)
            if factor != 1.0 and not _is_sized_elsewhere(device, group, circuit):
                parts.append(f"{device_name(device)} x{factor:g}{unit}")
    return ", ".join(parts)


def _is_sized_elsewhere(device: Device, group: str, circuit: Circuit) -> bool:
    """Whether the multiplier is the sizing parameter of another group, which is printed with the others."""
    return bool(device.values["m"].names - {f"M_{group}"})


_BIAS_HEADERS = (
    "I<sub>D</sub>",
    "V<sub>GS</sub>",
    "V<sub>DS</sub>",
    "V<sub>DS</sub> &minus; V<sub>Dsat</sub>",
    "g<sub>m</sub>",
    "g<sub>m</sub>/I<sub>D</sub>",
    "g<sub>m</sub>/g<sub>DS</sub>",
)


def operating_point_table(circuit: Circuit, outcome: Outcome) -> str:
    """One row for each transistor, in netlist order; empty without operating points."""
    points = outcome.operating_points
    if not points:
        return ""
    group_of = {device.name: group for group, members in circuit.groups.items() for device in members}
    headers = [("device", ""), ("group", ""), ("region", "")]
    headers += [(text, "n") for text in _BIAS_HEADERS]
    rows = [
        [escape(device_name(device)), escape(group_of.get(device.name, "")), *_bias(points[device.name])]
        for device in circuit.devices
        if device.name in points
    ]
    return html_table(headers, rows, "keep")


def _bias(point: Mapping[str, float]) -> list[str]:
    """Region and small-signal figures; magnitudes, for both polarities."""
    q = {name: abs(value) for name, value in point.items()}
    headroom = q["vds"] - q["vdsat"]
    efficiency = f"{q['gm'] / q['id']:.3g} /V" if q["id"] > 0.0 else MISSING
    gain = f"{q['gm'] / q['gds']:.3g}" if q["gds"] > 0.0 else MISSING
    volts = (f"{value:.3f} V".replace("-", "\N{MINUS SIGN}") for value in (q["vgs"], q["vds"], headroom))
    return [_region(headroom), printed(q["id"], "A"), *volts, printed(q["gm"], "S"), efficiency, gain]


def _region(headroom: float) -> str:
    """Where a transistor is biased. :param headroom: V_DS - V_Dsat in volts."""
    if headroom >= SAFE_HEADROOM:
        return '<span class="yes">saturation</span>'
    return f'<span class="edge">{"edge of saturation" if headroom >= 0.0 else "triode"}</span>'
