"""`zsgym dataset`: generate labelled samples, look at them, export, compact, merge and relabel them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsgym.base.errors import ConfigError, SampleLogError
from zsgym.base.quantities import counted, quantity
from zsgym.base.tables import table
from zsgym.cli.circuits import add_circuit, add_circuit_directory
from zsgym.cli.output import print_json
from zsgym.cli.simulate import add_conditions, add_workers, conditions_from, positive
from zsgym.cli.targets import add_metrics, asked_for

if TYPE_CHECKING:
    from zsgym.circuits import Circuit
    from zsgym.datasets.generate import Counts
    from zsgym.simulators.base import Simulator

_BATCH_PER_WORKER = 32
"""Sizings per call of the simulator and worker: about three seconds, which is what Ctrl-C can lose."""

_EXAMPLES = """examples:
  zsgym dataset generate nmcf -n 12500 --workers 2 --out data/nmcf
  zsgym dataset info data/nmcf
  zsgym dataset export data/nmcf --format zerosim-json --out nmcf.json
  zsgym dataset COMMAND --help                              options and examples of one command
"""


def add_parser(commands: Any) -> None:
    """Add the command group to the main parser."""
    group = commands.add_parser(
        "dataset", help="generate, inspect, export, merge and relabel labelled samples", epilog=_EXAMPLES
    )
    actions = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_generate, _add_info, _add_export, _add_compact, _add_merge, _add_relabel):
        add(actions)


_GENERATE = """Draw sizings, simulate them and keep every label, working or not.

Sample i depends on circuit, strategy, seed and i alone: the rows are the same for any number of workers. Ctrl-C stops;
the same command continues. A larger -n extends what is there.

strategies:
  uniform    uniform within the published bounds
  log        log-uniform within the ranges where the circuit can work
  targeted   learns from its own labels: more samples where the circuit works, and along the border of that region
