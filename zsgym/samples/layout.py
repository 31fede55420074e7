"""Layouts: which numbers a packed row holds, in which order, and in how many bytes each.

A number takes less than a float64 only where nothing is lost by it. The types, one letter each:

| letter | bytes | holds |
| --- | --- | --- |
| d | 8 | any float64 |
| f | 4 | a float64 that is a float32: the action of an agent |
| g | 4 | a float64 of six significant digits, as the nearest float32: an operating point as ngspice prints it |
| H | 2 | a float64 that is a count, from 1 to 65,535 |
| I, q | 4, 8 | an integer |
"""

from __future__ import annotations

import functools
import operator
import struct
import zlib
from array import array
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from zsgym.samples.schema import Sample

VERDICT = ("label", "failure", "terminated", "truncated")
"""Fields of which a run has a few combinations: a layout holds their values."""
COUNTERS = ("episode", "step", "index")
SCALARS = (*COUNTERS, "reward", "p_valid")
NUMBERS = ("sample_id", "time", "elapsed_s", *SCALARS, "sizing", "action", "metrics", "raw", "operating_points")
"""Fields that are packed, row by row."""

_HEAD = "<10sqd"  # sample_id, time in microseconds since 1970, elapsed_s
_LARGEST_COUNT = 2**16 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_verdict = operator.attrgetter(*VERDICT)
_scalars = operator.attrgetter(*SCALARS)


class DoesNotFitError(Exception):
    """A number would be changed by a layout. field: where; None when no layout can hold the row."""

    def __init__(self, field: str | None = None) -> None:
        super().__init__(field)
        self.field = field


def shape(row: Sample) -> tuple[Any, ...]:
    """What rows of one layout have in common, apart from the range of their numbers: verdict, and what is there."""
    episode, step, index, reward, p_valid = _scalars(row)
    action, points = row.action, row.operating_points
    return (
        _verdict(row),
        (episode is None, step is None, index is None, reward is None, p_valid is None),
        tuple(row.sizing),
        None if action is None else len(action),
        tuple(row.metrics) if row.label else None,  # those of a failed row are null
        tuple(row.raw),
        None if points is None else tuple([(device, *quantities) for device, quantities in points.items()]),
    )


