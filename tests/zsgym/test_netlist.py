"""The netlist subset: what is read means the same in Python, in ngspice and when written back; the rest is refused."""

import random
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zsgym.expression_strategies import VALUES, expressions, numbers
from zsgym.base.errors import ConfigError, NetlistError
from zsgym.circuits import load_circuit
from zsgym.netlist import Device, DeviceKind, Expression, Subcircuit, flatten, parse_netlist, write_subcircuit
from zsgym.netlist.reader import MODELS
from zsgym.pdk import DEVICES

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS: list[DeviceKind] = ["nmos", "pmos", "resistor", "capacitor", "inductor", "isource", "vsource"]
FIXED = {"nf": 1.0, "mult": 1.0, "ad": 0.0, "sd": 0.0}

# --- strategies -----------------------------------------------------------------------------------------------------

nets = st.sampled_from(["vss", "vdd", "inn", "inp", "out", "n1", "n2", "0"])


@st.composite
def devices(draw: st.DrawFn, index: int) -> Device:
    kind = draw(st.sampled_from(KINDS))
    values = {"m": draw(expressions)} if draw(st.booleans()) else {}
    if kind in ("nmos", "pmos"):
        model = "sky130_fd_pr__nfet_01v8" if kind == "nmos" else "sky130_fd_pr__pfet_01v8"
        values |= {key: Expression.constant(FIXED[key]) for key in draw(st.sets(st.sampled_from(sorted(FIXED))))}
        values |= {"w": draw(expressions), "l": draw(expressions)}
        letter = draw(st.sampled_from(["xm", "m"]))
        return Device(f"{letter}{index}", kind, {pin: draw(nets) for pin in "dgsb"}, model, values)
    letter = {"resistor": "r", "capacitor": "c", "inductor": "l", "isource": "i", "vsource": "v"}[kind]
    value = {"value": draw(expressions)}
    if "m" in values and kind != "vsource":
        value["m"] = values["m"]
    return Device(f"{letter}{index}", kind, {"p": draw(nets), "n": draw(nets)}, None, value)


@st.composite
def subcircuits(draw: st.DrawFn) -> Subcircuit:
    count = draw(st.integers(1, 6))
    defaults = {name: Expression(draw(numbers)) for name in draw(st.sets(st.sampled_from(["a", "b_2"])))}
    members = tuple(draw(devices(index)) for index in range(count))
    return Subcircuit("top", ("vss", "vdd", "inn", "inp", "out"), members, defaults)


# --- reading and writing --------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(subcircuits())
def test_written_netlist_reads_back_unchanged(subcircuit: Subcircuit) -> None:
    text = write_subcircuit(subcircuit)
    assert parse_netlist(text) == {"top": subcircuit}
    assert write_subcircuit(parse_netlist(text)["top"]) == text


@settings(max_examples=60)
@given(subcircuits(), st.integers(0, 2**32))
def test_layout_case_and_comments_do_not_matter(subcircuit: Subcircuit, seed: int) -> None:
    assert parse_netlist(_scramble(write_subcircuit(subcircuit), random.Random(seed))) == {"top": subcircuit}


def _scramble(text: str, rng: random.Random) -> str:
    """The same netlist in another layout: case, spaces, continuation lines, quotes for braces, comments."""
    result = ["* a title"]
    for line in text.splitlines():
        line = "".join(rng.choice((letter.lower(), letter.upper())) for letter in line)
        if rng.random() < 0.5:
            line = line.replace("{", "'").replace("}", "'")
        words = []
        for word in line.split(" "):
            words.append(word.replace("=", rng.choice(("=", " = ", "= "))))
        joined = words[0]
        for word in words[1:]:
            joined += rng.choice(
                (" ", "\t", "   ", "\n+ ", " ; note\n+", " $ note\n\n* note = {\n  +  ", " // note\n+")
            )
            joined += word
        result.append(rng.choice(("", "  ")) + joined + rng.choice(("", "  ", " ; 2 of 3", " $ it's")))
    return "\n".join(result) + rng.choice(("", "\n.end\n"))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.spice")), ids=lambda path: path.stem)
