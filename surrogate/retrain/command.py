"""`zsgym retrain`: labels for what an agent has found on the surrogate, and a better surrogate from them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsgym.base.errors import ConfigError
from zsgym.base.scripts import INTERRUPTED
from zsgym.cli.circuits import add_circuit_directory
from zsgym.cli.simulate import add_checkpoint, add_workers, positive

if TYPE_CHECKING:
    from zsgym.circuits import Circuit

_DESCRIPTION = """Make the surrogate better where an agent has used it.

Of the sizings that the surrogate has answered in a sample log, ngspice labels a part: the most promising ones, the
least certain ones, and random ones as a control. The surrogate is fine-tuned on the labels, among the rows of the base
data sets, and recalibrated. The new checkpoint is kept only if it is better, beyond chance, on rows that nothing was
trained on; else the one before stays in force, and the reason is given. The labels are appended to the log.

Without base data sets (--base) nothing is replayed: what the checkpoint knew of other circuits is lost, and what it
knew of this one is guarded by the log's own test rows alone. `zsgym dataset generate` makes base data sets.
"""
_EPILOG = """examples:
  zsgym retrain --log samples --out better.safetensors
  zsgym retrain nmcf --base data/nmcf-uniform data/nmcf-targeted --rounds 3 --per-round 200 --run runs/retrain-nmcf
  zsgym retrain nmcf --search --rounds 5 --run runs/searched

Ctrl-C, a full disk or a simulator that fails lose no label: the same command continues.
"""


def add_parser(commands: Any) -> None:
    """Add the command to the main parser."""
    parser = commands.add_parser(
        "retrain",
        help="label what agents found on the surrogate, and retrain it",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "circuit", nargs="?", metavar="CIRCUIT", help="a circuit's name or YAML file (default: the log's only one)"
    )
    add_circuit_directory(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--log", type=Path, metavar="DIR", help="sample log of an environment (default: where they log by default)"
    )
    source.add_argument(
        "--search", action="store_true", help="use no log: search on the surrogate for many targets, and label that"
    )
    parser.add_argument(
        "--run", type=Path, dest="folder", metavar="DIR", help="folder of the run (default: runs/retrain-CIRCUIT)"
    )
    parser.add_argument("--rounds", type=positive, default=1, metavar="N", help="rounds (default: 1)")
    parser.add_argument("--per-round", type=int, default=200, metavar="K", help="labels in a round (default: 200)")
    parser.add_argument("--base", type=Path, nargs="+", default=[], metavar="DATA", help="base data sets to replay")
    add_checkpoint(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="where a better checkpoint goes, too")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: configs/surrogate/retrain.yaml)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="seed of every random draw (default: 1)")
    add_workers(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    import torch

    from surrogate.retrain.loop import Arguments, Loop
    from zsgym.base.files import check_writable, copy_file
    from zsgym.base.paths import log_dir
    from zsgym.datasets.generate import only_run_in

    torch.set_num_threads(1)
    log = None if options.search else options.log or log_dir()
    circuit = _circuit(options, log)
    folder = options.folder or Path("runs") / f"retrain-{circuit.name}"
    if options.out is not None:
        check_writable(options.out)
    arguments = Arguments(
        circuit=circuit,
        run=folder,
        log=log,
        rounds=options.rounds,
        per_round=options.per_round,
        base=options.base,
        checkpoint=options.checkpoint,
        config=options.config,
        workers=options.workers,
        seed=options.seed,
    )
    with only_run_in(folder):
        loop = Loop(arguments)
        try:
            state = loop.run()
        except KeyboardInterrupt:
            print("zsgym: interrupted; no label is lost: repeat the command to go on", file=sys.stderr)
            return INTERRUPTED
        finally:
            loop.simulator.close()
    promoted = [r["round"] for r in state["rounds"] if r["promoted"]]
    print(f"model card: {folder / 'MODEL_CARD.md'}")
    if not promoted:
        print("no candidate was better beyond chance: the checkpoint stays as it is")
        return 0
    place = folder / "surrogate.safetensors"
    if options.out is not None:
        copy_file(place, options.out)
        place = options.out
    print(f"better checkpoint, of round {promoted[-1]}: {place}")
    print(_how_to_use(circuit, place))
    return 0


def _circuit(options: argparse.Namespace, log: Path | None) -> Circuit:
    """The circuit that was named, or the only one of which the log holds predictions.

    :raises ConfigError: none was named, and the log does not decide. :raises SampleLogError: there is no log.
    """
    from surrogate.retrain.log import waiting_circuits
    from zsgym.circuits import load_circuit

    if options.circuit is not None:
        return load_circuit(options.circuit, options.circuits_dir)
    if log is None:
        raise ConfigError("--search needs the name of a CIRCUIT")
    waiting = waiting_circuits(log)
    if len(waiting) != 1:
        found = ", ".join(f"{name} ({count} rows)" for name, count in waiting.most_common()) or "none"
        raise ConfigError(f"name a CIRCUIT: {log} holds predictions of {found}")
    return load_circuit(next(iter(waiting)), options.circuits_dir)


def _how_to_use(circuit: Circuit, checkpoint: Path) -> str:
    import gymnasium as gym

    import zsgym  # noqa: F401  (registers the environments)
    from zsgym.envs.registration import env_id

    name = env_id(circuit.name)
    lines = [f"  zsgym simulate {circuit.name} --sizing sizing.json --backend surrogate --checkpoint {checkpoint}"]
    if name in gym.registry:
        options = f'backend_options={{"checkpoint": "{checkpoint}"}}'
        lines.insert(0, f'  gym.make("{name}", backend="surrogate", {options})')
    return "\n".join(lines)
