"""Analog circuit sizing as a reinforcement-learning problem.

Importing the package registers its Gymnasium environments: `gymnasium.make("zsgym/NMCF-v0", backend="ngspice")`.
"""

from zsgym.envs.registration import register_environments

__version__ = "0.1.0"

register_environments()
