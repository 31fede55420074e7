"""The wheel on its own: everything that the surrogate backend needs is inside, and nothing is read from a checkout."""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A fresh interpreter that sees the unpacked wheel first, from a folder far from the checkout.
_SIZE_AN_AMPLIFIER = """
import json, pathlib, sys
import gymnasium as gym
import surrogate, zsgym
from zsgym.circuits import list_circuits, load_circuit

env = gym.make("zsgym/NMCF-v0", backend="surrogate", log=False)
_, info = env.reset(seed=0, options={"sizing": "robust"})
print(json.dumps({
    "places": [str(pathlib.Path(module.__file__).parent) for module in (zsgym, surrogate)],
    "circuits": list_circuits(),
    "netlist": str(load_circuit("nmcnr").netlist_path),
    "works": info["sim_success"],
}))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return folder


def test_the_surrogate_backend_works_from_the_wheel_alone(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _SIZE_AN_AMPLIFIER],
        cwd=elsewhere,
        env={"PYTHONPATH": str(site), "HOME": str(elsewhere), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["places"] == [str(site / "zsgym"), str(site / "surrogate")]
    assert {"nmcf", "nmcnr"} <= set(answer["circuits"])
    assert Path(answer["netlist"]).is_relative_to(site)
    assert answer["works"] is True


def test_the_source_distribution_can_build_and_test_itself(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    needed = ["pyproject.toml", "LICENSE", "README.md", "netlists/nmcf.spice", "configs/surrogate/fast.yaml"]
    needed += ["surrogate/checkpoints/fast.safetensors", "tests/conftest.py"]
    assert not [name for name in needed if name not in names]
    assert not [name for name in names if name.startswith(("data/", "runs/", ".venv/"))]
