"""Logged episodes as data for offline reinforcement learning, in the format of Minari.

An environment logs one row per simulated sizing. The rows of an episode, in the order of their steps, hold everything
that its agent saw: they are judged by the same code as in the environment, so that observations, rewards and infos come
out as they were. One thing is not in the log: the normalised coordinate of an *integer* parameter before it was
rounded to a count. Where the action does not tell it (starting sizings, and every step in delta mode), the coordinate
of the count itself is given, which differs from what the agent saw by at most half a count.

Left out, and counted, are episodes without a transition, with a missing row (a torn line, a row of another writer), of
an earlier zsgym that did not log targets, and, unless asked for, with answers of a surrogate.

A data set holds episodes of one configuration, which is what `recover_environment` makes anew: the registered id, all
arguments of the environment (action mode, step size, targets, conditions, failure reward, backend) and its step limit.
Rows that zsgym 0.1 logged do not say it; a data set of such rows has no environment.
"""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from zsgym.base.errors import ConfigError, SampleLogError
from zsgym.base.quantities import counted
from zsgym.circuits import Circuit
from zsgym.classes.specs import FAILURE_REWARD
from zsgym.envs.observation import action_space, observation_space
from zsgym.envs.registration import env_id
from zsgym.envs.state import Assessment, assess
from zsgym.samples import Sample, read_samples
from zsgym.samples.export import check_circuit
from zsgym.samples.manifest import provenance_of_this_process
from zsgym.simulators.outcome import Outcome, Status

_CHUNK_ROWS = 1024
_LARGEST_SEED = 2**63 - 1  # what an HDF5 attribute can hold; Gymnasium's own seeds are longer


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """One row of an episode, judged. action, reward: None for a starting sizing."""

    step: int
    seed: int | None
    action: list[float] | None
    reward: float | None
    terminated: bool
    truncated: bool
    failure: str
    sizing: dict[str, float]
    targets: dict[str, float]
    assessment: Assessment


@dataclass(frozen=True, slots=True)
class LoggedEpisode:
    """T transitions of one environment, step 0 (the starting sizing) first.

    seed: where a seeded reset began it. environment: JSON of the arguments that make its environment anew, None in rows
    that do not say it.
    """

    env_id: str | None
    seed: int | None
    steps: list[LoggedStep]
    environment: str | None


@dataclass
class EpisodeReport:
    """How many episodes were found, and why others were left out: reason -> number."""

    episodes: int = 0
    transitions: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def logged_episodes(
    directory: str | os.PathLike[str], circuit: Circuit, *, include_predicted: bool = False
) -> tuple[list[LoggedEpisode], EpisodeReport]:
    """The complete episodes of one circuit in a sample log, in the order in which they began.

    :param include_predicted: also those in which a surrogate has answered.
    :raises SampleLogError: there is no log, or its rows belong to another version of the netlist.
    """
    report = EpisodeReport()
    kept: dict[tuple[str, str, int], list[LoggedStep]] = {}
    unfit: dict[tuple[str, str, int], str] = {}
    environments: dict[tuple[str, str, int], str | None] = {}
    rows = (row for row in read_samples(directory) if row.circuit == circuit.name and row.episode is not None)
    for chunk in _chunks(rows):
        for row, assessment in zip(chunk, _judged(circuit, chunk), strict=True):
            key = (row.writer or "", row.env_id or "", row.episode or 0)
            if row.predicted and not include_predicted:
                unfit[key] = "answered by a surrogate"
            elif row.targets is None:
                unfit[key] = "logged without targets"
            kept.setdefault(key, []).append(_step(row, assessment))
            environments[key] = row.environment
    episodes = []
    seeds: set[tuple[str, int | None]] = set()
    for key, steps in kept.items():
        steps.sort(key=lambda step: step.step)
        reason = unfit.get(key) or _gap(steps)
        # Only the first episode after a seeded reset follows from the seed; later ones still carry it in the log.
        seed = None if (key[0], steps[0].seed) in seeds else steps[0].seed
        seeds.add((key[0], steps[0].seed))
        if reason:
            report.left_out[reason] += 1
            continue
        episodes.append(LoggedEpisode(key[1] or None, seed, steps, environments[key]))
        report.transitions += len(steps) - 1
    report.episodes = len(episodes)
    return episodes, report


def _gap(steps: Sequence[LoggedStep]) -> str:
    """Why these are not the steps of an episode, or an empty string."""
    if [step.step for step in steps] != list(range(len(steps))):
        return "a row is missing"
    return "" if len(steps) > 1 else "no transition"


def _chunks(rows: Iterable[Sample]) -> Iterator[list[Sample]]:
    chunk: list[Sample] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _judged(circuit: Circuit, rows: Sequence[Sample]) -> list[Assessment]:
    for row in rows:
        check_circuit(circuit, row)
    outcomes = [_outcome(row) for row in rows]
    points, targets = _units(circuit, rows), [row.targets or {} for row in rows]
    judged: dict[int, Assessment] = {}
    environments = [row.environment for row in rows]
    for environment in dict.fromkeys(environments):
        metrics = _asked_by(circuit, environment).metrics
        own = [i for i, found in enumerate(environments) if found == environment]
        answers, wanted = [outcomes[i] for i in own], [targets[i] for i in own]
        # The failure reward is a matter of the environment's arguments; the log says what it was.
        judged |= zip(own, assess(metrics, points[own], answers, wanted, FAILURE_REWARD), strict=True)
    return [judged[i] for i in range(len(rows))]


