"""Every error that zsgym raises on purpose.

Two families matter to a caller. A `ConfigError` is a mistake in what was asked for (a circuit file, a sizing, an
argument) and is also a `ValueError`. A `SimulatorError` is a failure of the *infrastructure* (ngspice missing, killed,
out of disk); it says nothing about the circuit and must never become a label.
"""


class ZsgymError(Exception):
    """Base of all deliberate errors."""


class ConfigError(ZsgymError, ValueError):
    """A circuit file, sizing, target or argument is invalid; the message names the file, the key and valid choices."""


class NotCoveredError(ConfigError):
    """A learnt model does not know what it is asked about: another class of circuits, or other conditions."""


class NetlistError(ConfigError):
    """A netlist leaves the SPICE subset that zsgym reads; the message names file and line."""


class PdkError(ZsgymError, RuntimeError):
    """The SKY130 models are missing, incomplete or not the expected ones."""


class SampleLogError(ZsgymError, RuntimeError):
    """A sample log cannot be written or read (disk full, foreign file, incompatible schema)."""


class SimulatorError(ZsgymError, RuntimeError):
    """The simulator could not answer. Never a statement about the circuit."""


class UndecidedError(SimulatorError):
    """A simulator that predicts cannot tell whether this sizing works; ngspice can. Never a label."""


class SimulatorMissingError(SimulatorError):
    """No usable ngspice was found; the message says how to install one."""


class SimulatorCrashError(SimulatorError):
    """The simulating process died (killed, crashed, out of memory) before it had answered."""


class SimulatorTimeoutError(SimulatorError):
    """The simulating process stopped responding and was killed."""


class SimulatorOutputError(SimulatorError):
    """The simulator ended without fresh and complete results (disk full, garbage, a missing analysis)."""