"""


def _add_generate(actions: Any) -> None:
    parser = actions.add_parser(
        "generate",
        help="simulate many sizings of a circuit",
        description=_GENERATE,
        epilog="example:\n  zsgym dataset generate nmcf -n 12500 --workers 2 --seed 1 --out data/nmcf",
    )
    add_circuit(parser)
    parser.add_argument("-n", "--count", required=True, type=positive, metavar="N", help="number of samples")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the strategy (default: 0)")
    parser.add_argument("--strategy", default="uniform", metavar="NAME", help="uniform (default), log or targeted")
    parser.add_argument("--policy", default="functional", metavar="NAME", help="verdict policy (default: functional)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where it goes (default: data/CIRCUIT-STRATEGY-SEED)")
    add_metrics(parser)
    add_workers(parser)
    add_conditions(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--json", action="store_true", help="print the final counts as JSON")
    parser.set_defaults(run=_generate)


def _generate(options: argparse.Namespace) -> int:
    from zsgym.circuits import load_circuit
    from zsgym.datasets.generate import Plan, generate
    from zsgym.simulators import make_simulator

    circuit = asked_for(options, load_circuit(options.circuit, options.circuits_dir))
    plan = Plan(
        circuit, options.count, options.seed, options.strategy, conditions_from(options, circuit), options.policy
    )
    out = options.out or Path("data") / f"{circuit.name}-{plan.strategy}-{plan.seed}"
    simulator = make_simulator("ngspice", circuit, workers=options.workers, policy=options.policy)
    batch_size = _BATCH_PER_WORKER * options.workers
    try:
        counts = generate(plan, out, simulator, batch_size=batch_size, progress=not options.quiet)
    except KeyboardInterrupt:
        print(f"zsgym: interrupted; the rows in {out} are safe: repeat the command to go on", file=sys.stderr)
        return 130
    finally:
        simulator.close()
    if options.json:
        print_json({"path": str(out), **counts.as_dict()})
    else:
        print(f"{out}: {_describe(counts)}")
    return _open_rows(counts)


def _describe(counts: Counts) -> str:
    reasons = ", ".join(f"{reason} {number}" for reason, number in counts.failures.most_common())
    share = counts.working / max(counts.rows, 1)
    text = f"{counted(counts.rows, 'row')}, {counts.working} {_work(counts.working)} ({share:.1%})"
    return text + (f"; failures: {reasons}" if reasons else "")


def _work(number: int) -> str:
    return "works" if number == 1 else "work"


def _open_rows(counts: Counts) -> int:
    """Exit code, and a word about sizings that nobody could answer."""
    if not counts.open:
        return 0
    print(
        f"zsgym: {counted(len(counts.open), 'sizing')} could not be simulated (see errors/): "
        "repeat the command to try again",
        file=sys.stderr,
    )
    return 3


_INFO = """Say what a data set holds: rows, label balance, reasons of failures, quantiles of the metrics of working
sizings, and whatever is wrong with it (unreadable lines, repeated sizings, infrastructure errors)."""


def _add_info(actions: Any) -> None:
    parser = actions.add_parser(
        "info",
        help="counts, label balance, failure reasons and metric quantiles",
        description=_INFO,
        epilog="examples:\n  zsgym dataset info data/nmcf\n  zsgym dataset info nmcf.parquet --json",
    )
    parser.add_argument(
        "directory", type=Path, metavar="DIR", help="a data set, a sample log, or a Parquet file of rows"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, in SI units")
    parser.set_defaults(run=_info)


def _info(options: argparse.Namespace) -> int:
    from zsgym.samples.dataset import info

    summary = info(options.directory)
    if options.json:
        print_json(summary)
        return 0
    waits = "waits" if summary["relabel_queue"] == 1 else "wait"
    print(
        f"{summary['path']}: {counted(summary['rows'], 'row')}: {summary['labelled']} simulated, "
        f"{summary['predicted']} answered by a surrogate ({summary['relabel_queue']} {waits} for simulation)"
    )
    print(f"backends: {_counts(summary['backends'])}; verdict policies: {_counts(summary['policies'])}")
    print(f"repeated sizings: {summary['duplicates']}; infrastructure errors: {summary['infrastructure_errors']}")
    print(f"unreadable lines: {len(summary['unreadable'])}")
    for name, circuit in summary["circuits"].items():
        working = f"{circuit['working']} {_work(circuit['working'])} ({circuit['working_share']:.1%})"
        print(f"\n{name}: {counted(circuit['rows'], 'row')}, {working}")
        rows = [
            [reason, str(number), f"{number / circuit['rows']:.1%}"] for reason, number in circuit["failures"].items()
        ]
        if rows:
            print("\n" + table(["failure", "rows", "share"], rows, right=(1, 2)))
        rows = [
            [metric, *(quantity(numbers[key], numbers["unit"]) for key in ("q05", "q50", "q95"))]
            for metric, numbers in circuit["metrics"].items()
        ]
        if rows:
            print("\n" + table(["metric (working)", "5 %", "50 %", "95 %"], rows, right=(1, 2, 3)))
    return 0


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items()) or "none"


_EXPORT = """Write the simulated rows, or the episodes that they make, in another format.

formats:
  parquet       one table, one column per number
  zerosim-json  the published sample format of one circuit, with the sentinel 1e9 in failed samples; its parameters
                stand under the numbers of pins, which a second file beside it explains (nmcf.json: nmcf.nodes.json)
  minari        complete episodes of one circuit and one configuration of its environment, for offline reinforcement
                learning; --out is Minari's folder of data sets, --id the name of this one there (needs the extra:
                pip install "zsgym[export]")
"""
_EXPORT_EXAMPLES = """examples:
  zsgym dataset export data/nmcf --format zerosim-json --out nmcf.json
  zsgym dataset export samples --format minari --circuit nmcf --out episodes --id zsgym/nmcf-random-v0
  MINARI_DATASETS_PATH=episodes minari show zsgym/nmcf-random-v0