def _asked_by(circuit: Circuit, environment: str | None) -> Circuit:
    """The circuit as an environment has it: asked for the optional metrics that its targets name.

    :param environment: JSON of its arguments; None where the log does not say them.
    """
    arguments = json.loads(environment) if environment else {}
    return circuit.judged_by(circuit.resolve_targets(arguments.get("targets")))


def _outcome(row: Sample) -> Outcome:
    metrics = {name: value for name, value in row.metrics.items() if value is not None}
    return Outcome(Status.SUCCESS, metrics=metrics) if row.label else Outcome(Status.CIRCUIT_FAILURE, row.failure)


def _units(circuit: Circuit, rows: Sequence[Sample]) -> NDArray[np.float64]:
    """(B, parameters) normalised sizings: the action itself where it is the sizing, or else the sizing normalised."""
    vectors = np.array([circuit.vector(row.sizing) for row in rows])
    known = np.clip(circuit.to_point(vectors), -1.0, 1.0)
    actions = np.array([known[i] if row.action is None else row.action for i, row in enumerate(rows)])
    absolute = (circuit.from_point(actions) == vectors).all(axis=1)
    return np.where(absolute[:, None], actions, known)


def _step(row: Sample, assessment: Assessment) -> LoggedStep:
    return LoggedStep(
        row.step or 0,
        row.seed,
        row.action,
        row.reward,
        bool(row.terminated),
        bool(row.truncated),
        str(row.failure or ""),
        row.sizing,
        row.targets or {},
        assessment,
    )


# --- Minari ---------------------------------------------------------------------------------------------------------


def export_minari(
    directory: str | os.PathLike[str],
    circuit: Circuit,
    root: str | os.PathLike[str],
    dataset_id: str,
    *,
    include_predicted: bool = False,
    configuration: int | None = None,
) -> EpisodeReport:
    """Write the logged episodes of a circuit as a Minari data set, together with what makes their environment anew.

    :param root: Minari's folder of data sets (`MINARI_DATASETS_PATH`); the data set goes to `root/dataset_id`.
    :param dataset_id: `[namespace/]name-vN`.
    :param include_predicted: as for `logged_episodes`.
    :param configuration: which one, where the log holds episodes of several: 1 for the one that was logged first. The
        error about several describes each.
    :raises ConfigError: Minari is not installed, the id is malformed or taken, or there is no such configuration.
    :raises SampleLogError: as for `logged_episodes`; or there is no episode to export, or several configurations.
    """
    minari = _minari()
    try:
        minari.dataset.minari_dataset.parse_dataset_id(dataset_id)
    except ValueError as error:
        raise ConfigError(f"{dataset_id!r} is no id of Minari: NAMESPACE/NAME-v0, like zsgym/nmcf-random-v0") from error
    place = Path(root) / dataset_id
    if place.exists():
        raise ConfigError(f"{place} exists: choose another --id (a higher version, for example) or another folder")
    episodes, report = logged_episodes(directory, circuit, include_predicted=include_predicted)
    if not episodes:
        why = "; ".join(f"{number} left out: {reason}" for reason, number in report.left_out.items())
        raise SampleLogError(f"{directory} holds no episode of {circuit.name} to export ({why or 'none was logged'})")
    from minari.data_collector import EpisodeBuffer

    episodes = _of_one_configuration(directory, episodes, configuration)
    report.episodes, report.transitions = len(episodes), sum(len(episode.steps) - 1 for episode in episodes)
    circuit = _asked_by(circuit, episodes[0].environment)
    buffers = [EpisodeBuffer(id=i, **_buffer(circuit, episode)) for i, episode in enumerate(episodes)]
    spec = _spec(circuit, episodes[0])
    n = len(circuit.parameters)
    try:
        with _datasets_path(root), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata (authors, reference scores) that a log does not have
            minari.create_dataset_from_buffers(
                dataset_id,
                buffers,
                env=None if spec is None else _NeverStarted(spec),
                action_space=action_space(n),
                observation_space=observation_space(n, len(circuit.metrics)),
                description=_description(circuit, include_predicted),
                requirements=["zsgym"],
            )
    except OSError as error:
        raise SampleLogError(f"cannot write {place}: {error.strerror or error}") from error
    return report


