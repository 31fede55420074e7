"""`zsgym report`: one sizing in, a page, a netlist and JSON out."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from tests.zsgym.cli.conftest import write
from tests.zsgym.conftest import Run
from zsgym.base.errors import SimulatorMissingError
from zsgym.circuits import Circuit
from zsgym.simulators.ngspice import simulator


@pytest.fixture
def no_ngspice(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise SimulatorMissingError("no ngspice was found; apt-get install ngspice")

    monkeypatch.setattr(simulator, "WorkerPool", missing)


def designs(path: Path, nmcf: Circuit, **changes: object) -> Path:
    """What an agent writes: here a design that fails, one that is feasible, and one that only scores well."""
    good, other = nmcf.known_good["robust"], {p.name: p.low for p in nmcf.parameters}
    entries = [
        {"sizing": other, "reward": -100.0, "feasible": False},
        {"sizing": good, "reward": 0.0, "feasible": True},
        {"sizing": other, "reward": 0.5, "feasible": False},
    ]
    return write(path, {"circuit": nmcf.name, "targets": {"power": 3e-4}, "designs": entries} | changes)


@pytest.mark.usefixtures("no_ngspice")
class TestWithoutNgspice:
    """The surrogate alone answers, and the page says so."""

    def test_report_of_a_known_good_sizing(self, run: Run, tmp_path: Path, circuit: Circuit) -> None:
        out = tmp_path / "new" / "report.html"
        code, printed, err = run("report", "nmcf", "--known-good", "robust", "--out", out)
        assert code == 0
        assert printed.startswith("nmcf: Predicted to meet")
        assert "Not verified: every figure below is a prediction" in err
        page = out.read_text()
        assert "not verified" in page
        assert "apt-get install ngspice" in page
        assert circuit.title in page
        assert list(out.parent.iterdir()) == [out], "no partial file is left"

    def test_the_best_design_of_an_agent_and_its_targets(self, run: Run, tmp_path: Path, circuit: Circuit) -> None:
        source = designs(tmp_path / "designs.json", circuit)
        code, printed, _ = run("report", "nmcf", "--designs", source, "--out", tmp_path / "r.html", "--json")
        report = json.loads(printed)
        assert code == 0
        assert report["sizing"] == circuit.known_good["robust"]
        assert report["targets"] == {"power": 3e-4}, "what the agent was not asked for is no spec"
        assert report["report"] == str(tmp_path / "r.html")
        assert (report["verified"], report["netlist"]) == (False, None)
        assert 0.0 <= report["prediction"]["p_valid"] <= 1.0

    def test_a_designs_file_as_a_sizing(self, run: Run, tmp_path: Path, circuit: Circuit) -> None:
        source = designs(tmp_path / "designs.json", circuit)
        code, printed, err = run("report", "nmcf", "--sizing", source, "--out", tmp_path / "r.html", "--json")
        report = json.loads(printed)
        assert code == 0
        assert report["sizing"] == circuit.known_good["robust"]
        assert report["targets"] == {"power": 3e-4}
        assert f"{source} holds 3 designs: the best one is taken, with its targets" in err

    def test_unusual_values_are_warned_of(self, run: Run, tmp_path: Path, circuit: Circuit) -> None:
        sizing = write(tmp_path / "s.json", circuit.known_good["robust"] | {"cap1": 3.4})
        code, _, err = run("report", "nmcf", "--sizing", sizing, "--out", tmp_path / "r.html")
        assert code == 0
        assert "zsgym: warning: cap1=3.4 F lies outside its bounds, 1e-12 to 1e-10 F\n" in err

    def test_how_a_design_was_found(self, run: Run, tmp_path: Path, circuit: Circuit) -> None:
        simulation = {"evaluations": 500, "belief": 0.7, "works": True, "reward": 0.0, "feasible": True}
        history = {"searched": "surrogate", "believed": [[20, 0.1], [400, 0.7]], "simulations": [simulation]}
        source, out = designs(tmp_path / "designs.json", circuit, history=history), tmp_path / "r.html"
        code, _, _ = run("report", "nmcf", "--designs", source, "--out", out)
        assert code == 0
        assert "<h2>Search</h2>" in out.read_text()
        assert "every spec met by simulation 1" in out.read_text()
        designs(source, circuit)
        run("report", "nmcf", "--designs", source, "--out", out)
        assert "<h2>Search</h2>" not in out.read_text(), "an agent without a history has no such section"

    def test_targets_of_the_command_line(self, run: Run, tmp_path: Path) -> None:
        code, printed, _ = run(
            *("report", "nmcf", "--known-good", "robust", "--out", tmp_path / "r.html", "--json"),
            *("--target", "power=60e-6", "--target", "tc=none"),
        )
        report = json.loads(printed)
        assert code == 0
        assert report["targets"]["power"] == 60e-6
        assert "tc" not in report["targets"]
        assert report["margins"]["power"] < 0.0

    def test_training_curves(self, run: Run, tmp_path: Path) -> None:
        with SummaryWriter(str(tmp_path / "run")) as writer:
            for step in range(5):
                writer.add_scalar("rollout/success_rate", step / 5, step)
                for number in range(8):
                    writer.add_scalar(f"other/{number}", step, step)
        out = tmp_path / "r.html"
        code, _, _ = run("report", "nmcf", "--known-good", "robust", "--out", out, "--run", tmp_path / "run")
        page = out.read_text()
        assert code == 0
        assert "rollout/success_rate" in page
        assert "other/0" in page
        assert "other/7" not in page, "six curves at most"

    def test_other_conditions_have_no_prediction(self, run: Run, tmp_path: Path) -> None:
        out = tmp_path / "r.html"
        code, _, err = run("report", "nmcf", "--known-good", "robust", "--out", out, "--corner", "ss")
        assert code == 0
        assert "No prediction" in err
        assert "Nobody could answer" in out.read_text()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("--known-good best", "no known-good sizing 'best'"),
            ("--known-good robust --target powr=1", "Did you mean 'power'?"),
            ("--known-good robust --target power", "write METRIC=VALUE"),
            ("--known-good robust --policy strict", "nmcf has no verdict policy 'strict'"),
            ("--known-good robust --checkpoint none.safetensors", "there is no checkpoint none.safetensors"),
            ("--known-good robust --run nowhere", "nowhere holds no TensorBoard run"),
            ("--known-good robust --corner xx", "corner"),
            ("--known-good robust --temperature 176", "conditions.temperature: must lie between -55 and 175 C"),
            ("--sizing nowhere.json", "cannot read nowhere.json"),
            ("--designs nowhere.json", "cannot read nowhere.json"),
        ],
    )
    def test_mistakes_are_named(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, message: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        code, out, err = run("report", "nmcf", *arguments.split(), "--out", "r.html")
        assert (code, out) == (2, "")
        assert message in err
        assert list(tmp_path.iterdir()) == []

    def test_mistakes_in_files_are_named(self, run: Run, tmp_path: Path, circuit: Circuit) -> None:
        def refusal(*arguments: object) -> str:
            code, _, err = run("report", "nmcf", *arguments, "--out", tmp_path / "r.html")
            assert code == 2
            return err

        good, file = circuit.known_good["robust"], tmp_path / "input.json"
        assert "holds 2 sizings" in refusal("--sizing", write(file, [good, good]))
        assert "missing" in refusal("--sizing", write(file, {"W_gm3": 1.0}))
        assert "is not what an agent writes" in refusal("--designs", write(file, [1]))
        assert "holds no design" in refusal("--designs", designs(file, circuit, designs=[]))
        assert "history.searched" in refusal("--designs", designs(file, circuit, history={"searched": "spice"}))
        assert "are of nmcnr, not of nmcf" in refusal("--designs", designs(file, circuit, circuit="nmcnr"))
        assert "cannot write" in run("report", "nmcf", "--known-good", "robust", "--out", file / "r.html")[2]


@pytest.mark.ngspice
class TestWithNgspice:
    """The page shows what ngspice measured, and the netlist gives the same numbers in plain ngspice."""

    def test_report_and_netlist(self, run: Run, tmp_path: Path) -> None:
        out, netlist = tmp_path / "report.html", tmp_path / "sized.spice"
        code, printed, _ = run(
            *("report", "nmcf", "--known-good", "robust", "--out", out, "--netlist", netlist, "--json")
        )
        report = json.loads(printed)
        assert code == 0
        assert report["verified"]
        assert report["meets_all_specs"]
        page = out.read_text()
        for expected in (
            "Works and meets all",
            "Open loop",
            "Step response",
            "Temperature: offset and power are defined at 25 °C",
            "saturation",
            ".subckt nmcf",
        ):
            assert expected in page
        assert_same_numbers(netlist, report["metrics"])

    def test_report_of_an_oscillator(self, run: Run, tmp_path: Path) -> None:
        """A sizing whose published phase margin is excellent."""
        exploits = json.loads((Path(__file__).parents[2] / "golden/exploits.json").read_text())
        sizing = write(tmp_path / "sizing.json", exploits[0]["sizing"])
        out = tmp_path / "report.html"
        code, printed, _ = run("report", "nmcf", "--sizing", sizing, "--out", out)
        assert code == 0, "the report is about a failure; the command is none"
        assert printed.startswith("nmcf: Does not work: unstable")
        assert "rightmost closed-loop pole" in out.read_text()

    def test_netlist_of_a_hierarchical_circuit_under_other_conditions(self, run: Run, tmp_path: Path) -> None:
        circuit = Path(__file__).parents[3] / "docs/examples/rc_loaded"
        netlist = tmp_path / "sized.spice"
        conditions = ("--corner", "ff", "--supply", 1.7, "--temperature", 60, "--load", 5e-12)
        code, printed, _ = run(
            *("report", circuit, "--known-good", "hand_sized", *conditions),
            *("--out", tmp_path / "r.html", "--netlist", netlist, "--json"),
        )
        assert code == 0
        assert_same_numbers(netlist, json.loads(printed)["metrics"])


def assert_same_numbers(netlist: Path, metrics: dict[str, float]) -> None:
    """Plain ngspice with the full SKY130 library prints the metrics of the fast backend."""
    assert not re.search(r"np\.|float64|\bnan\b", netlist.read_text())
    done = subprocess.run(
        ["ngspice", "-b", netlist.name], cwd=netlist.parent, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    found = {name: float(value) for name, value in re.findall(r"^(\w+) = (\S+)$", done.stdout, re.MULTILINE)}
    assert set(metrics) <= set(found)
    for name, value in metrics.items():
        assert found[name] == pytest.approx(value, rel=1e-3), name
