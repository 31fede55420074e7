"""How a search went: what the surrogate promised, and what ngspice said of the designs that were simulated."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from zsgym.base.problems import read_section


class Simulation(BaseModel):
    """One simulation in ngspice.

    evaluations: of what is searched, when it was made. belief: probability of being feasible, as believed before; None
    without a surrogate. reward: at most 0, which means that every spec is met.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    evaluations: int = Field(ge=0)
    belief: float | None = Field(None, ge=0, le=1)
    works: bool
    reward: float
    feasible: bool


class SearchHistory(BaseModel):
    """What is written about a search, `history` in the file of its designs.

    searched: the backend whose evaluations are counted. evaluations: how many there were in all, where it is not
    ngspice itself; None in files of an earlier zsgym. believed: (evaluations, probability of being feasible) whenever
    the surrogate promised more than ever since its last correction by ngspice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    searched: Literal["ngspice", "surrogate", "physics"]
    evaluations: int | None = Field(None, ge=0)
    believed: list[tuple[int, float]] = []
    simulations: list[Simulation] = []

    @staticmethod
    def read(content: object, source: str) -> SearchHistory:
        """The history in a file of designs.

        :raises ConfigError: it is not one; the message names the source and the key.
        """
        return read_section(content, SearchHistory, f"{source}: history")
