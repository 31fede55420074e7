"""Flattened SKY130 transistor models: one corner's bins, found by size, written as `.model` cards."""

import functools
import hashlib
from collections.abc import Mapping, Sequence

from zsgym.pdk.install import locate
from zsgym.pdk.library import CORNERS, ModelBin, read_corner


class CornerModels:
    """All model bins of one process corner, resolved to numbers."""

    def __init__(self, corner: str, bins: Mapping[str, Sequence[ModelBin]]) -> None:
        self.corner = corner
        self.bins = bins
        self._cards: dict[str, str] = {}

    def find(self, kind: str, width: float, length: float) -> ModelBin | None:
        """The bin that ngspice would choose for a device, or None when the size is outside all of them.

        :param kind: nmos or pmos. :param width: of one device (multiplier excluded), in metres. :param length: metres.
        """
        return next((model for model in self.bins[kind] if model.holds(width, length)), None)

    def card(self, model: ModelBin) -> str:
        """The `.model` line of a bin."""
        if model.name not in self._cards:
            self._cards[model.name] = model.card()
        return self._cards[model.name]


@functools.lru_cache(maxsize=len(CORNERS))
def load_corner(corner: str) -> CornerModels:
    """One corner of the located PDK. Resolving it takes about a quarter of a second, once per process.

    :raises PdkError: no PDK is installed, or it lacks the corner.
    """
    return CornerModels(corner, read_corner(locate(), corner))


def models_hash(corner: str = "tt") -> str:
    """First 12 hex digits of a SHA-256 over all resolved cards of a corner: names the numbers, not their source."""
    models = load_corner(corner)
    text = "\n".join(models.card(bin_) for bins in models.bins.values() for bin_ in bins)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
