"""Every simulated sizing of an environment becomes a row of the sample log, starting sizings included.

A starting sizing is a row with step 0 and neither action nor reward; a transition has step 1 and up. The call that
merely resets a finished sub-environment is no transition and its action is never written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from zsgym.circuits import Circuit
from zsgym.envs.state import State
from zsgym.errors import ConfigError, SampleLogError, SimulatorError
from zsgym.outcome import Conditions, Outcome, Sizing
from zsgym.paths import log_dir
from zsgym.samples import ErrorRecord, Sample, SampleLog
from zsgym.simulators.base import Simulator


class Recorder:
    """Writes the states of one core to one sample log, or nowhere."""

    def __init__(
        self,
        circuit: Circuit,
        conditions: Conditions,
        policy: str,
        log: bool | str | os.PathLike[str],
    ) -> None:
        """Nothing is created on disk before the first row.

        :param policy: name of the verdict policy that labels the rows.
        :param log: True for the default log directory, False for none, or a directory.
        """
        if not isinstance(log, bool | str | os.PathLike) or log == "":
            raise ConfigError(f"log must be True, False or a directory, got {log!r}")
        self._circuit = circuit
        self._conditions = conditions
        self._policy = policy
        self._provenance: dict[str, str] | None = None
        directory = log_dir() if log is True else log
        self._log = None if directory is False else SampleLog(directory)

    def record(self, states: Iterable[State], simulator: Simulator, env_id: str | None) -> None:
        """Append one row per state, by one write.

        :raises SampleLogError: a row could not be written.
        """
        if self._log is None:
            return
        if self._provenance is None:
            # Asked for once: a backend may start a process or hash its models to answer.
            self._provenance = dict(simulator.provenance)
        # All or none: a step of a batch that cannot be logged has not happened in any of its environments.
        self._log.append_many(
            Sample.from_outcome(
                self._circuit,
                state.sizing,
                state.outcome,
                conditions=self._conditions,
                provenance=self._provenance,
                policy=self._policy,
                env_id=env_id,
                episode=state.episode,
                step=state.step,
                action=None if state.action is None else state.action.tolist(),
                reward=None if state.action is None else state.reward,
                terminated=state.terminated,
                truncated=state.truncated,
                targets=state.targets,
                seed=state.seed,
            )
            for state in states
        )

    def record_errors(
        self, lost: Sequence[tuple[Sizing, Outcome, int | None]], env_id: str | None, error: SimulatorError
    ) -> None:
        """Record sizings that nobody could answer, outside the samples; `error` is what will be raised for them."""
        if self._log is None:
            return
        try:
            for sizing, outcome, seed in lost:
                self._log.append_error(
                    ErrorRecord.from_outcome(
                        self._circuit, sizing, outcome, conditions=self._conditions, env_id=env_id, seed=seed
                    )
                )
        except SampleLogError as log_error:
            # The simulator's failure is what the caller must hear about first.
            error.add_note(f"It could not be written to the sample log either: {log_error}")

    def close(self) -> None:
        """Flush and close the log. Safe to call twice."""
        if self._log is not None:
            self._log.close()
