"""What an installed zsgym does outside a checkout, with nothing but its own requirements, and then with its extras.

`make package` runs this in a fresh virtual environment, `tests/test_package.py` over an unpacked wheel:

    python -P tests/installed.py
    python -P tests/installed.py bench export
"""

import importlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

# Without -P, Python would look for modules beside this script.
assert sys.flags.safe_path, "run this with python -P"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A module as a command, in this interpreter's environment."""
    command = [sys.executable, "-P", "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def sizes_an_amplifier() -> None:
    """The first program of the README, and a sizing that is known to work."""
    import gymnasium as gym

    import surrogate
    import zsgym
    from zsgym.circuits import list_circuits, load_circuit

    checkout = Path(__file__).resolve().parents[1]
    for module in (zsgym, surrogate):
        assert not Path(module.__file__ or "").is_relative_to(checkout), f"{module.__file__} is not the installed one"
    assert {"nmcf", "nmcnr"} <= set(list_circuits())
    assert load_circuit("nmcnr").netlist_path.is_relative_to(Path(zsgym.__file__).parent)
    env = gym.make("zsgym/NMCF-v0", backend="surrogate", log=False)
    _, info = env.reset(seed=0, options={"sizing": "robust"})
    assert info["sim_success"]
    observation, reward, _, _, info = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation)
    assert reward <= 0.0
    assert info["failure"] or info["metrics"]
    env.close()


def metadata_is_right() -> None:
    """Version and licence, as the package index will show them."""
    import zsgym

    facts = importlib.metadata.metadata("zsgym")
    assert facts["Version"] == zsgym.__version__
    assert facts["License-Expression"] == "Apache-2.0"
    assert facts["Requires-Python"] == ">=3.11"


def command_line_works() -> None:
    """Exit codes of the program: 0, 1 from a doctor who misses something, 2 for a mistake."""
    helped = run("zsgym", "--help")
    assert helped.returncode == 0, helped.stderr
    assert "zsgym doctor" in helped.stdout
    assert "label what agents found on the surrogate" in helped.stdout, "the commands of entry points"
    doctor = run("zsgym", "doctor", "--json")
    answer = json.loads(doctor.stdout)
    assert doctor.returncode == (0 if answer["ok"] else 1), doctor.stderr
    packages = {Requirement(text).name for text in importlib.metadata.requires("zsgym") or () if "extra ==" not in text}
    states = {check["name"]: check["state"] for check in answer["checks"] if check["name"] in packages}
    assert states == dict.fromkeys(packages, "ok")
    assert run("zsgym", "circuits", "nmcx").returncode == 2


def sizes_to_specs() -> None:
    """`zsgym size` on a shipped circuit and on a stranger's netlist; where ngspice is missing, it says what it can."""
    import zsgym

    shutil.copytree(Path(__file__).parent / "zsgym" / "sizing" / "five", "five", dirs_exist_ok=True)
    there = {check["name"]: check["state"] for check in json.loads(run("zsgym", "doctor", "--json").stdout)["checks"]}
    verified = there["libngspice"] == there["SKY130 models"] == "ok"
    shipped = run("zsgym", "size", "nmcf", "--no-log", "--json", "--report", "nmcf.html")
    assert shipped.returncode == (0 if verified else 3), shipped.stderr
    answer = json.loads(shipped.stdout)
    assert (answer["method"], answer["met"], answer["verified"]) == ("gradient", verified, verified)
    assert "</html>" in Path("nmcf.html").read_text()
    stranger = run("zsgym", "size", "five/five.yaml", "--no-log", "--budget", "300", "--target", "gbw=2.5meg")
    assert stranger.returncode == (0 if verified else 3), stranger.stderr
    assert "search on the circuit's solved equations" in stranger.stderr
    if verified:
        assert stranger.stdout.startswith("five: every spec is met in ngspice"), stranger.stdout
        result = zsgym.size("five/five.yaml", {"gbw": 2.5e6}, budget=300, log=False)
        assert result.met


def extra_is_complete(extra: str) -> None:
    """Every package of an extra is there, in a version that was asked for, and can be imported."""
    declared = [Requirement(text) for text in importlib.metadata.requires("zsgym") or ()]
    wanted = [r for r in declared if r.marker and r.marker.evaluate({"extra": extra}) and r.name != "zsgym"]
    assert any(r.marker and r.marker.evaluate({"extra": extra}) for r in declared), f"there is no extra {extra}"
    modules = importlib.metadata.packages_distributions()
    for requirement in wanted:
        version = importlib.metadata.version(requirement.name)
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}, found {version}"
        for module, distributions in modules.items():
            # Stubs have no module; a leading underscore is nobody else's business.
            if _same(requirement.name) in map(_same, distributions) and re.fullmatch(r"[a-z]\w*", module):
                importlib.import_module(module)


def surrogate_is_exported() -> None:
    """What the extra `export` is for: the command compares the ONNX file's answers with the surrogate's."""
    importlib.import_module("zsgym.envs.offline")
    done = run("surrogate.export", "--circuit", "nmcf", "--out", "fast-nmcf.onnx")
    assert done.returncode == 0, done.stderr


def _same(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


if __name__ == "__main__":
    extras = sys.argv[1:]
    checks = [sizes_an_amplifier, sizes_to_specs, metadata_is_right, command_line_works] if not extras else []
    for check in checks:
        check()
        print(f"ok: {check.__name__.replace('_', ' ')}")
    for extra in extras:
        extra_is_complete(extra)
        print(f"ok: extra {extra}")
    if "export" in extras:
        surrogate_is_exported()
        print("ok: surrogate is exported")
