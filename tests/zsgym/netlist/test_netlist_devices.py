"""Device lines: layout parameters of transistors, sources, and the passives of SKY130."""

from pathlib import Path

import pytest

from tests.zsgym.netlist.people import NFET, OTA, PFET, XSCHEM, load, with_lines
from zsgym.base.errors import NetlistError
from zsgym.netlist import Device, flatten, parse_netlist
from zsgym.netlist.passives import CAPACITORS, resistance


def device(line: str, header: str = ".subckt s a b") -> Device:
    return parse_netlist(f"{header}\n{line}\n.ends")["s"].devices[0]


class TestLayout:
    def test_expressions_of_xschem(self) -> None:
        values = device(f"XM1 a b a b {NFET} L=0.5 W=6 nf=3 {XSCHEM} sa=0 sb=0 sd=0 mult=1 m=1").values
        numbers = {key: value.evaluate() for key, value in values.items()}
        expected = {
            "ad": 2 * 2 * 0.29,
            "as": 2 * 2 * 0.29,
            "pd": 4 * 2.29,
            "ps": 4 * 2.29,
            "nrd": 0.29 / 6,
            "nrs": 0.29 / 6,
        }
        assert {key: numbers[key] for key in expected} == pytest.approx(expected, rel=1e-15)
        assert (numbers["w"], numbers["nf"], numbers["mult"], numbers["m"]) == (6, 3, 1, 1)

    @pytest.mark.parametrize(
        ("values", "area"),
        [
            ("W=5 L=1 ad='2*W'", 10),
            ("ad={2*w} L=1 W={wide}", 40),  # in any order, and with a parameter of the circuit
            ("W={w} L=1 ad='2*W'", 14),  # a name in its own value means the one outside
            ("W={2*w} L={w/10} ad='L'", 1.4),
            ("W=5 L=1 ad='W/nf'", 5),  # one finger where nothing is said
            ("W=5 L=1 nf='int(W/2)' ad='W/nf'", 2.5),
            ("W=5 L=1 as=3 ad='as*mult'", 3),
            ("W=5 L=1 ad=W*0.5", 2.5),
        ],
    )
    def test_a_transistor_sees_its_own_sizes_first(self, values: str, area: float) -> None:
        found = device(f"XM1 a b a b {NFET} {values}").values["ad"]
        assert found.evaluate({"w": 7, "wide": 20}) == pytest.approx(area)

    def test_sizes_of_a_cell_reach_its_transistor(self) -> None:
        cell = f".subckt cell d g s w=1 l=1\nXM1 d g s s {NFET} W={{w}} L={{l}} ad='W*0.29' nf='int(w/2)'\n.ends\n"
        flat = flatten(parse_netlist(cell + ".subckt top a b\nX1 a b a cell w={width} l=0.5\n.ends\n"), "top")
        assert flat.devices[0].values["ad"].evaluate({"width": 10}) == pytest.approx(2.9)
        assert flat.devices[0].values["nf"].evaluate({"width": 10}) == 5

    def test_lines_as_layout_extraction_writes_them(self) -> None:
        """Magic gives micrometres as 1e+06u: a million times a micro."""
        values = device(f"X0 a b a b {PFET} ad=2.9e+11p pd=2.58e+06u as=0.29 ps=2.58 w=1e+06u l=150000u").values
        numbers = {key: value.evaluate() for key, value in values.items()}
        expected = {"ad": 0.29, "pd": 2.58, "as": 0.29, "ps": 2.58, "w": 1, "l": 0.15}
        assert numbers == pytest.approx(expected)

    def test_mult_is_read_and_multiplies_nothing(self, tmp_path: Path) -> None:
        """As in the library, where it enters mismatch only; M multiplies."""
        netlist = OTA.replace("M=8\nXP3", "m=8 mult=8\nXP3").replace("M=32", "M=32 mult=3")
        counts = {d.name: d.values["m"].evaluate() for d in load(tmp_path, netlist).devices if "m" in d.values}
        assert (counts["xp2"], counts["xp3"]) == (8, 32)

    def test_given_twice_is_refused(self) -> None:
        with pytest.raises(NetlistError, match="'m' is given twice"):
            device(f"XM1 a b a b {NFET} W=1 L=1 m=2 M=2")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("V1 a b 0.9", 0.9),
        ("V1 a b dc 0.9", 0.9),
        ("V1 a b DC 0.9 AC 0", 0.9),
        ("V1 a b ac 0 0 dc 0.9", 0.9),
        ("V1 a b dc=0.9 ac=0", 0.9),
        ("V1 a b {amp/2}", 0.45),
        ("I1 a b 0.9 ac 0", 0.9),
        ("I1 a b 0.9 m=2", 0.9),
        ("R1 a b 0.9 tc1=0 tc2=0", 0.9),
        ("L1 a b 0.9 ic=1", 0.9),
    ],
)
def test_direct_part_of_sources_and_plain_elements(line: str, value: float) -> None:
    assert device(line).values["value"].evaluate({"amp": 0.9}) == value


