"""The source distribution is complete. What the wheel holds, `make package` tries in a fresh environment."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return folder


def test_the_source_distribution_can_build_and_test_itself(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    needed = ["pyproject.toml", "LICENSE", "README.md", "netlists/nmcf.spice", "configs/surrogate/fast.yaml"]
    needed += ["surrogate/checkpoints/fast.safetensors", "tests/conftest.py"]
    assert not [name for name in needed if name not in names]
    assert not [name for name in names if name.startswith(("data/", "runs/", ".venv/"))]
