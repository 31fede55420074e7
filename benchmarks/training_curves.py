"""What training a surrogate takes: rows, epochs, minutes, and how its scores grow.

Reads the TensorBoard events and the checkpoint that `python -m surrogate.train` leaves in its run folders.

    python benchmarks/training_curves.py runs/fast runs/zerosim runs/fast-small runs/fast-paper-loss

Minutes are those of the epochs, validation included, on one thread of the machine that trained; two runs side by side
slow each other down. The figure shows the validation scores over the minutes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, format_table, new_figure, provenance, save_figure, write_json
from curves import read_curves

from surrogate.checkpoint import Checkpoint
from zsgym.base.errors import ConfigError
from zsgym.base.scripts import ending_in_one_line
from zsgym.classes.amplifier import METRICS

_SPEED = "rows_per_s"
_AUROC = "validation/auroc"
_R2 = [f"r2/{name}" for name in METRICS.names]


def read_run(folder: Path) -> dict[str, Any]:
    """What a finished run took, epoch by epoch.

    :raises ConfigError: the folder holds no finished run.
    """
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise ConfigError(f"{folder} holds {len(found)} checkpoints instead of one: is it a finished run?")
    checkpoint = Checkpoint.load(found[0])
    curves = read_curves(folder, [_SPEED, _AUROC, *_R2])
    missing = [name for name in (_SPEED, _AUROC, *_R2) if name not in curves]
    if missing:
        raise ConfigError(f"the TensorBoard events of {folder} hold no {', '.join(missing)}")
    facts = checkpoint.provenance
    rows = sum(sides["train"] for sides in facts["rows"].values())
    epochs, speed = curves[_SPEED]
    return {
        "name": folder.name,
        "checkpoint": checkpoint.sha256,
        "provenance": {key: facts[key] for key in ("command", "git_revision", "data_hash")},
        "parameters": sum(p.numel() for p in checkpoint.model.parameters()),
        "rows": rows,
        "epochs": epochs,
        "rows_per_s": speed,
        "minutes": np.cumsum(rows / speed) / 60.0,
        "auroc": curves[_AUROC][1],
        "median_r2": np.median([curves[name][1] for name in _R2], axis=0),
        "lowest_r2": np.min([curves[name][1] for name in _R2], axis=0),
    }


def draw(runs: Sequence[dict[str, Any]], path: Path) -> Path:
    """Validation scores over the minutes of training."""
    figure, axes = new_figure(1, 2, 9.0, 3.4)
    for run in runs:
        axes[0, 0].plot(run["minutes"], 1.0 - run["auroc"], "o-", markersize=2.5, label=run["name"])
        axes[0, 1].plot(run["minutes"], 1.0 - run["median_r2"], "o-", markersize=2.5)
    for axis, title in zip(axes.flat, ("1 - AUROC of validity", "1 - median R² of the metrics"), strict=True):
        axis.set(title=f"{title} (validation rows)", xlabel="minutes on one core", xscale="log", yscale="log")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(runs))
    return save_figure(figure, path)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of surrogate.train")
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "training_curves.json", help="JSON; the figure goes beside"
    )
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    with ending_in_one_line():
        runs = [read_run(folder) for folder in arguments.runs]
    header = ["run", "rows", "epochs", "rows/s, median", "minutes", "AUROC", "median R2", "lowest R2"]
    table = [
        [run["name"], run["rows"], len(run["epochs"]), float(np.median(run["rows_per_s"])), float(run["minutes"][-1])]
        + [float(run[score][-1]) for score in ("auroc", "median_r2", "lowest_r2")]
        for run in runs
    ]
    print(format_table("Training, with the scores of the last epoch on validation rows", header, table))
    write_json(arguments.out, {"runs": runs, "provenance": provenance("torch")})
    print(f"written: {arguments.out}, {draw(runs, arguments.out.with_suffix('.png'))}")


if __name__ == "__main__":
    main()
