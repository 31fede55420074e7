"""Labelled samples: the crash-safe log that environments and generators write, and the data sets made from it."""

from zsgym.samples.log import SampleLog
from zsgym.samples.reader import (
    ReadReport,
    SampleLogWarning,
    read_errors,
    read_samples,
    read_table,
    relabel_queue,
    training_rows,
)
from zsgym.samples.schema import ErrorRecord, Sample, sample_id

__all__ = [
    "ErrorRecord",
    "ReadReport",
    "Sample",
    "SampleLog",
    "SampleLogWarning",
    "read_errors",
    "read_samples",
    "read_table",
    "relabel_queue",
    "sample_id",
    "training_rows",
]
