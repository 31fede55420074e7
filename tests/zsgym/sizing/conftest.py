"""What tests of sizing share: a smooth model."""

import pytest

from surrogate.checkpoint import Checkpoint
from tests.zsgym.sizing.smooth import smooth_checkpoint


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return smooth_checkpoint()
