"""The physics backend: circuits solved from the transistors' own equations, with nothing trained.

`card` reads a model card, `prepare` computes what does not depend on bias, `transistor` holds the equations,
`derivatives` (written by `derive`) the same with their partial derivatives, and `stamps` puts a device between the
nodes of a circuit.
"""