def test_golden_canonical_text(path: Path) -> None:
    """Each golden file holds a netlist and, below the line of dashes, the flat text of its last subcircuit."""
    netlist, _, expected = path.read_text().partition("* ---- canonical ----\n")
    subcircuits = parse_netlist(netlist, path.name)
    assert write_subcircuit(flatten(subcircuits, list(subcircuits)[-1])) == expected


def test_golden_files_exist() -> None:
    assert len(list(GOLDEN.glob("*.spice"))) >= 2


@pytest.mark.parametrize("name", ["nmcf", "nmcnr"])
def test_golden_shipped_circuits(name: str) -> None:
    """The hash of a shipped circuit is stored with every sample: its canonical text must not change unnoticed."""
    expected = (GOLDEN / f"{name}.canonical").read_text()
    assert write_subcircuit(load_circuit(name).subcircuit).lower() == expected


WRAP = ".subckt s a b\n{}\n.ends"
NFET = "sky130_fd_pr__nfet_01v8"
LAYOUT = ("ad", "as", "pd", "ps", "nrd", "nrs", "sa", "sb", "sd")
OTHER_TRANSISTORS = (
    "XM1 a b a b sky130_fd_pr__pfet_01v8_lvt",
    "XM1 a b a b sky130_fd_pr__pfet_g5v0d10v5",
    "M1 a b a b sky130_fd_pr__nfet_01v8_lvt",
    "M1 a b a b my_pmos",
    "XM1 a b a b nfet",
)
MODELS_NAMED = "valid models: sky130_fd_pr__nfet_01v8, sky130_fd_pr__pfet_01v8$"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("D1 a b diode", "'d1' is a diode, which is not simulated: leave it out, .* supported: .subckt, .ends, .param"),
        ("E1 a b c d 10", "'e1' is a controlled source, which is not simulated"),
        ("# a b", "'#' does not begin with the letter of a device"),
        (".model m nmos", "'.model' is not supported"),
        (".include x.spice", "'.include x.spice' is not read: put the subcircuits that the circuit uses into this"),
        ("X1 a b filter", "unknown subcircuit 'filter'; defined in this file: s"),
        ("X1 a b filter W=1 L=1", "unknown subcircuit 'filter'; defined in this file: s"),
        ("XM1 a b a b bsim W=1 L=1", "'bsim' is not a subcircuit of this file and not a transistor that is sim"),
        ("M1 a b a b nfet_pfet W=1 L=1", "not a transistor"),
        *((f"{line} W=1 L=1", MODELS_NAMED) for line in OTHER_TRANSISTORS),
        ("M1 a b a nfet W=1 L=1", "'m1' needs the nets d g s b and a model, 5 words; found 4: a b a nfet"),
        (f"XM1 a b a {NFET} W=1 L=1", f"'xm1' needs the nets d g s b and a model, 5 words; found 4: a b a {NFET}"),
        (f"XM1 a b a b a {NFET}", "needs the nets d g s b and a model, 5 words; found 6"),
        ("XM1 a b a b W=1 L=1", "needs the nets d g s b and a model, 5 words; found 4"),
        ("M1 a b a b nfet W='2*L' L='2*W'", "'[lw]' and '[lw]' are defined through each other"),
        ("M1 a b a b nfet W={w}u L=1", "'{w}u': no suffix may follow an expression. W and L are plain .* micrometres"),
        ("C1 a b 'c'p", "no suffix may follow an expression. .* every other value is in SI units"),
        ("M1 a b a b nfet W=1", "has no L="),
        ("M1 a b a b nfet W=1 L=1 width=2 area=3", "unknown transistor parameter 'area', 'width'; supported: w l m nf"),
        ("M1 a b a b nfet W=1 L=1 W=2", "'w' is given twice"),
        ("R1 a b", "needs two nets and one value"),
        ("R1 a b 1 2", "needs two nets and one value"),
        ("C1 a b 1p area=0", "unknown parameter 'area' of capacitor 'c1'"),
        ("R1 a b 1k tc1=1m", "resistor 'r1': temperature coefficients are not simulated"),
        ("V1 a b 1 m=2", "unknown parameter 'm' of voltage source"),
        ("V1 a b", "voltage source 'v1' needs two nets and one value"),
        ("V1 a b sin(0 1 1k)", "has a waveform, but the testbench stimulates: write its DC value only"),
        ("I1 a b dc 1u pulse (0 1 1n)", "has a waveform"),
        ("V1 a b dc 0.9 ac 1", "source 'v1' has an AC stimulus, but the testbench stimulates"),
        ("V1 a b 0.9 ac", "has an AC stimulus"),
        ("R1 a b 1%", "is not a value"),
        ("R1 a b {1", "brace or quote is not closed"),
        ("R1 a b '1", "brace or quote is not closed"),
        ("R1 a b {1+}", "cannot read the expression"),
        ("R1 a b r=", "is not a value"),
        ("R1 a b m=1 5", "expected a name=value pair"),
        ("R1 a b 1\nR1 a b 2", "device 'r1' is defined twice"),
        (".param x", "name=value"),
        (".param x={y} y=1", "used before it is defined"),
        (".param x={x}", "used before it is defined"),
        (".param x=1 \n.param x=2", "defined twice"),
        (".subckt t a b", "inside .subckt 's'"),
    ],
)
def test_what_is_refused_names_file_and_line(line: str, why: str) -> None:
    with pytest.raises(NetlistError, match=why) as caught:
        parse_netlist("* title\n" + WRAP.format(line), "amp.spice")
    assert re.match(r"amp\.spice:[34]: ", str(caught.value))
    assert isinstance(caught.value, ConfigError)


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("+ continued", "f:1", "needs a line before it"),
        (".subckt s a\n", "f:1", "has no .ends"),
        (".subckt s\n.ends", "f:1", "at least one port"),
        (".subckt s a a\n.ends", "f:1", "listed twice"),
        (".subckt s a\n.ends t", "f:2", "does not close .subckt 's'"),
        (".ends", "f:1", "does not close a .subckt"),
        ("title\nR1 a b 1", "f:2", "device 'r1' outside .subckt (line 2): put `.subckt NAME ports...` before"),
        (".param x", "f", "the netlist defines no subcircuit"),
        ("* only\n* comments", "f", "the netlist holds nothing but comments"),
        (" \n", "f", "the netlist is empty"),
        (".subckt s a x=1 y={x}\n.ends", "f:1", "uses a parameter of the same line"),
        (".subckt s a\n.ends\n.subckt S a\n.ends", "f:3", "defined twice, first in line 1"),
        (".subckt s a x=1\n.param x=2\n.ends", "f:2", "defined twice"),
    ],
)
def test_broken_structure(text: str, where: str, why: str) -> None:
    with pytest.raises(NetlistError, match=f"{where}: .*{re.escape(why)}"):
        parse_netlist(text, "f")


