"""Which circuit of a class: the comparison as a report shows it."""

COMPARISON_HINT = ""