def _buffer(circuit: Circuit, episode: LoggedEpisode) -> dict[str, Any]:
    """The fields of Minari's EpisodeBuffer. Infos have the names of the environment's and T + 1 entries."""
    judged = [step.assessment for step in episode.steps]
    moves = episode.steps[1:]
    last = moves[-1]
    truncations = np.zeros(len(moves), dtype=bool)
    truncations[-1] = not last.terminated  # also where an episode was broken off
    vectors = np.array([circuit.vector(step.sizing) for step in episode.steps])
    metrics, margins = (np.array([getattr(one, name) for one in judged]) for name in ("metrics", "margins"))
    return {
        "seed": episode.seed if episode.seed is not None and episode.seed <= _LARGEST_SEED else None,
        "options": {"targets": last.targets},
        "observations": np.stack([one.observation for one in judged]),
        "actions": np.array([step.action for step in moves], dtype=np.float32),
        "rewards": np.array([step.reward for step in moves], dtype=np.float64),
        "terminations": np.array([step.terminated for step in moves]),
        "truncations": truncations,
        "infos": {
            "sizing": dict(zip(circuit.parameter_names, vectors.T, strict=True)),
            "metrics": dict(zip(circuit.metrics.names, metrics.T, strict=True)),
            "margins": dict(zip(circuit.metrics.names, margins.T, strict=True)),
            "is_success": np.array([one.is_success for one in judged]),
            "sim_success": np.array([not step.failure for step in episode.steps]),
            "failure": [step.failure for step in episode.steps],
        },
    }


def _of_one_configuration(
    directory: str | os.PathLike[str], episodes: Sequence[LoggedEpisode], number: int | None
) -> list[LoggedEpisode]:
    """The episodes of the only configuration, or of the one with this number.

    :raises SampleLogError: there are several. :raises ConfigError: there is none with this number.
    """
    groups: dict[tuple[str | None, str | None], list[LoggedEpisode]] = {}
    for episode in episodes:
        groups.setdefault((episode.env_id, episode.environment), []).append(episode)
    found = list(groups.values())
    if number is None and len(found) == 1:
        return found[0]
    if number is not None and 1 <= number <= len(found):
        return found[number - 1]
    lines = "".join(
        f"\n  {i}: {counted(len(group), 'episode')}, {text}"
        for i, (group, text) in enumerate(zip(found, _differences(list(groups)), strict=True), start=1)
    )
    if number is not None:
        raise ConfigError(f"there is no configuration {number} in {directory}, which holds episodes of:{lines}")
    raise SampleLogError(
        f"{directory} holds episodes of {len(found)} differently configured environments, which are no one data set. "
        f"Choose one with --configuration (in Python: configuration=):{lines}"
    )


def _differences(configurations: Sequence[tuple[str | None, str | None]]) -> list[str]:
    """What tells configurations (id, JSON of the arguments) apart, as one line each."""
    flat: list[dict[str, Any]] = []
    for identity, text in configurations:
        values: dict[str, Any] = {"id": identity}
        for name, value in json.loads(text or "{}").items():
            values |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
        flat.append(values)
    known = [values for values, (_, text) in zip(flat, configurations, strict=True) if text is not None]
    names = [name for name in dict.fromkeys(n for v in known for n in v) if len({str(v.get(name)) for v in known}) > 1]
    return [
        ", ".join(f"{name} {values.get(name)}" for name in names) or "the only one whose configuration is known"
        if text is not None
        else "of unknown configuration (logged by zsgym 0.1)"
        for values, (_, text) in zip(flat, configurations, strict=True)
    ]


def _spec(circuit: Circuit, episode: LoggedEpisode) -> EnvSpec | None:
    """What `gym.make` needs to make the environment of an episode, or None where the log does not say it.

    A simulator that was given as an object cannot be made anew; such an environment gets the default backend.
    """
    name = episode.env_id or env_id(circuit.name)
    if episode.environment is None or name not in gym.registry:
        return None
    arguments = json.loads(episode.environment)
    spec = copy.deepcopy(gym.registry[name])
    spec.max_episode_steps = arguments.pop("max_episode_steps")
    spec.kwargs |= {argument: value for argument, value in arguments.items() if value is not None}
    return spec


class _NeverStarted(gym.Env[Any, Any]):
    """An environment by its spec alone: from a spec Minari would make the environment, and start its simulator."""

    def __init__(self, spec: EnvSpec) -> None:
        self.spec = spec


def _description(circuit: Circuit, include_predicted: bool) -> str:
    made = provenance_of_this_process()
    return (
        f"Episodes of sizing {circuit.name} (netlist {circuit.netlist_hash}) with zsgym {made['versions']['zsgym']}, "
        f"{'partly answered by a surrogate' if include_predicted else 'simulated with ngspice and SKY130'}. "
        f"Targets (SI units) are the options of each episode. Exported by `{' '.join(made['command'])}`, "
        f"revision {made['git_revision'] or 'unknown'}."
    )


@contextmanager
def _datasets_path(root: str | os.PathLike[str]) -> Iterator[None]:
    """Minari takes its folder of data sets from the environment only."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(Path(root).absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before


def _minari() -> Any:
    try:
        import h5py  # noqa: F401  (Minari's own error comes only after the work is done)
        import minari
    except ImportError as error:
        raise ConfigError('the export to Minari needs minari with h5py: pip install "zsgym[export]"') from error
    return minari
