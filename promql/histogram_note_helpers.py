"""What there may be to say about the native histograms of a row, as bits of a uint16."""

MIXED_KINDS = 1
"""Histograms and floats in one window."""
NOT_COUNTER, NOT_GAUGE = 2, 4
MIXED_SCHEMAS = 8
"""Exponential and custom buckets in one window."""
RECONCILED_SUB, RECONCILED_ADD, RECONCILED_AGG = 16, 32, 64
"""Custom bounds that differ, met while subtracting, adding, aggregating."""
CONFLICT_AGG = 128
"""Hints of a reset and of none among what was aggregated."""
OVERLAP = 256
"""A sample that began to count before the one before it."""
IGNORED = 512
"""Histograms that the function leaves out, beside floats that it does not."""
