"""What pages say of the physics backend."""

from collections import Counter

import numpy as np
from published_markdown import percent, read, table

_UNITS = {"dc_gain": "dB", "phase_margin": "degrees", "cmrr": "dB", "psrr_p": "dB", "psrr_n": "dB"}


def accuracy() -> str:
    """Errors of every metric over the working sizings of all circuits."""
    result = read("physics_vs_spice")
    circuits = [c for c in result["circuits"].values() if c["errors"]]
    rows = []
    for metric, (kind, goal) in result["goals"].items():
        own = [(c["working"], c["errors"][metric]) for c in circuits if c["errors"].get(metric)]
        total = sum(count for count, _ in own)
        within = sum(count * errors["within_goal"] for count, errors in own) / total
        median = float(np.median([errors["median"] for _, errors in own]))
        unit = {"offset": "of 1 uV + 0.1 %"}.get(kind, _UNITS.get(metric, "relative"))
        worst = max(errors["worst"] for _, errors in own)
        rows.append([f"`{metric}`", unit, f"{median:.1e}", f"{worst:.1e}", f"{goal:g}", percent(within, 1)])
    return table(["metric", "error counted", "median", "worst of all", "goal", "within it"], rows)


def agreement() -> str:
    """Convergence, stability and labels, and what the disagreements are."""
    circuits = read("physics_vs_spice")["circuits"]
    count = sum(c["sizings"] for c in circuits.values())
    compared = sum(c["stability_compared"] for c in circuits.values())

    def share(key: str, weight: str) -> str:
        total = sum(c[weight] for c in circuits.values())
        return percent(sum(c[weight] * c[key] for c in circuits.values() if c[key] is not None) / total, 2)

    kinds: Counter[str] = Counter()
    for circuit in circuits.values():
        kinds.update(circuit["disagreements"])
    said = "; ".join(f"{kind}: {number}" for kind, number in kinds.most_common()) or "none"
    elsewhere = [c for circuit in circuits.values() for c in circuit["elsewhere"].values()]
    working = sum(c["working"] for c in circuits.values())
    text = (
        f"{count:,} random sizings of {len(circuits)} circuits, of which {working} "
        f"work: {share('converged', 'sizings')} have an answer; stable or unstable for small signals as in ngspice: "
        f"{share('stability_agrees', 'stability_compared')} of {compared:,}; the same label: "
        f"{share('label_agrees', 'sizings')}. Labels that differ: {said}."
    )
    if elsewhere:
        asked = sum(c["sizings"] for c in elsewhere)
        same = sum(c["sizings"] * c["label_agrees"] for c in elsewhere) / asked
        worst = max((c["errors"]["gbw"]["worst"] for c in elsewhere if c["errors"].get("gbw")), default=float("nan"))
        text += (
            f" At four other corners, two other supplies, -40 and 125 degrees ({asked} sizings): the same label in "
            f"{percent(same, 1)}, largest error of the bandwidth {worst:.0e}."
        )
    return text


def speed() -> str:
    """Times beside ngspice."""
    timed = {name: c["speed"] for name, c in read("physics_vs_spice")["circuits"].items() if "speed" in c}
    small = [s["times_small_signal"] for s in timed.values()]
    complete = [s["times_complete"] for s in timed.values()]
    batch = [1e3 * s["batch_s"] for s in timed.values()]
    one = [1e3 * s["one_s"] for s in timed.values()]
    return table(
        ["processor's time, working sizings", "median circuit", "lowest", "highest"],
        [
            ["operating point, AC and poles: times ngspice", *_three(small)],
            ["a complete answer in a batch: times ngspice", *_three(complete)],
            ["ms a sizing, in a batch", *_three(batch)],
            ["ms a sizing, alone", *_three(one)],
        ],
    )


def _three(values: list[float]) -> list[str]:
    return [f"{value:.3g}" for value in (float(np.median(values)), min(values), max(values))]


def solved_sizing() -> str:
    """Simulations until every spec is met, when the equations are searched."""
    runs = read("physics_sizing")["runs"]
    rows = []
    for problem in sorted(dict.fromkeys(row["problem"] for row in runs)):
        own = [row for row in runs if row["problem"] == problem]
        figures = [[row[key] for row in own] for key in ("simulations", "solved", "processor_s")]
        met = f"{sum(row['met'] for row in own)} of {len(own)}"
        rows.append([problem, met, *(f"{np.median(f):,.0f} ({min(f):,.0f} to {max(f):,.0f})" for f in figures)])
    header = ["problem", "seeds that met it", "simulations in ngspice", "solved sizings", "processor s of the search"]
    return table(header, rows)
