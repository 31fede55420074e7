"""One small data set and one trained checkpoint, made once for all tests of the surrogate."""

from pathlib import Path

import pytest

from tests.surrogate.synthetic import make_rows, nmcf, nmcnr, write_rows


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of two circuits that follow the synthetic rule."""
    rows = [*make_rows(nmcf(), 900), *make_rows(nmcnr(), 300, "log")]
    return write_rows(tmp_path_factory.mktemp("synthetic"), rows)