def test_error_of_a_continued_line_names_its_first_line() -> None:
    with pytest.raises(NetlistError, match="f:2: "):
        parse_netlist(".subckt s a b\nM1 a b\n+ a b\n+ nfet W=1\n.ends", "f")


def test_constants_are_put_in() -> None:
    text = ".subckt s a b w=2\nR1 a b {2*r}\n.param k=3 r={k*w*x}\n.ends"
    resistor = parse_netlist(text)["s"].devices[0]
    assert resistor.names == {"w", "x"}
    assert resistor.values["value"].evaluate({"w": 2, "x": 5}) == 60.0
    assert parse_netlist(text)["s"].names == {"x"}


def test_models_are_those_of_the_simulator() -> None:
    assert MODELS == DEVICES


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("XM1 a b a b sky130_fd_pr__nfet_01v8", "nmos"),
        ("XM1 a b a b SKY130_fd_pr__pfet_01v8", "pmos"),
        ("M1 a b a b sky130_fd_pr__pfet_01v8", "pmos"),
        *((f"M1 a b a b {model}", "nmos") for model in ("nfet_01v8", "nfet", "nmos")),
        *((f"M1 a b a b {model}", "pmos") for model in ("pfet_01v8", "pfet", "pmos")),
    ],
)
def test_models_of_transistors(line: str, kind: str) -> None:
    fixed = "nf=1 mult={1} " + " ".join(f"{key}=0" for key in LAYOUT)
    assert parse_netlist(WRAP.format(f"{line} W=1 L=1 {fixed}"))["s"].devices[0].kind == kind