class TestMimCapacitors:
    def test_are_a_capacitance_behind_a_small_resistance(self, tmp_path: Path) -> None:
        circuit = load(tmp_path, with_lines("XC1 x2 out sky130_fd_pr__cap_mim_m3_1 W=20 L='W/2' MF=1 m=3"))
        found = {d.name: d for d in circuit.devices if d.name.endswith(("xc1.c1", "xc1.rs"))}
        assert list(found) == ["c.xc1.c1", "r.xc1.rs"]
        capacitance, series = (d.values["value"].evaluate() for d in found.values())
        assert capacitance == pytest.approx(3 * (2e-15 * 19.975 * 9.975 + 0.38e-15 * (19.975 + 9.975)))
        assert 0.001 < series < 0.1
        assert found["c.xc1.c1"].nodes == {"p": "x2", "n": "xc1.plate"}
        assert found["r.xc1.rs"].nodes == {"p": "xc1.plate", "n": "out"}

    def test_sizes_by_default_are_those_of_the_library(self) -> None:
        text = ".subckt s a b\nXC1 a b sky130_fd_pr__cap_mim_m3_2\n.ends"
        assert flatten(parse_netlist(text), "s").devices[0].values["value"].evaluate() == pytest.approx(
            2.64e-15, rel=0.01
        )

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            ("XC1 a b b sky130_fd_pr__cap_mim_m3_1 W=1 L=1", "'xc1' connects 3 nets, but '.*' has the 2 ports c0 c1"),
            ("XC1 a b sky130_fd_pr__cap_mim_m3_1 W=10u L=10u", "W=1e-05 is in metres, .*: write W=10"),
            ("XC1 a b sky130_fd_pr__cap_mim_m3_1 W=1 H=1", "'.*' has no parameter 'h'; it has: w, l, mf"),
        ],
    )  # fmt: skip
    def test_mistakes(self, line: str, why: str) -> None:
        with pytest.raises(NetlistError, match=why):
            flatten(parse_netlist(f".subckt s a b\n{line}\n.ends"), "s")


class TestOtherDevicesOfTheLibrary:
    @pytest.mark.parametrize(
        ("line", "why"),
        [
            ("XR3 a b a sky130_fd_pr__res_high_po_0p35 L=5 mult=1 m=2", r"such as `R3 a b 3\.1\d+k`, as large as"),
            ("XR3 a b a sky130_fd_pr__res_xhigh_po W=1 L=10", r"`R3 a b 21\.\d+k`"),
            ("R3 a b sky130_fd_pr__res_generic_po W=1 L=10 m=1", r"`R3 a b 50\d\.\d`"),
            ("XR a b a sky130_fd_pr__res_high_po_0p69 L={length}", "such as `R1 a b 1k`, with its own value"),
            ("R3 a b sky130_fd_pr__res_strange W=1 L=10", "such as `R3 a b 1k`, with its own value"),
            ("XC7 a b a sky130_fd_pr__cap_vpp_11p5x11p7_m1m2_noshield m=1", "such as `C7 a b 100f`; read as"),
            ("X1 a b a sky130_fd_pr__cap_var_lvt W=1 L=1", "not read yet: write the capacitor that it is"),
            ("XQ1 a b a sky130_fd_pr__pnp_05v5_W3p40L3p40", "is not a device that is simulated; valid models: sky"),
            ("XD1 a b sky130_fd_pr__diode_pw2nd_05v5 area=1", "is not a device that is simulated"),
            ("XM1 a b a b sky130_fd_pr__nfet_01v8_lvt W=1 L=1", "not a transistor that is simulated; valid models: s"),
            ("XM1 a b a b sky130_fd_pr__nfet_g5v0d10v5 W=1 L=1", "not a transistor that is simulated"),
        ],
    )  # fmt: skip
    def test_are_refused_with_what_to_write(self, line: str, why: str) -> None:
        with pytest.raises(NetlistError, match=rf"f:2: .*{why}"):
            parse_netlist(f".subckt s a b\n{line}\n.ends", "f")

    @pytest.mark.parametrize("size", [(None, 5.0), (1.0, None), (1.0, 0.0), (0.0, 5.0)])
    def test_no_resistance_without_a_size(self, size: tuple[float | None, float | None]) -> None:
        assert resistance("sky130_fd_pr__res_generic_po", *size) is None

    def test_both_mim_capacitors_are_known(self) -> None:
        assert list(CAPACITORS) == ["sky130_fd_pr__cap_mim_m3_1", "sky130_fd_pr__cap_mim_m3_2"]


def test_a_slash_before_a_subcircuit_is_named() -> None:
    with pytest.raises(NetlistError, match="'x1': a slash before the name of a subcircuit is not read: leave it out"):
        parse_netlist(".subckt s a b\nX1 a b / leaf\n.ends\n.subckt leaf a b\n.ends")


def test_a_misspelt_subcircuit_is_named() -> None:
    with pytest.raises(NetlistError, match="unknown subcircuit 'leav'; did you mean 'leaf'"):
        parse_netlist(".subckt s a b\nX1 a b leav\n.ends\n.subckt leaf a b\nR1 a b 1\n.ends")
