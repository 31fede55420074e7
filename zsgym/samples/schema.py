"""The row model of the sample log: one row is one simulated sizing, with its label and where it came from.

Every number is in the unit that its owner declares: sizing values in the circuit's units (um, count, F, ohm, A),
metrics, raw measurements and operating points in SI. Three rules hold for every row, and the model enforces them:

- label 1 carries finite metrics and no failure (under the `functional` policy all eleven; under `measured` those that
  exist); label 0 carries a failure and null metrics, never 1e9;
- the backend is the simulator that *answered* (a hybrid names ngspice, physics or surrogate), because rows answered by
  one of `PREDICTORS` are never training labels;
- an infrastructure error is not a row: it becomes an `ErrorRecord`, which is stored outside the samples.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from zsgym.base.errors import SampleLogError
from zsgym.circuits import Case, Sizing
from zsgym.classes import Conditions, Failure, find_class
from zsgym.simulators.outcome import PREDICTORS, Outcome

if TYPE_CHECKING:
    from zsgym.circuits import Circuit

SCHEMA_VERSION = 1
"""Version of the row model. A reader refuses rows of a later version instead of guessing."""


def now() -> str:
    """The current time as an ISO 8601 string in UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def sample_id(circuit: str, netlist_hash: str, sizing: Sizing, conditions: Mapping[str, Any] | Conditions) -> str:
    """Identity of *what was simulated*: 20 hexadecimal digits over circuit, netlist, exact sizing and conditions.

    Two sizings share an id only when every value is the same float64, whatever the order of the names and whether a
    count was given as 4 or 4.0. Backend, verdict and time do not enter: relabelling a row keeps its id.

    :param conditions: a mapping holds those that enter: what `Conditions.identity` of their class leaves.
    """
    fields = conditions.identity(conditions.as_dict()) if isinstance(conditions, Conditions) else conditions
    parts = (_quoted(circuit), _quoted(netlist_hash), _exact(sizing), _exact_conditions(tuple(fields.items())))
    return hashlib.sha256(f"[{','.join(parts)}]".encode()).hexdigest()[:20]


def _exact(values: Mapping[str, Any]) -> str:
    """Sorted [name, exact text] pairs as JSON; adding 0.0 folds -0.0 into 0.0, which simulate alike."""
    pairs = []
    for name, quoted in _sorted_names(tuple(values)):
        value = values[name]
        if value is not None:
            exact = _quoted(value) if isinstance(value, str) else f'"{(float(value) + 0.0).hex()}"'
            pairs.append(f"[{quoted},{exact}]")
    return f"[{','.join(pairs)}]"


# An environment asks for thousands of ids per second, all of one circuit under one set of conditions.
_quoted = functools.lru_cache(maxsize=4096)(json.dumps)


@functools.lru_cache(maxsize=256)
def _sorted_names(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, _quoted(name)) for name in sorted(names)]


@functools.lru_cache(maxsize=256)
def _exact_conditions(items: tuple[tuple[str, Any], ...]) -> str:
    return _exact(dict(items))


class _Record(BaseModel):
    """Shared behaviour: immutable, unknown keys refused, and no NaN or infinity, which JSON cannot store."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    schema_version: int = Field(default=SCHEMA_VERSION, alias="schema")

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Self:
        """Validate a decoded row.

        :raises SampleLogError: the row was written by a later version, or does not have the fields of this one.
        """
        version = fields.get("schema", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise SampleLogError(
                f"the row has schema version {version!r}; this zsgym reads version {SCHEMA_VERSION}. "
                "Use the zsgym that wrote the log, or a later one."
            )
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "row"
            raise SampleLogError(f"not a valid {cls.__name__.lower()}: {where}: {first['msg']}") from error

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values under the names of the file format (`schema`, `sample_id`, ...)."""
        return self.model_dump(mode="json", by_alias=True)

    def as_json(self) -> bytes:
        """`as_dict` as one line of JSON; floats keep every bit."""
        return self.model_dump_json(by_alias=True).encode()