"""


def _add_export(actions: Any) -> None:
    parser = actions.add_parser(
        "export",
        help="write the simulated rows in another format",
        description=_EXPORT,
        epilog=_EXPORT_EXAMPLES,
    )
    parser.add_argument(
        "directory", type=Path, metavar="DIR", help="a data set, a sample log, or a Parquet file of rows"
    )
    parser.add_argument("--format", required=True, choices=("zerosim-json", "parquet", "minari"), help="see above")
    parser.add_argument("--out", required=True, type=Path, metavar="PATH", help="the file (minari: folder) to write")
    parser.add_argument("--circuit", metavar="NAME", help="only rows of this circuit (default: the only one there is)")
    parser.add_argument("--id", metavar="ID", help="minari: name of the data set (default: zsgym/CIRCUIT-v0)")
    parser.add_argument(
        "--include-predicted", action="store_true", help="minari: also episodes that a surrogate has answered"
    )
    parser.add_argument(
        "--configuration",
        type=int,
        metavar="N",
        help="minari: which environment's episodes, if the log holds several that were configured differently",
    )
    add_circuit_directory(parser)
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    from zsgym.circuits import load_circuit
    from zsgym.samples.export import export_zerosim, nodes_file
    from zsgym.samples.parquet import write_part
    from zsgym.samples.reader import read_table, training_rows

    for_minari = options.id is not None or options.include_predicted or options.configuration is not None
    if options.format != "minari" and for_minari:
        raise ConfigError("--id, --include-predicted and --configuration are for --format minari")
    if options.format == "parquet":
        table_ = read_table(options.directory)
        if options.circuit is not None:
            table_ = table_.filter([name == options.circuit for name in table_["circuit"].to_pylist()])
        write_part(table_, options.out)
        print(f"{options.out}: {counted(table_.num_rows, 'sample')}")
        return 0
    name = options.circuit or _only_circuit(options.directory, options.include_predicted)
    circuit = load_circuit(name, options.circuits_dir)
    if options.format == "minari":
        return _export_episodes(options, circuit)
    rows = (row for row in training_rows(options.directory) if row.circuit == circuit.name)
    count = export_zerosim(rows, circuit, options.out)
    print(f"{options.out}: {counted(count, 'sample')}")
    print(f"{nodes_file(options.out)}: the device and pin behind each number under parameters")
    return 0


def _export_episodes(options: argparse.Namespace, circuit: Circuit) -> int:
    from zsgym.envs.offline import export_minari

    name = options.id or f"zsgym/{circuit.name}-v0"
    report = export_minari(
        options.directory,
        circuit,
        options.out,
        name,
        include_predicted=options.include_predicted,
        configuration=options.configuration,
    )
    print(f"{options.out / name}: {counted(report.episodes, 'episode')}, {counted(report.transitions, 'transition')}")
    for reason, number in report.left_out.items():
        print(f"zsgym: left out {counted(number, 'episode')}: {reason}", file=sys.stderr)
    return 0


def _only_circuit(directory: Path, include_predicted: bool) -> str:
    from zsgym.samples.reader import read_table

    names = sorted(set(read_table(directory, include_predicted=include_predicted)["circuit"].to_pylist()))
    if not names:
        raise SampleLogError(f"{directory} holds no simulated row")
    if len(names) > 1:
        raise ConfigError(f"{directory} holds several circuits ({', '.join(names)}): choose one with --circuit")
    return str(names[0])


_COMPACT = """Gather the finished segments of a sample log in one Parquet file and remove them.
Others may go on writing."""


def _add_compact(actions: Any) -> None:
    parser = actions.add_parser(
        "compact",
        help="gather the segments of a log in one Parquet file, and remove them",
        description=_COMPACT,
        epilog="example:\n  zsgym dataset compact ~/.local/share/zsgym/samples",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="a sample log; others may go on writing to it")
    parser.set_defaults(run=_compact)


def _compact(options: argparse.Namespace) -> int:
    from zsgym.samples.parquet import compact

    part = compact(options.directory)
    print(f"{options.directory}: nothing to gather" if part is None else part)
    return 0


_MERGE = """Make one data set of several, each sizing once. A sizing that was labelled both ways keeps its first label,
is named, and makes the exit code 1."""


def _add_merge(actions: Any) -> None:
    parser = actions.add_parser(
        "merge",
        help="make one data set of several, each sizing once",
        description=_MERGE,
        epilog="example:\n  zsgym dataset merge data/nmcf-uniform data/nmcf-targeted --out data/nmcf",
    )
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="what to merge")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new directory")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.set_defaults(run=_merge)


def _merge(options: argparse.Namespace) -> int:
    from zsgym.samples.dataset import merge

    report = merge(options.directories, options.out)
    if options.json:
        counts = {"rows": report.rows, "duplicates": report.duplicates, "conflicts": list(report.conflicts)}
        print_json({"path": str(options.out), **counts})
    else:
        print(f"{options.out}: {counted(report.rows, 'row')}; left out {counted(report.duplicates, 'repetition')}")
    if not report.conflicts:
        return 0
    were = "was" if len(report.conflicts) == 1 else "were"
    print(
        f"zsgym: {counted(len(report.conflicts), 'sizing')} {were} labelled both ways (the first label was kept): "
        + ", ".join(list(report.conflicts)[:10]),
        file=sys.stderr,
    )
    return 1


_RELABEL = """Give rows new labels.

