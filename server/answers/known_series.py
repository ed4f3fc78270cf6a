"""Known series: what a decoder need not read again of a tenant's writes.

A key that the storage has and that was found to be within the tenant's limits is so whenever it
comes again. What was found is remembered with the storage's numbering of its series, and found
anew where the limits change.
"""

import numpy as np

from series.known import Known
from series.labels import METRIC_NAME
from server.access.limits import Limits
from server.answers import label_kernels as kernels

_STEP_SERIES = 16_384
"""So many series are looked at for one request; others have their turn with the next ones."""

_NAME = np.frombuffer(bytearray(METRIC_NAME.encode()), dtype=np.uint8)


def within_limits(known: Known, limits: Limits) -> Known | None:
    """*known*, where all of its series have a name and labels within *limits*; else None.

    None, too, where series come under other names than they are sent by, and until all series have
    been looked at.
    """
    if not known.size or limits.accept_ha_samples:
        return None
    asked = (
        limits.max_label_names_per_series,
        limits.max_label_name_length,
        limits.max_label_value_length,
    )
    found = known.numbering.found
    if found is None or found[0] != asked:
        found = asked, 0, True
    _, seen, all_fit = found
    if all_fit and seen < known.size:
        end = min(known.size, seen + _STEP_SERIES)
        found = asked, end, _fit(known, seen, end, asked)
        known.numbering.found = found
    return known if found[2] and found[1] >= known.size else None


def _fit(known: Known, first: int, end: int, limits: tuple[int, int, int]) -> bool:
    """Whether the series first..end have a name and labels within *limits*."""
    starts, ends = known.key_starts[first:end], known.key_starts[first + 1 : end + 1]
    verdicts = np.empty(end - first, dtype=np.uint8)
    most_names, name_bytes, value_bytes = (limit or 2**62 for limit in limits)
    if kernels.judge(known.keys, starts, ends, most_names, name_bytes, value_bytes, verdicts):
        return False
    found = np.empty((end - first, 4), dtype=np.int64)
    kernels.find_label(known.keys, starts, ends, _NAME, found)
    return bool((found[:, 0] >= 0).all())
