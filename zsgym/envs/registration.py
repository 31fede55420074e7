"""One registered id per circuit: adding a circuit file adds an environment."""

from __future__ import annotations

import re
import warnings

import gymnasium as gym

from zsgym.base.errors import ConfigError
from zsgym.circuits import list_circuits

NAMESPACE = "zsgym"
VERSION = 0
MAX_EPISODE_STEPS = 50
"""Step limit of every registered environment."""


def env_id(circuit: str) -> str:
    """The registered id of a circuit: `nmcf` -> `zsgym/NMCF-v0`."""
    name = re.sub(r"[^\w.-]", "_", circuit.upper())
    return f"{NAMESPACE}/{name}-v{VERSION}"


def register_environments() -> None:
    """Register an environment for every circuit that is found. Calling it again adds only what is new.

    The registered arguments are names, not objects, so that specs stay JSON. A circuit directory that does not exist
    (environment variable ZSGYM_CIRCUITS) gives a warning: it must not make the package impossible to import.
    """
    try:
        circuits = list_circuits()
    except ConfigError as error:
        warnings.warn(f"no zsgym environment is registered: {error}", stacklevel=2)
        return
    for circuit in circuits:
        if env_id(circuit) in gym.registry:
            continue
        gym.register(
            id=env_id(circuit),
            entry_point="zsgym.envs.env:SizingEnv",
            vector_entry_point="zsgym.envs.vector:SizingVectorEnv",
            max_episode_steps=MAX_EPISODE_STEPS,
            kwargs={"circuit": circuit},
        )
