"""Actions, episodes, rewards, targets and errors of one environment."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
from fakes import FakeSimulator
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from zsgym import simulators
from zsgym.base.errors import ConfigError, SimulatorCrashError, SimulatorMissingError, SimulatorOutputError
from zsgym.circuits import Circuit
from zsgym.classes.amplifier import METRICS, AmplifierConditions
from zsgym.classes.specs import reward
from zsgym.envs.env import SizingEnv
from zsgym.simulators.outcome import Outcome, Status

MakeEnv = Callable[..., SizingEnv]


def normalised(metrics: Mapping[str, float]) -> NDArray[np.float64]:
    """Metrics as an observation shows them."""
    return METRICS.normalise([[metrics[name] for name in METRICS.names]])[0]


def step_until(env: SizingEnv, sim_success: bool, seed: int = 0) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    """Random steps up to the first sizing that works (or does not)."""
    env.action_space.seed(seed)
    for _ in range(100):
        result = env.step(env.action_space.sample())
        if result[4]["sim_success"] is sim_success:
            return result
    raise AssertionError("the fake never answered as wanted")


def test_an_absolute_action_is_the_sizing(make_env: MakeEnv, nmcf: Circuit) -> None:
    simulator = FakeSimulator(nmcf)
    env = make_env(simulator=simulator)
    env.reset(seed=0)
    for value in (-1.0, 0.0, 1.0):
        observation, *_, info = env.step(np.full(env.action_space.shape, value, np.float32))
        expected = nmcf.sizing(nmcf.from_point(np.full(len(nmcf.parameters), value)))
        assert info["sizing"] == expected == simulator.simulated[-1]
        assert (observation[: len(nmcf.parameters)] == value).all()


def test_delta_actions_move_by_the_step_size_and_stop_at_the_bounds(make_env: MakeEnv, nmcf: Circuit) -> None:
    env = make_env(action_mode="delta", step_size=0.25)
    start, _ = env.reset(seed=0)
    n = len(nmcf.parameters)
    up = np.ones(n, np.float32)
    moved = env.step(up * 0.5)[0]
    np.testing.assert_allclose(moved[:n], np.clip(start[:n] + 0.125, -1.0, 1.0), atol=1e-6)
    for _ in range(8):
        moved, *_, info = env.step(up)
    assert (moved[:n] == 1.0).all()
    assert info["sizing"] == pytest.approx({p.name: p.high for p in nmcf.parameters})
    stayed = env.step(up * 0.0)[0]
    np.testing.assert_array_equal(stayed, moved)


def test_small_moves_of_a_count_add_up(make_env: MakeEnv, nmcf: Circuit) -> None:
    env = make_env(action_mode="delta", step_size=0.01)
    env.reset(seed=0, options={"sizing": nmcf.sizing(nmcf.from_point(np.zeros(len(nmcf.parameters))))})
    count = next(p.name for p in nmcf.parameters if p.integer)
    counts = [env.step(np.ones(env.action_space.shape))[4]["sizing"][count] for _ in range(20)]
    assert all(value == round(value) for value in counts)
    assert counts[-1] > counts[0]


@pytest.mark.parametrize("mode", ["absolute", "delta"])
def test_finite_actions_outside_the_space_are_clipped(make_env: MakeEnv, mode: str) -> None:
    results: list[Any] = []
    for scale in (1.0, 40.0):
        env = make_env(action_mode=mode)
        env.reset(seed=0)
        results.append(env.step(np.full(env.action_space.shape, scale))[0])
    np.testing.assert_array_equal(results[0], results[1])


def test_working_amplifiers_are_rewarded_by_their_margins(make_env: MakeEnv, nmcf: Circuit) -> None:
    env = make_env()
    env.reset(seed=0)
    observation, value, terminated, truncated, info = step_until(env, sim_success=True)
    margins = METRICS.margins(info["metrics"], nmcf.targets)
    assert value == pytest.approx(reward(margins), rel=1e-12)
    assert -11.0 <= value < 0.0
    assert {name: info["margins"][name] for name in margins} == margins
    assert (terminated, truncated, info["is_success"], info["failure"]) == (False, False, False, "")
    n, k = len(nmcf.parameters), len(METRICS.names)
    shown, judged, wanted = observation[n:-1].reshape(3, k)
    np.testing.assert_allclose(shown, normalised(info["metrics"]), rtol=1e-6)
    np.testing.assert_allclose(judged, [margins[name] for name in METRICS.names], rtol=1e-6)
    np.testing.assert_allclose(wanted, normalised(nmcf.targets), rtol=1e-6)
    assert observation[-1] == 1.0


def test_failures_cost_the_failure_reward_and_show_the_worst(make_env: MakeEnv, nmcf: Circuit) -> None:
    env = make_env(failure_reward=-50.0)
    env.reset(seed=0)
    observation, value, terminated, _, info = step_until(env, sim_success=False)
    assert value == -50.0
    assert not terminated
    assert info["failure"] in {"geometry", "unstable", "no_gain"}
    assert set(info["metrics"].values()) == {0.0}
    assert set(info["margins"].values()) == {-1.0}
    assert info["reward_terms"] == {**dict.fromkeys(METRICS.names, 0.0), "failure": -50.0}
    n, k = len(nmcf.parameters), len(METRICS.names)
    shown, judged, wanted = observation[n:-1].reshape(3, k)
    np.testing.assert_array_equal(shown, METRICS.worst)
    assert (judged == -1.0).all()
    np.testing.assert_allclose(wanted, normalised(nmcf.targets), rtol=1e-6)
    assert observation[-1] == 0.0


def test_meeting_every_spec_terminates(make_env: MakeEnv, easy_targets: dict[str, float]) -> None:
    env = make_env(targets=easy_targets)
    env.reset(seed=0)
    *_, terminated, truncated, info = step_until(env, sim_success=True)
    assert (terminated, truncated, info["is_success"]) == (True, False, True)
    assert sum(info["reward_terms"].values()) == 0.0
    with pytest.raises(ResetNeeded, match=r"reset\(\)"):
        env.step(env.action_space.sample())
    env.reset()
    env.step(env.action_space.sample())


def test_a_start_that_meets_every_spec_does_not_end_the_episode(make_env: MakeEnv, nmcf: Circuit) -> None:
    only_power = dict.fromkeys(nmcf.targets) | {"power": 1.0}
    env = make_env(simulator=FakeSimulator(nmcf, always_works=True), targets=only_power, action_mode="delta")
    _, info = env.reset(seed=0)
    assert info["is_success"] is True
    *_, terminated, _, info = env.step(np.zeros(env.action_space.shape))
    assert terminated


def test_targets_of_one_episode(make_env: MakeEnv, nmcf: Circuit) -> None:
    env = make_env(simulator=FakeSimulator(nmcf, always_works=True), targets={"gbw": 5e5, "tc": None})
    _, plain = env.reset(seed=0)
    assert plain["margins"]["tc"] == 0.0
    assert plain["reward_terms"]["tc"] == 0.0
    assert plain["margins"]["gbw"] == METRICS.margins(plain["metrics"], {"gbw": 5e5})["gbw"]
    _, changed = env.reset(seed=0, options={"targets": {"gbw": 9e9, "tc": 1e-12}})
    assert changed["metrics"] == plain["metrics"]
    assert changed["margins"]["gbw"] < -0.99
    assert changed["margins"]["tc"] < -0.99
    *_, info = env.step(env.action_space.sample())
    assert info["margins"]["gbw"] < -0.99, "the targets hold for the whole episode"
    _, again = env.reset(seed=0)
    assert again == plain, "and not longer"


def test_a_given_start_is_simulated_exactly(make_env: MakeEnv, nmcf: Circuit) -> None:
    simulator = FakeSimulator(nmcf)
    env = make_env(simulator=simulator)
    sizing = nmcf.sizing(nmcf.from_point(np.linspace(-0.9, 0.9, len(nmcf.parameters))))
    sizing["W_gm2"] = 1.2345678901
    observation, info = env.reset(options={"sizing": sizing})
    assert simulator.simulated == [sizing]
    assert info["sizing"] == sizing
    np.testing.assert_allclose(observation[: len(sizing)], nmcf.to_point(nmcf.vector(sizing)), atol=1e-6)


def test_a_known_good_start(make_env: MakeEnv, nmcf: Circuit) -> None:
    env = make_env()
    name, sizing = next(iter(nmcf.known_good.items()))
    assert env.reset(options={"sizing": name})[1]["sizing"] == sizing


def test_starts_follow_the_seed_in_both_modes(make_env: MakeEnv) -> None:
    for mode in ("absolute", "delta"):
        env = make_env(action_mode=mode)
        first = env.reset(seed=5)[1]["sizing"]
        assert env.reset()[1]["sizing"] != first
        assert env.reset(seed=5)[1]["sizing"] == first


def test_conditions_reach_the_simulator(make_env: MakeEnv, nmcf: Circuit) -> None:
    simulator = FakeSimulator(nmcf)
    make_env(simulator=simulator, conditions={"supply": 1.62, "corner": "ss"}).reset(seed=0)
    assert simulator.conditions == [nmcf.conditions.replace(supply=1.62, corner="ss")]
    assert isinstance(simulator.conditions[0], AmplifierConditions)


@pytest.mark.parametrize("seed", range(3))
def test_an_infrastructure_error_changes_nothing(make_env: MakeEnv, nmcf: Circuit, seed: int) -> None:
    calm, hit = (
        make_env(action_mode="delta"),
        make_env(action_mode="delta", simulator=FakeSimulator(nmcf, raise_at={1, 3, 5, 6, 9})),
    )
    calm.action_space.seed(seed)
    with pytest.raises(SimulatorCrashError, match="killed in call 1"):
        hit.reset(seed=seed)
    expected: list[Any] = [calm.reset(seed=seed)]
    answer: list[Any] = [hit.reset(seed=seed)]
    for _ in range(3):
        action = calm.action_space.sample()
        expected.append(calm.step(action))
        answer.append(persistently(partial(hit.step, action)))
    # An unseeded reset that fails must not have used up random numbers either.
    expected.append(calm.reset())
    with pytest.raises(SimulatorCrashError, match="call 9"):
        hit.reset()
    answer.append(hit.reset())
    for one, other in zip(expected, answer, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:] == other[1:]


def persistently(call: Callable[[], Any]) -> Any:
    for _ in range(5):
        try:
            return call()
        except SimulatorCrashError:
            continue
    raise AssertionError("it never answered")


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_success_without_all_its_numbers_never_reaches_the_agent(
    make_env: MakeEnv, nmcf: Circuit, value: Any
) -> None:
    class Careless(FakeSimulator):
        def _answer(self, sizing: Any) -> Outcome:
            metrics = dict(super()._answer(sizing).metrics or {})
            if value is None:
                del metrics["gbw"]
            else:
                metrics["gbw"] = value
            return Outcome(Status.SUCCESS, metrics=metrics, backend="careless")

    env = make_env(simulator=Careless(nmcf, always_works=True))
    with pytest.raises(SimulatorOutputError, match="without finite gbw"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(3), r"shape \(3,\), expected \(24,\).*W_bias_p"),
        (np.zeros((1, 24)), r"shape \(1, 24\)"),
        (0.0, r"shape \(\)"),
        ("up", "array of 24 numbers"),
        (None, "not finite|shape"),
        (np.full(24, np.nan), "not finite for W_bias_p"),
        (np.r_[np.zeros(23), np.inf], "not finite for bias_current"),
    ],
)
def test_invalid_actions_are_refused_before_anything_is_simulated(
    make_env: MakeEnv, nmcf: Circuit, action: Any, message: str
) -> None:
    simulator = FakeSimulator(nmcf)
    env = make_env(simulator=simulator)
    env.reset(seed=0)
    with pytest.raises(ConfigError, match=message):
        env.step(action)
    assert simulator.calls == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action_mode": "relative"}, "action_mode 'relative'.*Valid: absolute, delta"),
        ({"step_size": 0.0}, r"step_size must be in \(0, 2\]"),
        ({"step_size": math.nan}, "step_size"),
        ({"failure_reward": -5.0}, "failure_reward must be a finite number below -11"),
        ({"failure_reward": -math.inf}, "failure_reward"),
        ({"targets": {"bandwidth": 1e6}}, "unknown metric 'bandwidth'"),
        ({"conditions": {"vdd": 1.8}}, "conditions.vdd: unknown key.*supply"),
        ({"conditions": {"corner": "typical"}}, "conditions.corner: 'typical' is not valid here.*tt, ff"),
        ({"conditions": {"supply": "1.8 V"}}, "conditions.supply: Input should be a valid number"),
        ({"render_mode": "human"}, "render_mode 'human'.*ansi, rgb_array"),
        ({"log": 3}, "log must be True, False or a directory"),
        ({"log": ""}, "log must be"),
        ({"random_targets": "validation"}, "random_targets 'validation'.*train, test"),
        ({"backend_options": {"targets": {}}}, "give them as targets="),
        ({"target": {}}, "unknown argument 'target'. Did you mean 'targets'"),
        ({"backend_options": {"policy": "measured"}}, "backend_options"),
    ],
)
def test_invalid_arguments_name_what_is_valid(make_env: MakeEnv, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_env(**arguments)


def test_an_unknown_backend_or_circuit_names_the_known_ones(nmcf: Circuit) -> None:
    with pytest.raises(ConfigError, match=r"ngspcie.*ngspice"):
        SizingEnv(nmcf, backend="ngspcie")
    with pytest.raises(ConfigError, match=r"Did you mean 'nmcf'.*nmcnr"):
        SizingEnv("nmfc")
    with pytest.raises(ConfigError, match=r"backend must be .* got int"):
        SizingEnv(nmcf, backend=3)  # type: ignore[arg-type]


def test_a_missing_simulator_is_reported_with_its_own_message(nmcf: Circuit, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> Any:
        raise SimulatorMissingError("no usable ngspice: apt-get install ngspice")

    monkeypatch.setattr(simulators, "make_simulator", missing)
    with pytest.raises(SimulatorMissingError, match="apt-get install"):
        SizingEnv(nmcf, backend="ngspice")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": {"gbw": 1e6}}, "reset option 'target'.*Did you mean 'targets'"),
        ({"targets": {"bandwidth": 1e6}}, "unknown metric"),
        ({"sizing": "best"}, "no known-good sizing 'best'"),
        ({"sizing": {"W_gm2": 1.0}}, "missing"),
    ],
)
def test_invalid_reset_options(make_env: MakeEnv, options: dict[str, Any], message: str) -> None:
    env = make_env()
    first = env.reset(seed=1)
    with pytest.raises(ConfigError, match=message):
        env.reset(options=options)
    np.testing.assert_array_equal(env.reset(seed=1)[0], first[0])


def test_a_start_out_of_bounds_names_parameter_and_bounds(make_env: MakeEnv, nmcf: Circuit) -> None:
    sizing = nmcf.sizing(nmcf.from_point(np.zeros(len(nmcf.parameters)))) | {"L_gm3": 2.0}
    with pytest.raises(ConfigError, match=r"out of bounds: L_gm3 = 2 \(bounds 0.13 to 1\)"):
        make_env().reset(options={"sizing": sizing})


def test_stepping_or_rendering_before_the_first_reset(make_env: MakeEnv) -> None:
    env = make_env(render_mode="ansi")
    for call in (lambda: env.step(env.action_space.sample()), env.render):
        with pytest.raises(ResetNeeded, match=r"reset\(\) first"):
            call()


def test_metric_scales_cover_every_metric_in_both_directions() -> None:
    scales = [metric.scale for metric in METRICS]
    middle = [math.sqrt(s.low * s.high) if s.logarithmic else (s.low + s.high) / 2 for s in scales]
    rows = [[s.low for s in scales], middle, [s.high for s in scales], [10.0 * s.high for s in scales], [0.0] * 11]
    for position, expected in zip(METRICS.normalise(rows), (-1.0, 0.0, 1.0, 1.0, -1.0), strict=True):
        np.testing.assert_allclose(position, expected, atol=1e-12)
    vos = METRICS.names.index("vos")
    assert METRICS.normalise([[-1e-3] * 11])[0, vos] == METRICS.normalise([[1e-3] * 11])[0, vos] > -1.0


def test_a_failure_looks_like_the_worst_amplifier_and_not_like_the_best() -> None:
    worst = dict(zip(METRICS.names, METRICS.worst, strict=True))
    assert worst == dict.fromkeys(METRICS.names, -1.0) | dict.fromkeys(("tc", "power", "vos", "settling_time"), 1.0)
    np.testing.assert_array_equal(METRICS.normalise([[math.nan] * 11])[0], METRICS.worst)


def test_a_batch_is_judged_like_its_rows() -> None:
    """To the bit: margins like the scalar formula, observations whatever the size of the batch."""
    generator = np.random.default_rng(0)
    metrics = 10.0 ** generator.uniform(-9, 9, (50, 11)) * generator.choice([-1.0, 1.0], (50, 11))
    targets = np.where(generator.random((50, 11)) < 0.2, np.nan, 10.0 ** generator.uniform(-9, 9, (50, 11)))
    metrics[3], targets[3], targets[4] = 0.0, 0.0, metrics[4]
    table = METRICS.margin_table(metrics, targets)
    for row, values, wanted in zip(table, metrics.tolist(), targets.tolist(), strict=True):
        specs = {name: t for name, t in zip(METRICS.names, wanted, strict=True) if not math.isnan(t)}
        expected = METRICS.margins(dict(zip(METRICS.names, values, strict=True)), specs)
        assert row.tolist() == pytest.approx(
            [expected.get(name, math.nan) for name in METRICS.names], abs=0, nan_ok=True
        )
    np.testing.assert_array_equal(METRICS.normalise(metrics), [METRICS.normalise(row[None])[0] for row in metrics])
