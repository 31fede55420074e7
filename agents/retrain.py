"""The retraining loop in a page: search on the surrogate, label in ngspice, learn, and keep what is better.

    python agents/retrain.py --env zsgym/NMCF-v0 --rounds 3 --run runs/loop

An agent that searches on a surrogate finds the sizings about which it is most mistaken to the agent's advantage. So the
searches show what a checkpoint is worth (what share of their designs does ngspice confirm?), and give what it has to
learn. `zsgym retrain --search` is this loop with a model card and a state from which any interrupt continues, and
`zsgym retrain --log DIR` takes what other agents have found instead.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from agents.command import chosen_problem, option, parse
from surrogate.checkpoint import Checkpoint, shipped
from surrogate.retrain.choose import choose
from surrogate.retrain.gate import compare
from surrogate.retrain.label import findings, label
from surrogate.retrain.learn import fine_tune
from surrogate.retrain.log import Log
from surrogate.retrain.loop import Settings
from surrogate.retrain.rows import Base, mixed_corpus
from surrogate.retrain.search import search
from surrogate.simulator import SurrogateSimulator
from zsgym.base.problems import read_model
from zsgym.base.scripts import ending_in_one_line
from zsgym.simulators import make_simulator


@dataclass(frozen=True)
class Arguments:
    """What the loop is asked for."""

    env: str = option("zsgym/NMCF-v0", "id of a registered environment: its circuit and targets")
    specs: str = option("", "name or file of a problem (see configs/problems); default: the circuit's own specs")
    rounds: int = option(3, "rounds")
    per_round: int = option(200, "sizings that ngspice labels in a round")
    base: str = option("", "data sets that are learnt again in every round, separated by spaces")
    checkpoint: str = option("", "where to start; default: the surrogate that comes with the package")
    run: str = option("runs/loop", "folder of labels and checkpoints")
    workers: int = option(1, "parallel ngspice processes")
    seed: int = option(1, "seed of every random draw")


def retrain(arguments: Arguments) -> None:
    """Run every round; what is labelled already is not labelled again."""
    circuit, _, title = chosen_problem(arguments)
    settings = read_model(Settings.shipped(), Settings)
    folder = Path(arguments.run)
    base = Base.read([Path(path) for path in arguments.base.split()])
    current = Path(arguments.checkpoint or shipped())
    policy = Checkpoint.load(current).policy
    log = Log.read(folder / "labels", circuit, policy)
    print(f"{title}: retraining in {folder}")
    with closing(make_simulator("ngspice", circuit, workers=arguments.workers, policy=policy)) as ngspice:
        for number in range(1, arguments.rounds + 1):
            rng = np.random.default_rng([arguments.seed, number])
            before = Checkpoint.load(current)

            # 1. An agent searches on the surrogate: 120 CMA-ES runs, each for targets of its own.
            surrogate = SurrogateSimulator(circuit, checkpoint=current, policy=policy)
            found = search(surrogate, settings.search, rng)

            # 2. The most promising designs, the least certain sizings, and random ones as a control ...
            chosen = choose(found, surrogate, arguments.per_round, settings.choose, rng)

            # 3. ... are labelled by ngspice. What share of the promises does it confirm?
            labels = label(
                log, chosen, ngspice, strategy=f"loop-{number}", seed=arguments.seed, workers=arguments.workers
            )
            claims = findings(circuit, chosen, labels, before.normaliser)["claims"]
            print(f"round {number}: ngspice confirms {claims['confirmed']} of {claims['designs']} promised designs")

            # 4. The surrogate is fine-tuned on all labels, but for the test rows, among the rows of the base data sets.
            new = log.rows(base.rows.get(circuit.name))
            if new is None:
                continue
            corpus = mixed_corpus(base, new, before.normaliser, policy, settings.learn, rng)
            with tempfile.TemporaryDirectory() as curves:
                learn, calibrate = settings.learn, settings.calibrate
                candidate = fine_tune(corpus, new, before, Path(curves), learn, calibrate, arguments.seed)

            # 5. It is kept if it is better beyond chance on the test rows, and has forgotten nothing of the base rows.
            verdict = compare(before, candidate, base.rows, new, settings.gate)
            if not verdict.refused:
                current = folder / f"round-{number}.safetensors"
                candidate.save(current)
            print(f"  {'; '.join(verdict.refused) or f'better (p = {verdict.p:.2g}): {current}'}")
    print(f'use it: gym.make("{arguments.env}", backend="surrogate", backend_options={{"checkpoint": "{current}"}})')


def main() -> None:
    """Command line."""
    torch.set_num_threads(1)
    with ending_in_one_line("interrupted: no label is lost, and the same command begins with them"):
        retrain(parse(Arguments, __doc__))


if __name__ == "__main__":
    main()
