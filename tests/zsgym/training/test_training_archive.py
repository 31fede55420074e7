"""The archive keeps the best sizings, judged by the targets that count."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.surrogate.synthetic import nmcf
from zsgym.training.archive import CAPACITY, Archive


def test_the_archive_keeps_the_best() -> None:
    archive = Archive(nmcf(), {"gbw": 1e6, "power": 1e-4, "vos": 1e-4})
    size = len(nmcf().parameters)
    rng = np.random.default_rng(0)
    offered = rng.uniform(-1, 1, (3 * CAPACITY, size))
    margins = rng.uniform(-0.5, 0.2, (3 * CAPACITY, 3))
    for part in np.array_split(np.arange(3 * CAPACITY), 7):
        archive.add(offered[part], margins[part])
    reward = np.minimum(margins, 0.0).sum(axis=1)
    merit = np.where(reward < 0.0, reward, margins.min(axis=1))
    np.testing.assert_array_equal(archive.merit, np.sort(merit)[::-1][:CAPACITY])
    np.testing.assert_array_equal(archive.points[0], offered[merit.argmax()])
    assert archive.feasible == min((merit >= 0).sum(), CAPACITY)
    archive.add(archive.points[:5], margins[:5] * 0.0)  # the same designs again
    assert len(np.unique(archive.points, axis=0)) == len(archive.points)


def info(works: bool, **changes: float) -> dict[str, Any]:
    metrics = dict.fromkeys(nmcf().metrics.names, 1.0) | changes
    sizing = nmcf().known_good["robust"] | {"bias_current": metrics["gbw"] * 1e-6}
    return {"sim_success": works, "metrics": metrics, "sizing": sizing}


def test_working_sizings_are_offered_with_their_margins() -> None:
    targets = {"gbw": 2.0, "power": 1.0}
    archive = Archive(nmcf(), targets)
    margins = archive.offer([info(True, gbw=1.0), info(False), info(True, gbw=4.0)])
    expected = [nmcf().metrics.margins(info(True, gbw=gbw)["metrics"], targets) for gbw in (1.0, 4.0)]
    assert archive.specs == ["power", "gbw"]  # in the order of the metrics
    assert margins.tolist() == [[found["power"], found["gbw"]] for found in expected]
    assert archive.feasible == 1
    best = nmcf().vector(info(True, gbw=4.0)["sizing"])
    np.testing.assert_allclose(archive.points[0], nmcf().to_point(best))
    assert archive.offer([info(False)]).shape == (0, 2)
