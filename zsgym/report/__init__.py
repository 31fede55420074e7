"""The report of a design: margins, sizes, waveforms and provenance in one HTML file, and a netlist to take along."""

from zsgym.report.evidence import Evidence, Request, gather, verdict
from zsgym.report.files import write_report
from zsgym.report.page import render_page
from zsgym.report.testbench import testbench_deck

__all__ = ["Evidence", "Request", "gather", "render_page", "testbench_deck", "verdict", "write_report"]
