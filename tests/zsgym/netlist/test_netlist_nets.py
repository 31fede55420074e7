"""Ground, global nets and ports: the same circuit by whatever names."""

from pathlib import Path
from typing import Any

import pytest

from tests.zsgym.netlist.people import DEVICES, ENDS, HEADER, MIRROR, NFET, OTA, load, with_lines
from zsgym.base.errors import ConfigError, NetlistError
from zsgym.netlist import flatten, parse_netlist, write_subcircuit


@pytest.fixture
def same(tmp_path: Path) -> Any:
    """Asserts that a netlist is the amplifier: the same devices between the same ports."""
    expected = sorted(write_subcircuit(load(tmp_path, OTA).subcircuit).splitlines()[1:])

    def check(netlist: str, **keys: Any) -> None:
        subcircuit = load(tmp_path, netlist, **keys).subcircuit
        assert sorted(write_subcircuit(subcircuit).splitlines()[1:]) == expected
        assert set(subcircuit.ports) == {"vss", "vdd", "inn", "inp", "out"}

    return check


def mirror(low: str, *, port: str = "", nets: str = "x1 x2") -> str:
    """The amplifier with its mirror in a subcircuit, whose low net is called `low`."""
    inner = (
        f".subckt mirror a b {port}\nX1 a a {low} {low} {NFET} W=3 L=0.6 M=3\nX2 b a {low} {low} {NFET} W=3 L=0.6 M=3\n"
    )
    return OTA.replace(MIRROR, f"xm {nets} mirror\n") + inner + ENDS


def low_nets(folder: Path, netlist: str, **keys: Any) -> set[str]:
    """The nets of the sources of all nMOS."""
    return {device.nodes["s"] for device in load(folder, netlist, **keys).devices if device.kind == "nmos"}


class TestGround:
    @pytest.mark.parametrize("name", ["0", "gnd", "GND", "Gnd"])
    def test_is_vss_where_nothing_else_is(self, same: Any, name: str) -> None:
        same(HEADER + DEVICES.replace(" vss", f" {name}") + ENDS)

    @pytest.mark.parametrize("name", ["0", "GND"])
    def test_may_be_the_port(self, same: Any, name: str) -> None:
        same(OTA.replace("vss", name))
        same(OTA.replace("vss", name), ports={"vss": name})
        same(OTA.replace("vss", name), ports={"vss": 0})

    def test_may_be_no_port_at_all(self, same: Any) -> None:
        same((HEADER + DEVICES + ENDS).replace("ota vss", "ota").replace("vss", "gnd"))

    @pytest.mark.parametrize("name", ["0", "GND"])
    def test_is_the_same_at_any_depth(self, tmp_path: Path, name: str) -> None:
        assert low_nets(tmp_path, mirror(name).replace(" vss", " gnd").replace("ota gnd", "ota vss")) == {"vss"}

    def test_beside_a_connected_vss_is_a_net_of_its_own(self, tmp_path: Path) -> None:
        """SPICE's meaning: the testbench moves vss, and ground stays."""
        assert low_nets(tmp_path, mirror("gnd")) == {"0", "vss"}
        source = next(d for d in load(tmp_path, with_lines("V1 q gnd 0.9", "Rq q 0 1meg")).devices if d.name == "v1")
        assert source.nodes == {"p": "q", "n": "0"}

    def test_port_of_a_subcircuit_called_ground_must_be_ground(self, tmp_path: Path) -> None:
        assert low_nets(tmp_path, mirror("gnd", port="gnd", nets="x1 x2 0")) == {"0", "vss"}
        why = (
            "ota.spice:8: xm: port '0' of 'mirror' is connected to 'vss', but '0' is a global net, which ngspice takes"
        )
        with pytest.raises(NetlistError, match=why):
            load(tmp_path, mirror("gnd", port="gnd", nets="x1 x2 vss"))

    def test_is_not_among_the_nets(self, tmp_path: Path) -> None:
        assert "0" not in load(tmp_path, with_lines("V1 q 0 0.9", "Rq q 0 1meg")).subcircuit.nets


