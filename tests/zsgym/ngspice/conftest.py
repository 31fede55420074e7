"""The tests of faults run in an empty folder, with an empty folder for temporary files, and must leave both empty."""

import gc
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from faults import MARK, descendants, eventually, fake_ngspice, zombies

from zsgym.simulators.ngspice.pool import WorkerOptions, WorkerPool


@pytest.fixture(scope="module")
def spotless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The working folder and the folder for temporary files."""
    cwd, temporary = tmp_path_factory.mktemp("cwd"), tmp_path_factory.mktemp("temporary")
    mark = uuid.uuid4().hex
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, mark)
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", str(temporary))
        patch.chdir(cwd)
        yield cwd, temporary
        gc.collect()
        assert eventually(lambda: not descendants(mark)), descendants(mark)
        assert zombies() == []
        assert os.listdir(cwd) == []
        assert os.listdir(temporary) == []


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """Inherited by whatever a single test starts (see `faults.descendants`)."""
    mark = f"{os.environ[MARK]}-{uuid.uuid4().hex}"
    monkeypatch.setenv(MARK, mark)
    return mark


@pytest.fixture(scope="module")
def ngspice(tmp_path_factory: pytest.TempPathFactory, spotless: object) -> str:
    """A fake that works."""
    return fake_ngspice(tmp_path_factory.mktemp("bin"), "good")


@pytest.fixture(scope="module")
def shared(ngspice: str) -> Iterator[WorkerPool]:
    """Two workers for everything that leaves them alive or is about their replacement."""
    with closing(WorkerPool(2, WorkerOptions("process", ngspice, timeout_s=30.0))) as pool:
        yield pool


@pytest.fixture(scope="module")
def pool(ngspice: str) -> Iterator[WorkerPool]:
    """One worker, which counts as hung after a second and whose failures are final."""
    with closing(WorkerPool(1, WorkerOptions("process", ngspice, timeout_s=1.0, retries=0))) as pool:
        yield pool
