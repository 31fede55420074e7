"""Expressions of netlists, drawn by hypothesis."""

from hypothesis import strategies as st

from zsgym.netlist import Expression
from zsgym.netlist.expressions import FUNCTIONS, Call, Name, Negation, Node, Number, Operation

NAMES = ("a", "b_2", "w_gm3")
VALUES = {"a": 2.5, "b_2": 0.75, "w_gm3": 12.0}

numbers = st.floats(min_value=0, max_value=1e12, allow_nan=False, allow_infinity=False).map(
    lambda value: Number(float(f"{value:.6g}"))
)


def _compound(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    calls = st.sampled_from(sorted(FUNCTIONS)).flatmap(
        lambda name: st.tuples(*[inner] * FUNCTIONS[name][0]).map(lambda arguments: Call(name, arguments))
    )
    return st.one_of(
        inner.map(Negation),
        st.builds(Operation, st.sampled_from(["+", "-", "*", "/"]), inner, inner),
        st.builds(Operation, st.just("**"), inner, st.sampled_from([Number(2.0), Number(0.5), Negation(Number(1.0))])),
        calls,
    )


expressions = st.recursive(st.one_of(numbers, st.sampled_from(NAMES).map(Name)), _compound, max_leaves=12).map(
    Expression
)