def test_value_may_be_named() -> None:
    text = WRAP.format("C1 a b c=1p ic=0\nR1 a b r=2k m=3 tc1=0\nI1 a b dc 5u ac 0\nI2 a b dc={x}\nV1 a b value=1.8")
    values = [device.values for device in parse_netlist(text)["s"].devices]
    assert [v["value"] for v in values[:3]] == [Expression.constant(x) for x in (1e-12, 2000.0, 5e-6)]
    assert values[1]["m"] == Expression.constant(3)


# --- hierarchy ------------------------------------------------------------------------------------------------------

HIERARCHY = """
.subckt unit in out r=1k
R1 in mid {r}
C1 mid 0 1p
XM1 out mid 0 0 sky130_fd_pr__nfet_01v8 W=1 L={l}
.ends
.subckt pair in out
Xa in x unit r={2*rr}
Xb x out unit m=2
.ends
.subckt top in out
Xp in out pair m={k}
.ends
"""


def test_flatten_names_nets_parameters_and_multipliers() -> None:
    flat = flatten(parse_netlist(HIERARCHY), "TOP")
    by_name = {device.name: device for device in flat.devices}
    assert list(by_name) == ["r.xp.xa.r1", "c.xp.xa.c1", "xp.xa.xm1", "r.xp.xb.r1", "c.xp.xb.c1", "xp.xb.xm1"]
    assert by_name["r.xp.xa.r1"].nodes == {"p": "in", "n": "xp.xa.mid"}
    assert by_name["xp.xa.xm1"].nodes == {"d": "xp.x", "g": "xp.xa.mid", "s": "0", "b": "0"}
    assert by_name["xp.xb.xm1"].nodes["d"] == "out"
    assert by_name["r.xp.xa.r1"].values["value"].evaluate({"rr": 3}) == 6
    assert by_name["r.xp.xb.r1"].values["value"].evaluate() == 1000
    assert by_name["xp.xb.xm1"].values["m"].evaluate({"k": 5}) == 10
    assert flat.names == {"l", "k", "rr"}
    assert parse_netlist(write_subcircuit(flat))["top"] == flat


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (".subckt a p\nX1 p a\n.ends\n", "x1: subcircuit 'a' contains itself"),
        (".subckt b p\nX2 p a\n.ends\n.subckt a p\nX1 p b\n.ends\n", "x1.x2: subcircuit 'a' contains itself"),
        (".subckt b p q=1\n.ends\n.subckt a p\nX1 p b z=1\n.ends\n", "x1: 'b' has no parameter 'z'; it has: q"),
        (".subckt b p\nV1 p 0 1\n.ends\n.subckt a p\nX1 p b m=2\n.ends\n", "v.x1.v1: a voltage source"),
        (".subckt c p\n.ends\n", "no subcircuit 'a'; defined: c"),
    ],
)
def test_hierarchy_errors_print_the_path(body: str, why: str) -> None:
    with pytest.raises(NetlistError, match=re.escape(why)):
        flatten(parse_netlist(body), "a")