class Layout:
    """How rows of one shape are packed.

    description: the layout as plain JSON values, from which it can be made again. `scalars` and `vectors` say in which
    order the numbers stand, and in which types; `sizing` is the order of the names, since counts are packed last.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        self.description = description
        vectors: list[tuple[str, str, Any]] = description["vectors"]
        scalars: Mapping[str, str] = description["scalars"]
        types = [kind * _count(field, names) for field, kind, names in vectors]
        self._struct = struct.Struct(_HEAD + "".join(scalars.values()) + "".join(types).replace("g", "f"))
        of = {(field, kind): names for field, kind, names in vectors}
        self._sizes, self._counts = _picker(of["sizing", "d"]), _picker(of["sizing", "H"])
        self._float32_actions = ("action", "f") in of
        self._six_digits = ("operating_points", "g") in of
        # Operating points are many, and those of matched transistors are the same.
        self._deflated = any(field == "operating_points" for field, *_ in vectors)

    @classmethod
    def of(cls, row: Sample) -> Layout:
        """The narrowest layout for a row and others of its shape."""
        points = row.operating_points
        counts = _counts(row)
        vectors: list[tuple[str, str, Any]] = [
            ("sizing", "d", [name for name in row.sizing if name not in counts]),
            ("sizing", "H", counts),
        ]
        if row.action is not None:
            vectors.append(("action", "f", len(row.action)))
        if row.label:
            vectors.append(("metrics", "d", list(row.metrics)))
        vectors.append(("raw", "d", list(row.raw)))
        if points is not None:
            vectors.append(("operating_points", "g", [(device, *names) for device, names in points.items()]))
        types = ["I" if name in COUNTERS else "d" for name in SCALARS]
        values = zip(SCALARS, types, _scalars(row), strict=True)
        return cls(
            {
                "verdict": dict(zip(VERDICT, _verdict(row), strict=True)),
                "scalars": {name: kind for name, kind, value in values if value is not None},
                "sizing": list(row.sizing),
                "vectors": vectors,
            }
        )

    def widened(self, field: str | None, row: Sample) -> Layout:
        """The next wider layout, for a row that does not fit into this one because of that field.

        :raises DoesNotFitError: there is none.
        """
        scalars, vectors = self.description["scalars"], self.description["vectors"]
        if field == "sizing":
            (_, _, old), now = vectors[1], _counts(row)
            counts = [name for name in old if name in now]
            sizes = [name for name in row.sizing if name not in counts]
            vectors = [("sizing", "d", sizes), ("sizing", "H", counts), *vectors[2:]]
        elif field == "scalars" and "I" in scalars.values():
            scalars = {name: kind.replace("I", "q") for name, kind in scalars.items()}
        elif field in ("action", "operating_points"):
            vectors = [(name, "d" if name == field else kind, names) for name, kind, names in vectors]
        else:
            raise DoesNotFitError
        return Layout({**self.description, "scalars": scalars, "vectors": vectors})

    def pack(self, row: Sample) -> bytes:
        """The numbers of a row of the layout's shape.

        :raises DoesNotFitError: one of them would be changed by it.
        """
        numbers: list[Any] = [*_identity_and_time(row), row.elapsed_s]
        numbers += [value for value in _scalars(row) if value is not None]
        numbers += self._sizes(row.sizing)
        counts = self._counts(row.sizing)
        integers = tuple(map(int, counts))
        if integers != counts or (integers and not 0 < min(integers) <= max(integers) <= _LARGEST_COUNT):
            raise DoesNotFitError("sizing")
        numbers += integers
        if row.action is not None:
            if self._float32_actions and array("f", row.action).tolist() != row.action:
                raise DoesNotFitError("action")
            numbers += row.action
        if row.label:
            numbers += row.metrics.values()
        numbers += row.raw.values()
        if row.operating_points is not None:
            points = [value for quantities in row.operating_points.values() for value in quantities.values()]
            if self._six_digits and _six_digits(array("f", points)) != points:
                raise DoesNotFitError("operating_points")
            numbers += points
        try:
            data = self._struct.pack(*numbers)
        except struct.error:
            raise DoesNotFitError("scalars") from None
        return zlib.compress(data, wbits=-15) if self._deflated else data

    def unpack(self, data: bytes) -> dict[str, Any]:
        """The packed fields and the verdict of a row, under the names of `Sample`; what is absent has its default."""
        if self._deflated:
            data = zlib.decompress(data, wbits=-15)
        identity, time, elapsed, *rest = self._struct.unpack(data)
        fields = {"sample_id": identity.hex(), "time": _time_text(time), "elapsed_s": elapsed}
        fields |= self.description["verdict"]
        numbers = iter(rest)
        fields |= zip(self.description["scalars"], numbers, strict=False)
        sizing: dict[str, float] = {}
        for field, kind, names in self.description["vectors"]:
            found = list(islice(numbers, _count(field, names)))
            if field == "sizing":
                sizing |= zip(names, map(float, found), strict=True)
            elif field == "action":
                fields[field] = found
            elif field == "operating_points":
                fields[field] = _points(names, _six_digits(found) if kind == "g" else found)
            else:
                fields[field] = dict(zip(names, found, strict=True))
        fields["sizing"] = {name: sizing[name] for name in self.description["sizing"]}
        return fields


def _count(field: str, names: Any) -> int:
    """How many numbers a vector has. names: of a mapping; (device, *quantities) of points; or a length (action)."""
    if field == "action":
        return int(names)
    return sum(len(point) - 1 for point in names) if field == "operating_points" else len(names)


def _counts(row: Sample) -> list[str]:
    return [name for name, value in row.sizing.items() if value.is_integer() and 0 < value <= _LARGEST_COUNT]


def _picker(names: Iterable[str]) -> Callable[[Mapping[str, float]], tuple[float, ...]]:
    """What takes these values out of a mapping, in order."""
    names = list(names)
    if len(names) > 1:
        return operator.itemgetter(*names)
    return lambda mapping: tuple([mapping[name] for name in names])


def _six_digits(numbers: Iterable[float]) -> list[float]:
    """Decimals of six digits, from the float32 values that are nearest to them."""
    return [float(f"{number:.6g}") for number in numbers]


def _points(names: Iterable[tuple[str, ...]], numbers: Iterable[float]) -> dict[str, dict[str, float]]:
    given = iter(numbers)
    return {device: dict(zip(quantities, given, strict=False)) for device, *quantities in names}


def _identity_and_time(row: Sample) -> tuple[bytes, int]:
    """The two fields that are packed as numbers although they are text.

    :raises DoesNotFitError: they are not of the usual form: 20 hexadecimal digits, and UTC in microseconds.
    """
    identity, time = row.sample_id, row.time
    second, fraction = time[:19], time[20:26]
    if len(time) != 32 or time[19] != "." or time[26:] != "+00:00" or not (fraction.isascii() and fraction.isdigit()):
        raise DoesNotFitError
    try:
        packed = bytes.fromhex(identity)
    except ValueError:
        raise DoesNotFitError from None
    if len(packed) != 10 or packed.hex() != identity:
        raise DoesNotFitError
    return packed, _microseconds(second) + int(fraction)


@functools.lru_cache(maxsize=64)
def _microseconds(second: str) -> int:
    """Microseconds since 1970 of a second in UTC (`2026-11-25T13:42:08`)."""
    try:
        time = (datetime.fromisoformat(second).replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
    except ValueError:
        raise DoesNotFitError from None
    if _time_text(time)[:19] != second:
        raise DoesNotFitError
    return time


def _time_text(microseconds: int) -> str:
    return (_EPOCH + microseconds * _MICROSECOND).isoformat(timespec="microseconds")
