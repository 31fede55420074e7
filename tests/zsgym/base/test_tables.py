"""Tables of text."""

from zsgym.base.tables import table
from zsgym.classes.amplifier import METRICS
from zsgym.classes.specs import spec_table, target_text

MEASURED = dict.fromkeys(METRICS.names, 1.0) | {"gbw": 1.5e6, "power": 250e-6, "vos": -40e-6}
TARGETS = {"gbw": 1e6, "power": 200e-6, "vos": 40e-6}


def cells(text: str) -> dict[str, list[str]]:
    """Metric -> what is beside it."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()[2:]}


def test_columns_are_aligned() -> None:
    lines = table(("name", "value"), [("a", "1"), ("longer", "100")], right=(1,)).splitlines()
    assert lines == ["name    value", "------  -----", "a           1", "longer    100"]


def test_targets_show_their_direction() -> None:
    assert target_text(METRICS, "gbw", 1e6) == "> 1 MHz"
    assert target_text(METRICS, "vos", -4e-5) == "< 40 uV"


def test_every_metric_is_judged_by_its_spec() -> None:
    rows = cells(spec_table(METRICS, MEASURED, TARGETS))
    assert list(rows) == list(METRICS.names)
    assert rows["gbw"] == ["1.5", "MHz", ">", "1", "MHz", "+0.200", "yes"]
    assert rows["power"] == ["250", "uW", "<", "200", "uW", "-0.111", "no"]
    assert rows["vos"] == ["-40", "uV", "<", "40", "uV", "+0.000", "yes"]
    assert rows["cmrr"] == ["1", "dB", "-", "-", "-"], "no spec"


def test_what_does_not_work_meets_no_spec() -> None:
    rows = cells(spec_table(METRICS, None, TARGETS))
    assert rows["gbw"] == ["-", ">", "1", "MHz", "-", "no"]
    assert rows["cmrr"] == ["-", "-", "-", "-"]
