"""Which transistor sizes the SKY130 models cover: a closed-form check that needs no model file.

The model bins of each transistor tile one rectangle without gaps (a test compares the two), so that a size outside it
is known to fail before anything is simulated or predicted.
"""

SIZE_LIMITS = {"nmos": ((0.36, 100.0), (0.15, 100.0)), "pmos": ((0.42, 100.0), (0.15, 100.0))}
"""Device kind -> limits of width and of length, in micrometres, inclusive."""

SIZE_TOLERANCE = 1e-3
"""In micrometres: ngspice accepts a size that misses a bin limit by up to 1 nm."""
