"""Parameters of the SKY130 model library, evaluated to numbers when they are asked for.

The library writes model parameters as arithmetic over other parameters, with Monte Carlo terms of the form
`MC_MM_SWITCH*AGAUSS(0,1.0,1)*(...)`. In a nominal corner the switch is zero and every random draw stands at its mean of
zero, so that the device geometry, which only enters the Monte Carlo terms, plays no part in the value.
"""

import re
from collections.abc import Iterator, Mapping

from zsgym.base.errors import NetlistError, PdkError
from zsgym.netlist.expressions import Expression, parse_number

_RANDOM_DRAW = re.compile(r"a?gauss\([^()]*\)", re.IGNORECASE)
_GEOMETRY = {"l": 1.0, "w": 1.0, "mult": 1.0}


class ParameterScope(Mapping[str, float]):
    """Library parameters by lower-case name; only those that are needed are ever computed.

    :param definitions: name -> expression text.
    """

    def __init__(self, definitions: Mapping[str, str]) -> None:
        self._definitions = definitions
        self._values: dict[str, float] = dict(_GEOMETRY)
        self._pending: set[str] = set()

    def evaluate(self, text: str) -> float:
        """Value of an expression over these parameters (braces or quotes around it are dropped).

        :raises PdkError: unknown or circular parameter, or syntax outside plain arithmetic.
        """
        body = text.strip("{}'\" ")
        number = parse_number(body)
        if number is not None:
            return number
        try:
            return Expression.parse(_RANDOM_DRAW.sub("0", body)).evaluate(self)
        except NetlistError as error:
            raise PdkError(f"model library: {error}") from error

    def __getitem__(self, name: str) -> float:
        if name not in self._values:
            if name in self._pending:
                raise PdkError(f"model library: parameter {name!r} is defined through itself")
            self._pending.add(name)
            self._values[name] = self.evaluate(self._definitions[name])
            self._pending.discard(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._definitions)

    def __len__(self) -> int:
        return len(self._definitions)
