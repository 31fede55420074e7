"""Several transistors at a time: loops that the compiler turns into vector instructions.

Eight devices share a block of numbers: row after row of eight, first the fields of their records, then their node
voltages, then what a kernel makes of them. Everything lies in one array at distances that the compiler knows, so that
it sees that no result is read as an input of another lane. On a machine without vector instructions, or where the
compiler declines, the loops are ordinary ones with the same results to the last digit.
"""

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from zsgym.simulators.physics.compiling import compiled
from zsgym.simulators.physics.device import Device
from zsgym.simulators.physics.stamps import (
    NODES,
    Charges,
    Currents,
    Reduced,
    Voltages,
    currents,
    currents_and_charges,
    reduced,
)

LANES = 8
FIELDS = len(Device._fields)
VOLTAGE_ROW = FIELDS
RESULT_ROW = FIELDS + NODES
NEWTON_ROWS = RESULT_ROW + len(Reduced._fields)
"""Rows of a block for `newton_block`."""
SIGNAL_ROWS = RESULT_ROW + len(Currents._fields) + len(Charges._fields)
"""Rows of a block for `signal_block`."""
_CHARGE_ROW = RESULT_ROW + len(Currents._fields)


def _place(builder: Any, signature: Any, context: Any, arguments: Any, row: int) -> Any:
    """Address of the number `row` rows behind arguments[1] in the array arguments[0]."""
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.gep(data, [builder.add(arguments[1], arguments[1].type(LANES * row))])


def _loader(kind: Any) -> Any:
    """A function that reads a named tuple from every eighth number of an array."""
    fields = len(kind._fields)
    build: Any = cgutils.pack_array

    def load(context: Any, array: Any, first: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            places = [_place(builder, signature, context, arguments, row) for row in range(fields)]
            return build(builder, [builder.load(place) for place in places])

        result: Any = types.NamedUniTuple
        return result(types.float64, fields, kind)(array, first), generate

    return intrinsic(load)


_load_device = _loader(Device)
_load_voltages = _loader(Voltages)
load_reduced = _loader(Reduced)
load_currents = _loader(Currents)
load_charges = _loader(Charges)


def _write(context: Any, array: Any, first: Any, values: Any) -> Any:
    """Write a tuple of numbers to every eighth number of an array."""
    split: Any = cgutils.unpack_tuple

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        for row, value in enumerate(split(builder, arguments[2])):
            builder.store(value, _place(builder, signature, context, arguments, row))
        return context.get_dummy_value()

    return types.void(array, first, values), generate


_store: Any = intrinsic(_write)


def blocks_for(devices: int, rows: int) -> NDArray[np.float64]:
    """An array of blocks with room for so many devices."""
    return np.zeros(-(-devices // LANES) * rows * LANES)


@compiled
def newton_block(blocks: Any, block: int, gmin: float) -> None:
    """What Newton's method needs of the devices of a block (`Reduced`), from their voltages.

    :param blocks: flat array of blocks of `NEWTON_ROWS` rows.
    """
    first = block * (NEWTON_ROWS * LANES)
    for lane in range(LANES):
        at = first + lane
        p = _load_device(blocks, at)
        v = _load_voltages(blocks, at + VOLTAGE_ROW * LANES)
        _store(blocks, at + RESULT_ROW * LANES, reduced(currents(p, v, gmin)))


@compiled
def signal_block(blocks: Any, block: int, gmin: float) -> None:
    """Currents and charges of the devices of a block with their derivatives, from their voltages.

    :param blocks: flat array of blocks of `SIGNAL_ROWS` rows.
    """
    first = block * (SIGNAL_ROWS * LANES)
    for lane in range(LANES):
        at = first + lane
        p = _load_device(blocks, at)
        v = _load_voltages(blocks, at + VOLTAGE_ROW * LANES)
        flowing, stored = currents_and_charges(p, v, gmin)
        _store(blocks, at + RESULT_ROW * LANES, flowing)
        _store(blocks, at + _CHARGE_ROW * LANES, stored)