Without --policy: simulate the rows of DIR that only a surrogate has answered, and append the answers to DIR.
With --policy and --out: judge every simulated row by another verdict policy, from its raw measurements, without
simulating; the result is a new data set.
"""
_RELABEL_EXAMPLES = """examples:
  zsgym dataset relabel samples --limit 200 --workers 2
  zsgym dataset relabel data/nmcf --policy measured --out data/nmcf-measured --json
"""


def _add_relabel(actions: Any) -> None:
    parser = actions.add_parser(
        "relabel",
        help="judge rows anew, or simulate what a surrogate has answered",
        description=_RELABEL,
        epilog=_RELABEL_EXAMPLES,
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="a data set or a sample log")
    parser.add_argument("--policy", metavar="NAME", help="verdict policy: functional, measured or one of the circuit's")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new directory (with --policy)")
    parser.add_argument("--limit", type=positive, metavar="N", help="simulate at most N rows, the oldest first")
    add_workers(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.set_defaults(run=_relabel)


def _relabel(options: argparse.Namespace) -> int:
    from zsgym.datasets.relabel import answer_queue, judge_anew
    from zsgym.simulators import make_simulator

    if (options.policy is None) != (options.out is None):
        raise ConfigError("--policy and --out go together: the rows under the new policy become a new data set")
    if options.policy is not None:
        if options.limit is not None:
            raise ConfigError("--limit is for simulating; judging by another policy simulates nothing")
        changes = judge_anew(options.directory, options.policy, options.out)
        if options.json:
            print_json({"path": str(options.out), "changes": dict(changes)})
        else:
            print(f"{options.out}: " + ", ".join(f"{number} {change}" for change, number in changes.items()))
        return 0

    def simulator_for(circuit: Circuit, policy: str) -> Simulator:
        return make_simulator("ngspice", circuit, workers=options.workers, policy=policy)

    counts = answer_queue(
        options.directory,
        simulator_for,
        limit=options.limit,
        batch_size=_BATCH_PER_WORKER * options.workers,
        progress=not options.quiet,
    )
    if options.json:
        print_json({"path": str(options.directory), **counts.as_dict()})
    else:
        print(f"{options.directory}: simulated {_describe(counts)}")
    return _open_rows(counts)
