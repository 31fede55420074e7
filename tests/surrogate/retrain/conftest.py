"""An untrained surrogate to search on."""

import pytest

from surrogate.simulator import SurrogateSimulator
from tests.surrogate.synthetic import nmcf, untrained_checkpoint


@pytest.fixture(scope="session")
def surrogate(tmp_path_factory: pytest.TempPathFactory) -> SurrogateSimulator:
    path = tmp_path_factory.mktemp("checkpoint") / "untrained.safetensors"
    untrained_checkpoint([nmcf()]).save(path)
    return SurrogateSimulator(nmcf(), checkpoint=path)
