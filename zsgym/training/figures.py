"""What TensorBoard shows of a verified design: its spec margins in ngspice, and the surrogate's beside them.

Imported only where matplotlib is installed, since that is optional.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from zsgym.circuits import Circuit
from zsgym.classes import Targets
from zsgym.envs.picture import draw_margins
from zsgym.training.verification import Verified

_INK, _MUTED, _SURROGATE = "#1f2933", "#7b8794", "#3e6fb0"


def margin_figure(row: Verified, circuit: Circuit, targets: Targets) -> Figure:
    """The margins of one design: ngspice as bars, the surrogate as diamonds. :param targets: metric -> SI value."""
    measured, predicted = row.measured, row.predicted
    figure = Figure(figsize=(6.6, 4.0), dpi=100, facecolor="white")
    figure.set_layout_engine("none")  # the columns beside the axes have their place
    axes = figure.add_axes((0.155, 0.08, 0.425, 0.71))
    draw_margins(axes, circuit.metrics, measured.outcome, targets, measured.margins)
    rows = [circuit.metrics.names.index(name) for name in predicted.margins]
    axes.plot(list(predicted.margins.values()), rows, "D", color="white", markeredgecolor=_SURROGATE, markersize=6)
    title = f"design of step {row.step:,}: reward {measured.reward:.3f}, predicted {predicted.reward:.3f}"
    figure.text(0.02, 0.945, title, fontsize=11, color=_INK, weight="bold", va="center")
    figure.text(0.02, 0.895, "bars and values: ngspice; diamonds: surrogate", fontsize=9, color=_MUTED, va="center")
    return figure
