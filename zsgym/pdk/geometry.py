"""Which transistor sizes the SKY130 models cover: a closed-form check that needs no model file.

The model bins of each transistor tile one rectangle without gaps (a test compares the two), so that a size outside it
is known to fail before anything is simulated or predicted.
"""

SIZE_LIMITS = {"nmos": ((0.36, 100.0), (0.15, 100.0)), "pmos": ((0.42, 100.0), (0.15, 100.0))}
"""Device kind -> limits of width and of length, in micrometres, inclusive."""

SIZE_TOLERANCE = 1e-3
"""In micrometres: ngspice accepts a size that misses a bin limit by up to 1 nm."""

NARROWEST = {kind: low for kind, ((low, _), _) in SIZE_LIMITS.items()}
"""Device kind -> width below which there is no model, in micrometres: of a transistor, and of each of its fingers.

ngspice itself chooses a bin by the total width, and evaluates its card for a finger however narrow that is, with
nonsense as the result: a pMOS of 1 um in ten fingers carries 27 times the current of one finger."""
