"""The claims of the README: what is claimed, the figure, and what proves it."""

from published_markdown import percent, read, table


def claims() -> str:
    """One line per claim, weaknesses among them."""
    return table(
        ["claim", "measured", "by"],
        [
            _fast(),
            _true(),
            _few_simulations(),
            _searched_directly(),
            _solved(),
            _validity(),
            _unseen_goals(),
            _steps(),
            _loop(),
            _blind(),
            *_mutants(),
        ],
    )


def _proof(script: str, page: str = "results") -> str:
    return f"[`benchmarks/{script}.py`](benchmarks/{script}.py), [docs/{page}.md](docs/{page}.md)"


def _fast() -> list[str]:
    ratio = read("spice_speed")["speed"]["wall_ratio"]
    name, least = max(ratio.items(), key=lambda item: item[1]["median"])
    return [
        "ngspice is asked faster",
        f"{least['median']:.0f} times as fast as the flow ({name})",
        _proof("spice_speed"),
    ]


def _true() -> list[str]:
    metrics = read("spice_speed")["accuracy"]["metrics"]
    small_signal = {name: m for name, m in metrics.items() if name not in ("slew_rate", "settling_time", "tc")}
    worst = max(flow["max"] for m in small_signal.values() for flow in m.values())
    claim = "with the numbers of the published flow"
    return [claim, f"largest difference of DC and AC metrics {worst:.0e}", _proof("spice_speed", "metrics")]


def _few_simulations() -> list[str]:
    calls = _median_calls("gradient")
    return [
        "a surrogate leaves few simulations to a sizing",
        f"median until every spec is met in ngspice: {calls}, 5 seeds",
        _proof("sizing"),
    ]


def _searched_directly() -> list[str]:
    return ["the same without one", f"CMA-ES in ngspice: {_median_calls('cma_es')}", _proof("sizing")]


def _solved() -> list[str]:
    runs = read("physics_sizing")["runs"]
    problems = {row["problem"] for row in runs}
    met = [row for row in runs if row["met"]]
    calls = sorted(row["simulations"] for row in met)
    figure = (
        f"{len(met)} of {len(runs)} runs on {len(problems)} problems meet every spec; simulations: "
        f"{calls[len(calls) // 2]} in the median, {calls[-1]} at most"
    )
    return ["a circuit's equations leave as few, with nothing trained", figure, _proof("physics_sizing", "physics")]


def _median_calls(agent: str) -> str:
    result = read("sizing")
    scores = {s["problem"]: s for s in result["scores"] if s["agent"] == agent}
    texts = []
    for problem, facts in result["problems"].items():
        median = scores[problem]["calls"]["median"]
        texts.append(f"{'never' if median is None else f'{median:,.0f}'} ({facts['title']})")
    return ", ".join(texts)


def _validity() -> list[str]:
    result = read("surrogate_vs_spice")["results"]
    widest: dict[str, tuple[int, float]] = {}
    for name, models in result.items():
        inside = models["fast"]["validity"]["in_bin"]
        circuit = name.split("-")[0].split(",")[0].upper()
        widest[circuit] = max(widest.get(circuit, (0, 0.0)), (inside["rows"], inside["auroc"]))
    figure = ", ".join(f"{circuit} {auroc:.4f}" for circuit, (_, auroc) in widest.items())
    return ["it knows what fails", f"AUROC on held-out rows inside the models: {figure}", _proof("surrogate_vs_spice")]


def _unseen_goals() -> list[str]:
    figure = []
    for circuit in ("nmcf", "nmcnr"):
        s = read(f"goals_{circuit}")["summary"]
        figure.append(f"{circuit.upper()} {round(s['met'] * s['goals'])} of {s['goals']}")
    proof = "[`agents/evaluate_goals.py`](agents/evaluate_goals.py), [docs/agents.md](docs/agents.md)"
    return ["one policy sizes for targets that it never saw", f"met in ngspice: {', '.join(figure)}", proof]


def _steps() -> list[str]:
    results = read("env_speed")["results"]
    trained = [r for r in results if (r["what"], r["log"], r["backend"]) == ("PPO", True, "surrogate")]
    fast = max(trained, key=lambda r: r["steps_per_s"])
    figure = f"{fast['steps_per_s']:,.0f} steps per second with the log on"
    return ["PPO trains on a laptop", figure, _proof("env_speed")]


def _loop() -> list[str]:
    points = read("retrain_rounds")["runs"][-1]["points"]
    shares = [percent(p["claims"]["confirmed"] / max(p["claims"]["designs"], 1)) for p in (points[0], points[-1])]
    figure = f"designs confirmed: {shares[0]} before, {shares[1]} after {points[-1]['simulations']:,} simulations"
    return ["a weak surrogate is mended by its own mistakes", figure, _proof("retrain_rounds", "retraining")]


def _blind() -> list[str]:
    result = read("zero_shot")
    aurocs = [point["validity"]["auroc"] for key, point in result["points"].items() if ", 0 rows," in key]
    figure = f"AUROC {min(aurocs):.2f} on {result['new_topology'].upper()}, when only the other circuit was learnt"
    return ["**weak:** a topology that it never saw is mostly guessed", figure, _proof("zero_shot", "surrogate")]


def _mutants() -> list[list[str]]:
    result = read("mutants")
    figure = f"{result['killed']} of {result['mutants']} faults put in on purpose"
    return [["the tests bite", figure, "[`benchmarks/mutants.py`](benchmarks/mutants.py)"]]