class Sample(_Record):
    """One labelled (or, from a surrogate, predicted) sizing.

    sample_id: see `sample_id`; filled in when left empty. circuit_class: decides what the metrics and reasons are; rows
    of zsgym 0.1 do not name it, they are amplifiers. sizing: every parameter of the circuit, declared units.
    conditions: corner, supply (V), temperature (C), load (F), common_mode_ratio, step_low, step_high (V); those that
    an older row lacks are filled in with what they were. label: 1 works, 0 does not.
    failure: reason, label 0 only. metrics: canonical name -> SI value; all null for label 0. Optional metrics are there
    if they were asked for and could be determined.
    raw: every finite measurement, SI, also for failures (a name that is absent was not measured or is undefined).
    operating_points: device -> quantity -> SI value, or None. p_valid: probability of success from a surrogate.
    backend: who answered. provenance: versions of ngspice and PDK, or the checkpoint hash.
    policy: name of the verdict policy that gave the label.
    env_id, episode, step, action, reward, terminated, truncated: the transition, for rows from an environment.
    targets: specs of that episode, metric -> SI value; None in rows that no environment made, and in older ones.
    environment: JSON text of the arguments that make that environment anew; None as for targets.
    strategy, index: sampling strategy and position in the data set, for rows from a generator. seed: of either.
    writer: the segment (one per writer) in which the row was first stored; filled in by the log.
    time: when the row was made, ISO 8601 in UTC. elapsed_s: wall time of the evaluation in seconds.
    """

    sample_id: str = ""
    circuit: str
    circuit_class: str = "amplifier"
    netlist_hash: str
    sizing: dict[str, float]
    conditions: dict[str, float | str]
    label: int = Field(ge=0, le=1)
    failure: str | None = None
    metrics: dict[str, float | None] = Field(default_factory=dict)
    raw: dict[str, float] = Field(default_factory=dict)
    operating_points: dict[str, dict[str, float]] | None = None
    p_valid: float | None = Field(default=None, ge=0.0, le=1.0)
    backend: str
    provenance: dict[str, str] = Field(default_factory=dict)
    policy: str = "functional"
    env_id: str | None = None
    episode: int | None = None
    step: int | None = None
    action: list[float] | None = None
    reward: float | None = None
    terminated: bool | None = None
    truncated: bool | None = None
    targets: dict[str, float] | None = None
    environment: str | None = None
    strategy: str | None = None
    index: int | None = None
    seed: int | None = None
    writer: str | None = None
    time: str = Field(default_factory=now)
    elapsed_s: float = 0.0

    @field_validator("sizing")
    @classmethod
    def _sizing_has_parameters(cls, sizing: dict[str, float]) -> dict[str, float]:
        if not sizing:
            raise ValueError("a sizing has at least one parameter")
        return sizing

    @field_validator("raw", mode="before")
    @classmethod
    def _keep_finite(cls, raw: Mapping[str, float | None] | None) -> dict[str, float]:
        """JSON and Parquet have no common NaN: what is undefined is left out."""
        return {k: float(v) for k, v in (raw or {}).items() if v is not None and math.isfinite(v)}

    @field_validator("operating_points", mode="before")
    @classmethod
    def _keep_finite_points(cls, points: Mapping[str, Mapping[str, float | None]] | None) -> Any:
        if points is None:
            return None
        kept = {device: cls._keep_finite(quantities) for device, quantities in points.items()}
        return {device: quantities for device, quantities in kept.items() if quantities} or None

    @field_validator("backend")
    @classmethod
    def _backend_is_who_answered(cls, backend: str) -> str:
        if backend in ("", "hybrid"):
            raise ValueError(
                f"the backend must name the simulator that answered (ngspice, surrogate, ...), got {backend!r}"
            )
        return backend

    @field_validator("metrics", mode="before")
    @classmethod
    def _metrics_are_a_mapping(cls, metrics: Mapping[str, float | None] | None) -> dict[str, float | None]:
        return dict(metrics or {})

    @model_validator(mode="after")
    def _label_agrees(self) -> Self:
        circuit_class = find_class(self.circuit_class)
        if self.label == 1:
            metrics = {name: value for name, value in self.metrics.items() if value is not None}
            if not metrics:
                raise ValueError("a success needs metrics")
            object.__setattr__(self, "metrics", metrics)
            if self.failure is not None:
                raise ValueError(f"a success cannot have the failure {self.failure!r}")
        else:
            reasons = (*circuit_class.reasons, Failure.PREDICTED)
            if self.failure not in reasons:
                raise ValueError(f"label 0 needs a failure, one of {', '.join(reasons)}; got {self.failure!r}")
            if any(value is not None for value in self.metrics.values()):
                raise ValueError("a failed sample holds null metrics; its measurements belong in raw")
            object.__setattr__(self, "metrics", dict.fromkeys(circuit_class.metrics.names))
        conditions = circuit_class.conditions
        object.__setattr__(self, "conditions", conditions.of_row(self.conditions))
        if not self.sample_id:
            named = conditions.identity(self.conditions)
            identity = sample_id(self.circuit, self.netlist_hash, self.sizing, named)
            object.__setattr__(self, "sample_id", identity)
        return self

    @property
    def predicted(self) -> bool:
        """True when a surrogate or the physics backend answered: the label waits for a simulation."""
        return self.backend in PREDICTORS

    @classmethod
    def from_outcome(
        cls,
        circuit: Circuit,
        case: Case,
        outcome: Outcome,
        *,
        provenance: Mapping[str, str] | None = None,
        policy: str = "functional",
        **context: Any,
    ) -> Self:
        """The row of one simulator answer.

        :param context: the remaining fields: env_id, episode, step, action, reward, strategy, index, seed, ...
        :raises SampleLogError: the outcome is an infrastructure error (use `ErrorRecord`), or a field is invalid.
        """
        if outcome.label is None:
            raise SampleLogError("an infrastructure error has no label and cannot become a sample")
        return cls.parse(
            {
                "circuit": circuit.name,
                "circuit_class": circuit.circuit_class.name,
                "netlist_hash": circuit.netlist_hash,
                "sizing": dict(case.sizing),
                "conditions": case.conditions.as_dict(),
                "label": outcome.label,
                "failure": outcome.failure,
                "metrics": _stored(circuit, outcome) if outcome.success else None,
                "raw": outcome.raw,
                "operating_points": outcome.operating_points,
                "p_valid": outcome.p_valid,
                "backend": outcome.backend,
                "provenance": dict(provenance or {}),
                "policy": policy,
                "elapsed_s": outcome.elapsed_s,
                **context,
            }
        )