def test_instance_with_wrong_number_of_nets() -> None:
    with pytest.raises(NetlistError, match="connects 1 nets, but 'b' has the 2 ports p q"):
        parse_netlist(".subckt b p q\n.ends\n.subckt a p\nX1 p b\n.ends\n")


# --- agreement with the real simulator ------------------------------------------------------------------------------


def _ngspice(tmp_path: Path, deck: str) -> dict[str, float]:
    """Operating-point voltages of a deck whose first line is its title."""
    (tmp_path / "deck.cir").write_text(deck + "\n.control\nset numdgt=15\nop\nprint all\n.endc\n.end\n")
    run = subprocess.run(
        ["ngspice", "-n", "-b", "deck.cir"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    found = re.findall(r"^(\S+) = (\S+)$", run.stdout, re.MULTILINE)
    assert found, run.stdout + run.stderr
    return {name.removeprefix("v(").removesuffix(")"): float(value) for name, value in found}


@pytest.mark.ngspice
@settings(max_examples=3, derandomize=True)
@given(st.lists(expressions, min_size=60, max_size=60))
def test_expressions_mean_the_same_in_ngspice(
    tmp_path_factory: pytest.TempPathFactory, batch: list[Expression]
) -> None:
    expected = {}
    for index, expression in enumerate(batch):
        try:
            expected[f"e{index}"] = expression.evaluate(VALUES)
        except NetlistError:
            continue
    lines = [f"Ve{i} e{i} 0 {{{batch[int(i)]}}}" for i in (name[1:] for name in expected)]
    parameters = " ".join(f"{name}={value}" for name, value in VALUES.items())
    deck = "\n".join(["expressions", f".param {parameters}", "v0 always 0 1", *lines])
    measured = _ngspice(tmp_path_factory.mktemp("expressions"), deck)
    assert {name: measured[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-30)


# Stand-ins for the SKY130 subcircuits: the full library takes seconds to read and is tested with the PDK.
STAND_INS = """
.model nm nmos level=1 vto=0.5 kp=200u lambda=0.05
.model pm pmos level=1 vto=-0.5 kp=80u lambda=0.05
.subckt sky130_fd_pr__nfet_01v8 d g s b w=1 l=1 nf=1
M1 d g s b nm W={w*1u} L={l*1u}
.ends
.subckt sky130_fd_pr__pfet_01v8 d g s b w=1 l=1 nf=1
M1 d g s b pm W={w*1u} L={l*1u}
.ends
"""


@pytest.mark.ngspice
@pytest.mark.parametrize("name", ["nmcf", "nmcnr"])
def test_shipped_netlist_runs_in_plain_ngspice_and_equals_its_canonical_text(tmp_path: Path, name: str) -> None:
    circuit = load_circuit(name)
    sizing = circuit.sizing(circuit.from_point([0.2] * len(circuit.parameters)))
    parameters = ".param " + " ".join(f"{key}={value!r}" for key, value in sizing.items())
    bench = f"Xa 0 vdd out inp out {name}\nVdd vdd 0 1.8\nVin inp 0 0.72\nCl out 0 10p"

    def voltages(folder: str, netlist: str) -> dict[str, float]:
        (tmp_path / folder).mkdir()
        return _ngspice(tmp_path / folder, "\n".join(["bench", parameters, STAND_INS, netlist, bench]))

    plain = voltages("plain", circuit.netlist_text)
    canonical = voltages("canonical", write_subcircuit(circuit.subcircuit))
    internal = {f"xa.{net}" for net in circuit.subcircuit.nets} - {f"xa.{port}" for port in circuit.subcircuit.ports}
    assert internal <= plain.keys()
    assert canonical == pytest.approx(plain, rel=1e-9)
    assert plain["out"] == pytest.approx(0.72, abs=0.05), "unity feedback must hold the output at the input"
