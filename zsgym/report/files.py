"""The files of a report: the page, and the netlist to take along."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zsgym.base.errors import ConfigError
from zsgym.base.files import write_text
from zsgym.report.evidence import Evidence, Request, gather
from zsgym.report.figures import Curve
from zsgym.report.page import render_page
from zsgym.report.testbench import testbench_deck
from zsgym.sizing.history import SearchHistory
from zsgym.sizing.tradeoff import Tradeoff


def write_report(
    request: Request,
    out: Path,
    netlist: Path | None = None,
    *,
    curves: Mapping[str, Curve] | None = None,
    history: SearchHistory | None = None,
    tradeoff: Tradeoff | None = None,
    comparison: str = "",
) -> Evidence:
    """Simulate a sizing and write what there is to know about it.

    :param out: the HTML file. :param netlist: also write the sized netlist with its testbench here.
    :param curves: title -> training curve. :param history: of the search that found the sizing.
    :param tradeoff, comparison: see `render_page`.
    :raises ConfigError: a file cannot be written, the request is invalid (`gather`), or the class of circuits has no
        testbench for plain ngspice and a netlist is asked for.
    :raises SimulatorError: ngspice is there and failed.
    """
    evidence = gather(request)
    deck = None
    if evidence.truth is not None or netlist:
        deck = testbench_deck(evidence)
    if netlist and deck is None:
        name = request.circuit.circuit_class.name
        raise ConfigError(f"the class {name!r} has no testbench for plain ngspice: leave --netlist out")
    if netlist and deck is not None:
        write_text(netlist, deck)
    write_text(out, render_page(evidence, deck, curves, history, tradeoff, comparison))
    return evidence