class TestGlobalNets:
    @pytest.mark.parametrize(
        "line",
        [".GLOBAL VSS", ".global vdd vss gnd\n.global unused", ".global  vss\n+ vdd", ".global vss $ a comment"],
    )
    @pytest.mark.parametrize("first", [True, False])
    def test_are_one_net_at_every_depth(self, tmp_path: Path, line: str, first: bool) -> None:
        netlist = f"* title\n{line}\n{mirror('vss')}" if first else f"{mirror('vss')}{line}\n"
        assert low_nets(tmp_path, netlist) == {"vss"}

    def test_inside_a_subcircuit_hold_everywhere(self, tmp_path: Path) -> None:
        assert low_nets(
            tmp_path, mirror("vss").replace(".subckt mirror a b \n", ".subckt mirror a b\n.global VSS\n")
        ) == {"vss"}

    def test_without_the_line_are_found_missing(self, tmp_path: Path) -> None:
        why = r"ota.spice:14: net 'vss' of the instance 'xm' is a net of its own: .* or write `\.GLOBAL vss`"
        with pytest.raises(ConfigError, match=why):
            load(tmp_path, mirror("vss"))

    def test_may_be_ports_that_the_header_does_not_name(self, same: Any) -> None:
        same(OTA.replace("ota vss vdd", "ota") + ".global VDD VSS\n")
        same(OTA.replace("ota vss vdd", "ota").replace("vdd", "VCC!") + ".global vcc! vss\n", ports={"vdd": "VCC!"})

    def test_that_are_no_port_are_refused(self, tmp_path: Path) -> None:
        netlist = OTA.replace("pb", "vbias") + ".global vdd vbias\n"
        with pytest.raises(
            ConfigError, match=r"ota\.spice:14: net 'vbias' is \.GLOBAL, but not a port of class 'amplifier'"
        ):
            load(tmp_path, netlist)

    def test_hide_ports_of_the_same_name(self, tmp_path: Path) -> None:
        netlist = mirror("vdd", port="vdd", nets="x1 x2 vss") + ".global vdd\n"
        with pytest.raises(
            NetlistError, match=r"ota\.spice:8: xm: port 'vdd' of 'mirror' is connected to 'vss', but 'vdd'"
        ):
            load(tmp_path, netlist)
        assert low_nets(tmp_path, mirror("vss", port="vss", nets="x1 x2 vss") + ".global vss\n") == {"vss"}


class TestPorts:
    @pytest.mark.parametrize(
        ("names", "told"),
        [
            ({"vdd": "VCC", "vss": "VEE"}, "`ports: {vss: vee, vdd: vcc}`"),
            ({"inn": "MINUS", "inp": "PLUS", "out": "VOUT"}, "`ports: {inn: minus, inp: plus, out: vout}`"),
            ({"inn": "a", "inp": "b"}, "`ports: {inn: ..., inp: ...}`"),
        ],
    )
    def test_of_other_names_are_told_and_then_read(
        self, same: Any, tmp_path: Path, names: dict[str, str], told: str
    ) -> None:
        netlist = OTA
        for port, name in names.items():
            netlist = netlist.replace(f" {port}", f" {name}")
        with pytest.raises(
            ConfigError, match=r"ota\.yaml: netlist: the ports of 'ota' are .*; class 'amplifier' needs"
        ) as caught:
            load(tmp_path, netlist)
        assert told in str(caught.value)
        same(netlist, ports=names)

    def test_may_be_exchanged(self, tmp_path: Path) -> None:
        circuit = load(tmp_path, OTA, ports={"inn": "inp", "inp": "inn"})
        assert {d.name: d.nodes["g"] for d in circuit.devices if d.name in ("xa", "xb")} == {"xa": "inp", "xb": "inn"}

    def test_inner_nets_called_like_a_port_stay_inside(self, tmp_path: Path) -> None:
        netlist = OTA.replace(" inp", " plus").replace(" cs", " inp")
        circuit = load(tmp_path, netlist, ports={"inp": "plus"})
        nodes = {device.name: device.nodes for device in circuit.devices}
        assert (nodes["xb"]["g"], nodes["xb"]["s"], nodes["xp2"]["d"]) == ("inp", "inp_inner", "inp_inner")

    def test_keep_the_order_of_the_header(self, tmp_path: Path) -> None:
        netlist = (
            OTA.replace("vss vdd inn inp out", "out inp gate vcc vss").replace(" inn", " gate").replace("vdd", "vcc")
        )
        circuit = load(tmp_path, netlist, ports={"inn": "gate", "vdd": "vcc"})
        assert circuit.subcircuit.ports == ("out", "inp", "inn", "vdd", "vss")

    @pytest.mark.parametrize(
        ("ports", "why"),
        [
            ({"vd": "vdd"}, "ports.vd: unknown port. Did you mean 'vdd'? Valid: vss, vdd, inn, inp, out"),
            ({"vdd": "vddd"}, "ports.vdd: the netlist has no port 'vddd'. Did you mean 'vdd'? Valid: vss, vdd, inn"),
            ({"vdd": "pb"}, "ports.vdd: the netlist has no port 'pb'."),
            ({"inn": "inp"}, "class 'amplifier' needs vss vdd inn inp out. Where they have other names"),
            ({"inn": "inp", "inp": "INP"}, "ports.inp: 'INP' is another port already"),
            ({"vdd": 1.5}, "ports.vdd: "),
            ({"vdd": None}, "ports.vdd: "),
        ],
    )
    def test_mistakes_are_named(self, tmp_path: Path, ports: dict[str, Any], why: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, OTA, ports=ports)
        lines = str(caught.value).splitlines()
        assert all(line.startswith(f"{tmp_path / 'ota.yaml'}: ") for line in lines)
        assert any(why in line for line in lines)

    def test_more_than_the_class_has_are_told_what_to_do(self, tmp_path: Path) -> None:
        netlist = OTA.replace("inp out", "inp out ib").replace(
            "Iref pb vss 12u", f"Rb pb ib 1k\nXR pb ib vss vss {NFET} W=1 L=1"
        )
        why = r"'ota' has the port 'ib' besides .*: take it from the \.subckt line, .* `I1 ib 0 10u`"
        with pytest.raises(ConfigError, match=why):
            load(tmp_path, netlist)


