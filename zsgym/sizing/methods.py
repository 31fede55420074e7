"""The ways to size a circuit, and which one is taken for it.

A learnt model is far ahead of any search in ngspice where it was trained, and worth nothing elsewhere: it answers a
circuit that it has never seen with the same confidence. `choose` therefore asks what each installed model covers. Any
other circuit is solved from its own equations, which needs no training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zsgym.base.errors import ConfigError
from zsgym.base.problems import did_you_mean
from zsgym.circuits import Circuit
from zsgym.classes import Conditions
from zsgym.simulators import backend_class
from zsgym.sizing.models import InstalledModel, installed_models

if TYPE_CHECKING:
    from zsgym.sizing.loop import MakeOptimiser

AUTO, GRADIENT, PHYSICS, CMA_ES = "auto", "gradient", "physics", "cma-es"


def _cma_es() -> MakeOptimiser:
    from zsgym.sizing.optimisers.cma_es import cma_es

    return cma_es()


def _random_search() -> MakeOptimiser:
    from zsgym.sizing.optimisers.random_search import random_search

    return random_search()


def _tpe() -> MakeOptimiser:
    from zsgym.sizing.optimisers.tpe import tpe

    return tpe()


@dataclass(frozen=True)
class Method:
    """title: in words. budget: simulations in ngspice unless told otherwise. optimiser: None where not ngspice itself
    is searched."""

    title: str
    budget: int
    optimiser: Callable[[], MakeOptimiser] | None = None


METHODS = {
    GRADIENT: Method("gradient ascent through a model, verified in ngspice", 100),
    PHYSICS: Method("search on the circuit's solved equations, verified in ngspice", 30),
    CMA_ES: Method("CMA-ES in ngspice", 1500, _cma_es),
    "random": Method("random search with refinement in ngspice", 1500, _random_search),
    "tpe": Method("tree-structured Parzen estimator in ngspice", 800, _tpe),
}
"""Name -> method."""


@dataclass(frozen=True)
class Choice:
    """A method, why it was chosen, the model that it uses, and the method that follows if it fails; None for none.

    What follows is for `auto` alone: who asks for a method gets that.
    """

    method: str
    reason: str
    model: InstalledModel | None = None
    then: str | None = None

    @property
    def budget(self) -> int:
        """Simulations in ngspice unless told otherwise."""
        return METHODS[self.then or self.method].budget

    @property
    def in_words(self) -> str:
        """The method and the reason."""
        return f"{METHODS[self.method].title}: {self.reason}"


def choose_for_front(method: str = AUTO, checkpoint: Path | None = None) -> Choice:
    """The method that draws the front of two metrics: `auto` is CMA-ES in ngspice, whatever a model knows.

    :raises ConfigError: an unknown method, or one that needs a model.
    """
    if method in (GRADIENT, PHYSICS) or checkpoint is not None:
        raise ConfigError(f"a front is searched in ngspice: use the method {CMA_ES}, random or tpe, and no checkpoint")
    if method not in (AUTO, *METHODS):
        raise ConfigError(f"unknown method {method!r}. {did_you_mean(method, (AUTO, *METHODS), 'Choose one of')}")
    return Choice(CMA_ES if method == AUTO else method, "the front is drawn by a sequence of searches")


def choose(
    circuit: Circuit, method: str = AUTO, checkpoint: Path | None = None, conditions: Conditions | None = None
) -> Choice:
    """The method that is taken for a circuit.

    :param method: a name of `METHODS`, or `auto`: the gradient of a model that was trained on this circuit; where there
        is none, a search on its solved equations, or CMA-ES in ngspice where they cannot be solved.
    :param checkpoint: a model of the user's own, instead of the installed ones.
    :param conditions: under which it is sized; None means the circuit's own.
    :raises ConfigError: an unknown method, one that needs a model where none covers the circuit, or a model that cannot
        be used.
    """
    if method not in (AUTO, *METHODS):
        raise ConfigError(f"unknown method {method!r}. {did_you_mean(method, (AUTO, *METHODS), 'Choose one of')}")
    if method not in (AUTO, GRADIENT):
        if checkpoint is not None:
            raise ConfigError(f"the method {method!r} uses no model: leave the checkpoint out")
        if method == PHYSICS and (refusal := _why_not_solved(circuit)):
            raise ConfigError(f"the method {method!r} cannot be used: {refusal}")
        return Choice(method, "as asked")
    models = installed_models(checkpoint)
    for model in models:
        if model.covers(circuit, conditions):
            then = CMA_ES if method == AUTO else None
            return Choice(GRADIENT, f"the {model.name} was trained on this circuit", model, then)
    why = "; ".join(model.why_not(circuit, conditions) or "" for model in models) or "no model is installed"
    if method == GRADIENT:
        raise ConfigError(
            f"{why}: what it says of {circuit.name} is a guess. Use the method {PHYSICS} (or {AUTO}), which solves "
            "its equations, or train a model on this circuit (docs/surrogate.md) and name its checkpoint"
        )
    refusal = _why_not_solved(circuit)
    if refusal is None:
        return Choice(PHYSICS, f"{why}, and its equations need no training", then=CMA_ES)
    return Choice(CMA_ES, f"{why}, {refusal}, and so nothing but ngspice can be trusted")


def _why_not_solved(circuit: Circuit) -> str | None:
    """Why the physics backend cannot answer a circuit; None where it can."""
    try:
        kind = backend_class(PHYSICS)
    except ConfigError as error:
        return str(error)
    refusal: str | None = kind.why_not(circuit)
    return refusal
