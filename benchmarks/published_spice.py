"""What pages say of the data sets and of the ngspice backend."""

from published_markdown import percent, read, table

from zsgym.classes.amplifier import AMPLIFIER


def data_sets() -> str:
    """What became of the sizings of each data set."""
    sets = read("data_sets")["sets"]
    reasons = [reason for reason in AMPLIFIER.reasons if any(reason in s["failures"] for s in sets)]
    rows = [["rows", *(f"{s['rows']:,}" for s in sets)]]
    rows += [[f"`{r}`", *(percent(s["failures"].get(r, 0) / s["rows"], 1) for s in sets)] for r in reasons]
    rows.append(["**works**", *(f"**{percent(s['working'] / s['rows'], 1)}**" for s in sets)])
    return table(["first reason", *(f"{s['circuit'].upper()}, {s['strategy']}" for s in sets)], rows)


def spice_speed() -> str:
    """One evaluation, in zsgym and in the published flow."""
    s = read("spice_speed")["speed"]
    rows = []
    for name in s["wall_s"]:
        ratio = s["wall_ratio"].get(name, {"median": 1.0, "min": 1.0})
        times = [f"{s['wall_s'][name]:.3g}", f"{s['cpu_s'][name]:.3g}"]
        rows.append([name, *times, f"{ratio['median']:.0f}", f"{ratio['min']:.0f}"])
    return table(["flow", "wall s", "CPU s", "times zsgym (wall, median)", "lowest"], rows)


def spice_throughput() -> str:
    """Evaluations per second of a pool of workers, and its memory."""
    t = read("spice_speed")["throughput"]
    memory = t["memory_mib"]
    return (
        f"{t['workers']} workers sustain {t['per_second']:.1f} uniform NMCF evaluations per second, failures included "
        f"({t['minutes_for_12500']:.1f} minutes for 12,500 samples), with {memory['start']:.0f} MiB of memory at the "
        f"start and {memory['end']:.0f} MiB after {t['evaluations']:,} evaluations."
    )


def spice_accuracy() -> str:
    """Largest difference from the published flow, metric by metric."""
    accuracy = read("spice_speed")["accuracy"]
    rows = [
        [f"`{name}`", *(f"{m[flow]['max']:.1e}" if flow in m else "-" for flow in ("shipped", "converged"))]
        for name, m in accuracy["metrics"].items()
    ]
    return table([f"metric, {accuracy['sizings']} sizings", "as shipped", "converged"], rows)


def closed_loop() -> str:
    """What closing the loop really has changed: labels, and the metrics of the step response."""
    rows = []
    for circuit, found in read("closed_loop")["circuits"].items():
        moved = sum(found["moved"].values())
        cells = [circuit.upper(), f"{moved} of {found['sizings']}"]
        for name in ("slew_rate", "settling_time", "tc"):
            m = found["metrics"][name]
            cells.append(" / ".join(percent(m[which], 2) for which in ("median", "p90", "max")))
        rows.append(cells)
    spread = "median / 90 % / largest"
    header = ["circuit", "labels changed", f"`slew_rate`, {spread}", f"`settling_time`, {spread}", f"`tc`, {spread}"]
    return table(header, rows)
