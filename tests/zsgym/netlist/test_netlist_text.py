"""What stands in a file: encodings, line endings, comments, titles, lines of a testbench, xschem's exports."""

from pathlib import Path
from typing import Any

import pytest

from tests.zsgym.netlist.people import DEVICES, ENDS, HEADER, MIRROR, NFET, OTA, load, with_lines
from zsgym.base.encoding import decode
from zsgym.base.errors import ConfigError, NetlistError
from zsgym.netlist import write_subcircuit

SWEEP = ".ac dec 10 1 1g\n.op\n.tran 1n 1u\n.save all\n.print ac v(out)\n.meas ac gain max vdb(out)\n.temp 85\n"
SETTINGS = ".options reltol=1e-4 savecurrents\n.option scale=1u\n.nodeset v(pb)=0.9\n.ic v(pb)=0.9\n.title OTA\n"
MODELS = '.lib "/usr/share/pdk/sky130A/libs.tech/ngspice/sky130.lib.spice" tt\n.include sky130_models.spice\n'
MODELS += ".lib $::SKYWATER_MODELS/sky130.lib.spice tt $ xschem's\n.inc '../sky130_fd_pr/cells/a.spice'\n"
MODELS += ".lib https://pdk/libs.tech/ngspice/all.lib tt ; corner\n"
CONTROL = ".control\nrun\nwrite out.raw\n* V1 a b 1\n.endc\n"


@pytest.fixture
def same(tmp_path: Path) -> Any:
    """Asserts that a netlist is the amplifier, whatever it looks like."""
    expected = write_subcircuit(load(tmp_path, OTA).subcircuit)

    def check(netlist: str | bytes, **keys: Any) -> None:
        assert write_subcircuit(load(tmp_path, netlist, **keys).subcircuit) == expected

    return check


COMMENT = "* bias of 12 \N{MICRO SIGN}A, \N{LEFT DOUBLE QUOTATION MARK}Strom\N{RIGHT DOUBLE QUOTATION MARK}\n"
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_encodings_and_line_endings(same: Any, encoding: str, ending: str) -> None:
    same((COMMENT + OTA).replace("\n", ending).encode(encoding))


@pytest.mark.parametrize(
    ("encoding", "comment"), [("latin-1", "* 12 µA\n"), ("shift-jis", "* 増幅器\n"), ("gbk", "* 放大器\n")]
)
def test_other_encodings_are_fine_in_comments(same: Any, encoding: str, comment: str) -> None:
    same((comment + OTA).encode(encoding))


@pytest.mark.parametrize("micro", ["12\N{MICRO SIGN}", "12\N{GREEK SMALL LETTER MU}"])
def test_a_micro_sign_behind_a_number_is_micro(same: Any, micro: str) -> None:
    same(OTA.replace("12u", micro))


@pytest.mark.parametrize(
    "netlist",
    [
        OTA.upper().replace("{CC}", "{cc}"),
        OTA.replace(" ", "\t").replace("\tW", "\N{NO-BREAK SPACE}W"),
        OTA.replace("\n", " \t \n\n"),
        OTA.replace(" W=", "\n\n* a comment\n  + W=").replace(" L=", "\n+L= "),
        OTA.replace(" W=", " \\\\\n W="),
        OTA.replace("M=4\n", "M=4 ; four\n").replace("M=8\n", "M=8 $ eight\n").replace("1.2k\n", "1.2k // zero\n"),
        OTA.replace("Cm", "$ a comment\n; another\n// and one more\nCm"),
        "Two-stage amplifier, third version\n" + OTA,
        "Miller OTA by M. Engineer\n" + OTA,
        OTA.replace(ENDS, ".ENDS OTA\n"),
        OTA.replace(".subckt", ".macro").replace(".ends", ".eom"),
        HEADER.replace("vss vdd inn inp out", "(vss vdd inn inp out)") + DEVICES + ENDS,
        OTA + ".end\n",
        OTA + ".END\nV1 a 0 1\n.subckt\nfor sale\n",
        MODELS + SETTINGS + SWEEP + OTA + CONTROL,
        HEADER + DEVICES + MODELS + SETTINGS + SWEEP + CONTROL + ENDS,
    ],
)
def test_what_makes_no_difference(same: Any, netlist: str) -> None:
    same(netlist)


def test_expressions_without_braces(tmp_path: Path) -> None:
    """Behind a name only, as in ngspice, which refuses `R1 a b 2*x` and misreads `W="2 * x"`."""
    circuit = load(tmp_path, OTA.replace("W=6", "W=2*3").replace("1.2k", "r=(1k+200)"))
    values = {device.name: device.values for device in circuit.devices}
    assert (values["xp1"]["w"].evaluate(), values["rz"]["value"].evaluate()) == (6, 1200)
    with pytest.raises(NetlistError, match=r"ota\.spice:12: '1k\+200' is not a value"):
        load(tmp_path, OTA.replace("1.2k", "1k+200"))
    with pytest.raises(
        NetlistError, match=r'ota\.spice:3: "2 \* 3": ngspice reads expressions in double quotes wrongly'
    ):
        load(tmp_path, OTA.replace("M=4", 'M="2 * 3"'))


