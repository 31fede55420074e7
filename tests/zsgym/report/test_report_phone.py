"""The report on a phone: no element is wider than the screen, and what has to be wide scrolls in a box of its own."""

import re
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest

from zsgym.circuits import load_circuit
from zsgym.report import Evidence, Request, render_page
from zsgym.simulators.outcome import Outcome, Status

PHONE = 360 - 2 * 14
"""Pixels between the margins of a narrow phone."""


@pytest.fixture(scope="module")
def page() -> str:
    """A page with every table: specs beside predictions, failed checks, sizing and operating points."""
    circuit = load_circuit("nmcf")
    metrics = dict.fromkeys(circuit.metrics.names, 1.0)
    point = dict.fromkeys(("id", "gm", "gds", "vdsat", "vds", "vgs"), 0.5)
    raw = {"converged": 1.0, "output_error": 1e-6, "max_pole_real": 1e5}
    points = {device.name: point for device in circuit.devices}
    truth = Outcome(Status.SUCCESS, metrics=metrics, raw=raw, operating_points=points, backend="ngspice")
    intervals = dict.fromkeys(metrics, (0.5, 1.5))
    prediction = Outcome(Status.SUCCESS, metrics=metrics, p_valid=0.97, uncertainty=intervals)
    notes = ("Not verified: " + "/a/very/long/path" * 20,)
    evidence = Evidence(Request.of(circuit, circuit.known_good["robust"]), truth, prediction, notes=notes)
    return render_page(evidence, "* netlist", {"reward": (np.arange(3.0), np.arange(3.0))})


class Reader(HTMLParser):
    """The elements of a page with all that they stand in, each as (tag, classes, attributes)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, set[str], dict[str, str | None]]] = []
        self.seen: list[list[tuple[str, set[str], dict[str, str | None]]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.open.append((tag, set((values.get("class") or "").split()), values))
        self.seen.append(list(self.open))
        if tag == "meta":
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def all(self, tag: str) -> list[list[tuple[str, set[str], dict[str, str | None]]]]:
        return [path for path in self.seen if path[-1][0] == tag]


def rules(style: str) -> dict[str, str]:
    """Selector -> all its declarations in a style sheet."""
    found: dict[str, str] = {}
    for selectors, declarations in re.findall(
        r"([^{}]+)\{([^{}]*)\}", re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    ):
        for selector in selectors.split(","):
            found[selector.strip()] = found.get(selector.strip(), "") + declarations
    return found


@pytest.fixture(scope="module")
def style() -> str:
    return resources.files("zsgym.report").joinpath("style.css").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def narrow(style: str) -> dict[str, str]:
    """What holds on narrow screens only."""
    (block,) = re.findall(r"^@media \(max-width: 560px\) \{\n(.*?)^\}", style, flags=re.DOTALL | re.MULTILINE)
    return rules(block)


def test_the_viewport_is_that_of_the_device(page: str) -> None:
    contents = [path[-1][2].get("content") for path in Reader(page).all("meta")]
    assert "width=device-width, initial-scale=1" in contents


def test_every_table_and_the_schematic_scroll_in_a_box_of_their_own(page: str) -> None:
    reader = Reader(page)
    assert len(reader.all("table")) == 4
    for path in reader.all("table"):
        assert any("scroll" in classes for _, classes, _ in path)
    schematics = [path for path in reader.all("svg") if "schematic" in path[-1][1]]
    assert len(schematics) == 1
    assert any("scroll" in classes for _, classes, _ in schematics[0])


def test_drawings_take_the_width_that_there_is(page: str, style: str) -> None:
    assert "width: 100%; height: auto" in rules(style)["svg"]
    drawings = [path for path in Reader(page).all("svg") if all(tag != "svg" for tag, *_ in path[:-1])]
    assert drawings
    for path in drawings:
        assert path[-1][2].get("viewbox")
        assert "width" not in path[-1][2]


def test_nothing_but_what_scrolls_asks_for_more_than_a_phone_has(style: str) -> None:
    wide = {
        selector: float(pixels)
        for selector, declarations in rules(style.split("@media print")[0]).items()
        for pixels in re.findall(r"(?<!max-)(?:width|flex-basis): (\d+)px", declarations)
        if float(pixels) > PHONE
    }
    assert not wide
    assert "min-width: calc(0.75 * var(--natural))" in rules(style)[".schematic"]


def test_tables_of_results_give_each_row_the_width_of_the_screen(page: str, narrow: dict[str, str]) -> None:
    """Nothing of a verdict, a spec or a size is cut off; each number then carries the name of its column."""
    reader = Reader(page)
    classes = [path[-1][1] for path in reader.all("table")]
    assert classes == [{"specs", "stack"}, {"checks", "stack"}, {"sizes", "stack"}, {"keep"}]
    assert "display: none" in narrow[".stack thead"]
    assert "display: flex" in narrow[".stack tr"]
    assert "flex-wrap: wrap" in narrow[".stack tr"]
    assert "attr(data-label)" in narrow[".stack .named::before"]
    labels = [path[-1][2]["data-label"] for path in reader.all("td") if "named" in path[-1][1]]
    assert set(labels) == {
        *("surrogate", "90 % interval", "covers"),
        *("measured", "limit", "a miss means"),
        *("W", "L", "M"),
    }
    assert all("named" in path[-1][1] for path in reader.all("td") if "data-label" in path[-1][2])


def test_a_table_that_scrolls_keeps_the_names_of_its_rows_in_sight(narrow: dict[str, str]) -> None:
    assert "position: sticky; left: 0; background: var(--paper)" in narrow[".scroll .keep td:first-child"]


def test_long_words_are_broken(style: str) -> None:
    assert "overflow-wrap: break-word" in rules(style)[".note"]
    assert "overflow-wrap: anywhere" in rules(style)["dd"]
