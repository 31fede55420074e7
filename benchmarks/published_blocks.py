"""What pages say of the results: Markdown, made from the JSON files of `benchmarks/results/`."""

from collections.abc import Callable

import published_agents as agents
import published_circuits
import published_claims
import published_family
import published_fronts
import published_physics as physics
import published_spice as spice
import published_surrogate as surrogate

BLOCKS: dict[str, Callable[[], str]] = {
    "family": published_circuits.family,
    "pictures": published_circuits.pictures,
    "claims": published_claims.claims,
    "sizing": agents.sizing,
    "training-rows": agents.training_rows,
    "ppo-curve": agents.ppo_curve,
    "goals": agents.goals,
    "steps-per-second": agents.steps_per_second,
    "retraining": agents.retraining,
    "retraining-effect": agents.retraining_effect,
    "amplifiers": published_family.family,
    "amplifier-specs": published_family.specs,
    "amplifier-frozen": published_family.frozen,
    "amplifier-searches": published_family.searches,
    "surrogate": surrogate.surrogate,
    "checkpoint": surrogate.checkpoint,
    "validity": surrogate.validity,
    "metric-errors": surrogate.metric_errors,
    "ablation": surrogate.ablation,
    "training": surrogate.training,
    "goals-missed": surrogate.goals_missed,
    "hybrid": surrogate.hybrid,
    "surrogate-speed": surrogate.surrogate_speed,
    "zero-shot": surrogate.zero_shot,
    "data-sets": spice.data_sets,
    "spice-speed": spice.spice_speed,
    "spice-throughput": spice.spice_throughput,
    "spice-accuracy": spice.spice_accuracy,
    "closed-loop": spice.closed_loop,
    "fronts": published_fronts.fronts,
    "physics-agreement": physics.agreement,
    "physics-accuracy": physics.accuracy,
    "physics-speed": physics.speed,
    "physics-sizing": physics.solved_sizing,
}
"""Name in a page -> what is written there."""