EXPORT = f"""** sch_path: /home/somebody/ota.sch
**.subckt ota VSS VDD INN INP OUT
*.iopin VSS
*.iopin VDD
*.ipin INN
*.ipin INP
*.opin OUT
{DEVICES}**** begin user architecture code
{MODELS}.param unused=3
{CONTROL}**** end user architecture code
**.ends
.GLOBAL GND
.end
"""


class TestXschem:
    @pytest.mark.parametrize(
        "netlist",
        [
            EXPORT,
            EXPORT.replace("**.ends\n", ""),
            EXPORT.replace(" VDD INN", " VDD\n+ INN").replace("**.ends", "**.ends ota"),
        ],
    )
    def test_a_top_that_is_commented_out_is_read(self, same: Any, netlist: str) -> None:
        same(netlist)

    def test_with_a_subcircuit_below(self, tmp_path: Path) -> None:
        size = f"c c {NFET} W=3 L=0.6 M=3"
        inner = f".subckt mirror a b c\n*.iopin a\nX1 a a {size}\nX2 b a {size}\n.ends\n"
        netlist = EXPORT.replace(MIRROR, "xm x1 x2 vss mirror\n").replace(".GLOBAL", inner + ".GLOBAL")
        circuit = load(tmp_path, netlist)
        assert "xm.x2" in [device.name for device in circuit.devices]
        assert circuit.subcircuit.name == "ota"

    def test_names_of_its_own_for_ports(self, same: Any) -> None:
        netlist = EXPORT
        for port, name in (("VSS", "AVSS"), ("VDD", "AVDD"), ("INN", "MINUS"), ("INP", "PLUS")):
            netlist = netlist.replace(port, name).replace(f" {port.lower()}", f" {name}")
        same(netlist, ports={"vss": "AVSS", "vdd": "avdd", "inn": "MINUS", "inp": "PLUS"})

    def test_constants_of_the_schematic_hold_in_the_whole_file(self, tmp_path: Path) -> None:
        circuit = load(tmp_path, EXPORT.replace("unused=3", "rz='2*half' half=600").replace("1.2k", "{rz}"))
        assert {d.name: d for d in circuit.devices}["rz"].values["value"].evaluate() == 1200

    @pytest.mark.parametrize(
        ("netlist", "why"),
        [
            (
                EXPORT.replace(" VSS VDD INN INP OUT", ""),
                r"ota.spice:2: .* commented out, as xschem does, and names no ports",
            ),
            (EXPORT.replace(DEVICES, ""), r"ota.spice:2: .* and is followed by no device: netlist the schematic"),
            (
                DEVICES,
                r"ota.spice:2: device 'xp1' outside .subckt \(lines 2 to 11\): put `.subckt NAME ports...` before",
            ),
            (
                EXPORT.replace("**** begin", "V1 VDD GND 1.8\n**** begin"),
                r"ota.spice:19: voltage source 'v1' joins 'vdd' and",
            ),
        ],
    )
    def test_what_cannot_be_read_says_what_to_do(self, tmp_path: Path, netlist: str, why: str) -> None:
        with pytest.raises(ConfigError, match=why):
            load(tmp_path, netlist)


class TestDevicesOutside:
    """A complete deck of somebody's, with a testbench around the amplifier."""

    BENCH = OTA + "V1 vdd 0 1.8\nX1 0 vdd a a b ota\nD1 a b nothing\n.end\n"

    def test_are_refused_as_one(self, tmp_path: Path) -> None:
        with pytest.raises(NetlistError) as caught:
            load(tmp_path, self.BENCH)
        (line,) = str(caught.value).splitlines()
        assert "ota.spice:14: device 'v1' outside .subckt (lines 14 to 16)" in line
        assert "name the circuit by `subcircuit:` in the YAML file" in line

    def test_are_a_testbench_where_the_circuit_is_named(self, same: Any) -> None:
        same(self.BENCH, subcircuit="ota")

    def test_of_an_exported_testbench(self, same: Any) -> None:
        bench = "**.subckt bench\nV1 VDD GND 1.8\nx1 GND VDD a a b ota\n**.ends\n" + OTA + ".GLOBAL GND\n.end\n"
        same(bench, subcircuit="ota")


class TestSubcircuits:
    def test_the_one_that_uses_the_others_is_the_circuit(self, tmp_path: Path) -> None:
        inner = f".subckt mirror a b c\nX1 a a c c {NFET} W=3 L=0.6\nX2 b a c c {NFET} W=3 L=0.6\n.ends\n"
        circuit = load(tmp_path, inner + OTA.replace(MIRROR, "xm x1 x2 vss mirror m=3\n"))
        assert circuit.subcircuit.name == "ota"

    def test_what_nobody_uses_is_not_read(self, same: Any) -> None:
        same(OTA + ".subckt strange a b\nQ1 a b c npn\nX1 a b c nothing\n.ends\n", subcircuit="ota")

    def test_several_need_a_name(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"ota\.yaml: subcircuit: this key is required .* it defines: ota, other"):
            load(tmp_path, OTA + ".subckt other a b\nR1 a b 1\n.ends\n")