class TestNames:
    """What a subcircuit does not define means what it means where the subcircuit is used: measured in ngspice 39."""

    INNER = ".subckt leaf p q\nR1 p q {y}\n.ends\n"

    @pytest.mark.parametrize(
        ("text", "ohm"),
        [
            (".subckt top p q y=1k\nx1 p q leaf\n.ends\n", 1000),
            (".subckt top p q\n.param y=3k\nx1 p q leaf\n.ends\n", 3000),
            (".subckt top p q\nx1 p q middle y=2k\n.ends\n.subckt middle p q y=5k\nx1 p q leaf\n.ends\n", 2000),
            (
                ".subckt top p q\nx1 p q middle\n.ends\n.subckt middle p q z=5k\n.param y={2*z}\nx1 p q leaf\n.ends\n",
                10000,
            ),
        ],
    )
    def test_free_names(self, text: str, ohm: float) -> None:
        flat = flatten(parse_netlist(text + self.INNER), "top")
        (device,) = flat.devices
        assert device.values["value"].evaluate({"y": 1000}) == ohm

    def test_an_instance_sees_its_own_values_first(self) -> None:
        text = ".subckt top p q\nx1 p q leaf area='2*w' w=5\n.ends\n.subckt leaf p q w=1 area=1\nR1 p q {area}\n.ends\n"
        assert flatten(parse_netlist(text), "top").devices[0].values["value"].evaluate() == 10

    @pytest.mark.parametrize(("values", "ohm"), [("w={w} area={2*w}", 14), ("w={2*w}", 1), ("area={3}", 3)])
    def test_names_that_mean_the_same_inside_and_outside(self, values: str, ohm: float) -> None:
        text = (
            f".subckt top p q w=7\nx1 p q leaf {values}\n.ends\n.subckt leaf p q w=1 area=1\nR1 p q {{area}}\n.ends\n"
        )
        assert flatten(parse_netlist(text), "top").devices[0].values["value"].evaluate({"w": 7}) == ohm

    def test_names_that_simulators_read_differently_are_refused(self) -> None:
        text = ".subckt top p q w=7\nx1 p q leaf area={2*w}\n.ends\n.subckt leaf p q w=1 area=1\nR1 p q {area}\n.ends\n"
        with pytest.raises(NetlistError, match=r"f:2: 'x1': area=2\*w: 'w' is a parameter of 'leaf' as well as of"):
            flatten(parse_netlist(text, "f"), "top")

    def test_a_constant_is_no_parameter_of_an_instance(self) -> None:
        text = ".subckt top p q\nx1 p q leaf y=1\n.ends\n.subckt leaf p q\n.param y=2\nR1 p q {y}\n.ends\n"
        with pytest.raises(
            NetlistError, match=r"x1: 'leaf' has no parameter 'y' \(y is a \.param inside it\); it has: none"
        ):
            flatten(parse_netlist(text), "top")

    def test_all_problems_of_the_hierarchy_are_told(self) -> None:
        text = ".subckt top p q\nx1 p q leaf z=1\nx2 p q top\nV1 p q 1\nx3 p q two m=2\n.ends\n" + (
            ".subckt leaf p q\nR1 p q 1\n.ends\n.subckt two p q\nV1 p q 1\n.ends\n"
        )
        with pytest.raises(NetlistError) as caught:
            flatten(parse_netlist(text, "f"), "top")
        told = str(caught.value).splitlines()
        assert [line.split(": ")[0] for line in told] == ["f:2", "f:3", "f:11"]

    def test_devices_that_meet_in_the_flat_circuit_are_refused(self) -> None:
        text = ".subckt top p q\nr.x1.r1 p q 1\nx1 p q leaf\n.ends\n.subckt leaf p q\nR1 p q 1\n.ends\n"
        with pytest.raises(NetlistError, match=r"device 'r\.x1\.r1' exists twice"):
            flatten(parse_netlist(text), "top")
