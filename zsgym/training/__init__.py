"""What the training of a policy needs beside the algorithm to end in designs that ngspice confirms.

    archive.py      the best sizings that a policy passes     verification.py  which of them ngspice is asked for
    rehearsal.py    episodes for the sake of their designs    callbacks.py     curves, verification, progress
    checkpoints.py  stop at any time, resume to the bit       runs.py          the folder of a run
    figures.py      a design as both simulators see it

For Stable-Baselines3; `agents/ppo.py` shows how it is used.
"""

from zsgym.training.archive import Archive
from zsgym.training.callbacks import Curves, Progress, StopTraining, Verification
from zsgym.training.checkpoints import Checkpoints, newest_checkpoint, stoppable
from zsgym.training.rehearsal import Rehearsal, half_exploring, play
from zsgym.training.runs import begin_run, open_run, stored_arguments
from zsgym.training.verification import Verified, Verifier, require_ngspice, write_results

__all__ = [
    "Archive",
    "Checkpoints",
    "Curves",
    "Progress",
    "Rehearsal",
    "StopTraining",
    "Verification",
    "Verified",
    "Verifier",
    "begin_run",
    "half_exploring",
    "newest_checkpoint",
    "open_run",
    "play",
    "require_ngspice",
    "stoppable",
    "stored_arguments",
    "write_results",
]