class TestParametersOfTheFile:
    def test_are_constants(self, tmp_path: Path) -> None:
        circuit = load(
            tmp_path, OTA.replace("1.2k", "{rz}") + ".param half='2*quarter' quarter=300\n.param rz={2*half}\n"
        )
        assert {d.name: d for d in circuit.devices}["rz"].values["value"].evaluate() == 1200

    def test_give_way_to_declared_ones(self, same: Any) -> None:
        same(".param cc=3p\n" + OTA)

    def test_keep_their_dependence_on_declared_ones(self, tmp_path: Path) -> None:
        circuit = load(tmp_path, ".param cc=3p\n.param cm={2*cc}\n" + OTA.replace("{cc}", "{cm}"))
        assert {d.name: d for d in circuit.devices}["cm"].values["value"].evaluate({"cc": 1e-12}) == 2e-12

    def test_that_cannot_be_read_matter_where_they_are_used(self, same: Any, tmp_path: Path) -> None:
        same(".param mc=agauss(0,1,3)\n" + OTA)
        with pytest.raises(NetlistError, match=r"ota.spice:1: cannot read the expression 'agauss\(0,1,3\)'"):
            load(tmp_path, ".param mc=agauss(0,1,3)\n" + OTA.replace("1.2k", "{mc}"))

    def test_circles_are_found(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="netlist: 'a', 'b' is defined through itself"):
            load(tmp_path, ".param a={b+1} b={a}\n" + OTA.replace("1.2k", "{a}"))


@pytest.mark.parametrize(
    ("netlist", "why"),
    [
        (b"", r"ota\.spice: the netlist is empty$"),
        (b"\xef\xbb\xbf", "the netlist is empty"),
        (b"\n \n\t\n", "the netlist is empty"),
        (b"* one\n* two\n", "the netlist holds nothing but comments: `.subckt NAME ports...`"),
        (b"a title\n.end\n" + OTA.encode(), "the netlist defines no subcircuit"),
        (b"\x7fELF\0\1\2\0\0abc", "this is not a text file: it holds zero bytes"),
        (b"\xff\xfe\x00", "this is not complete UTF-16-LE, which its first bytes announce: save the file as UTF-8"),
        (OTA.replace("pb", "pß").encode(), r"ota\.spice:2: only ASCII .* outside comments; found 'ß' \(U\+00DF\)"),
        (OTA.replace("1.2k", "\N{MINUS SIGN}1.2k").encode(), r"ota\.spice:12: .* \(U\+2212\)$"),
        (HEADER + DEVICES + ".end\n", r"ota\.spice:1: \.subckt 'ota' has no \.ends"),
        (with_lines(".control", "run"), r"ota\.spice:13: \.control has no \.endc"),
        (with_lines('.include "/home/me/sky130-amps/cells.spice"'), r"ota\.spice:13: '\.include .*' is not read: put"),
        (with_lines(".lib"), r"ota\.spice:13: '\.lib' is not read: put"),
        (with_lines(".include cells.spice"), r"ota\.spice:13: '\.include cells\.spice' is not read: put"),
        (with_lines(".option scale=1"), r"ota\.spice:13: \.option scale .*; scale=1u is simulated"),
        (with_lines(".options tnom=25"), "tnom=27 is simulated"),
        (with_lines(".option wnflag=1"), "wnflag=0 is simulated"),
        (with_lines(".model n nmos"), r"ota\.spice:13: '\.model' is not supported: the models are SKY130's"),
        (with_lines(".func f(x) {x}"), r"ota\.spice:13: '\.func' is not supported"),
        (with_lines(".subckt inner a b", ".ends"), r"ota\.spice:13: \.subckt inside \.subckt 'ota' is not supported"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, netlist: str | bytes, why: str) -> None:
    with pytest.raises(NetlistError, match=why) as caught:
        load(tmp_path, netlist)
    assert str(tmp_path / "ota.spice") in str(caught.value)


def test_every_problem_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = (
        "Rq x1",
        "D1 x1 x2 diode",
        "Cm x1 vss 1p",
        "Xf x1 x2 filter",
        f"XQ x1 x2 vss {NFET} W=1 L=1 width=1 area=2",
    )
    with pytest.raises(NetlistError) as caught:
        load(tmp_path, with_lines(*lines))
    told = str(caught.value).splitlines()
    assert [line.split(": ")[0].rpartition(":")[2] for line in told] == ["13", "14", "15", "16", "17"]


def test_a_circuit_file_may_have_any_encoding(tmp_path: Path) -> None:
    load(tmp_path, OTA)
    path = tmp_path / "ota.yaml"
    path.write_bytes(("# 12 µA\r\n" + path.read_text().replace("\n", "\r\n")).encode("latin-1"))
    from zsgym.circuits import load_circuit

    assert load_circuit(path).name == "ota"


def test_decoding_keeps_the_text() -> None:
    for encoding in ENCODINGS:
        assert decode((COMMENT + OTA).encode(encoding)) == COMMENT + OTA