def _stored(circuit: Circuit, outcome: Outcome) -> Mapping[str, float] | None:
    """An optional metric without a value is left out; any other would be a fault, which the model refuses."""
    if not circuit.asked or outcome.metrics is None:
        return outcome.metrics
    return {n: v for n, v in outcome.metrics.items() if n not in circuit.asked or not math.isnan(v)}


class ErrorRecord(_Record):
    """A sizing that nobody could answer: kept outside the samples, so that it can never become a label.

    error: name of the exception type. message: its text. The other fields are those of `Sample`.
    """

    circuit: str
    netlist_hash: str
    sizing: dict[str, float]
    conditions: dict[str, float | str]
    backend: str
    error: str
    message: str
    env_id: str | None = None
    strategy: str | None = None
    index: int | None = None
    seed: int | None = None
    time: str = Field(default_factory=now)

    @classmethod
    def from_outcome(cls, circuit: Circuit, case: Case, outcome: Outcome, **context: Any) -> Self:
        """The record of an infrastructure error; `context` as for `Sample.from_outcome`."""
        return cls.parse(
            {
                "circuit": circuit.name,
                "netlist_hash": circuit.netlist_hash,
                "sizing": dict(case.sizing),
                "conditions": case.conditions.as_dict(),
                "backend": outcome.backend or "unknown",
                "error": type(outcome.error).__name__ if outcome.error else "SimulatorError",
                "message": str(outcome.error or "the simulator gave no reason"),
                **context,
            }
        )
