"""What the kernels of native histograms share: buckets put down in order, lower resolutions.

A caller's arrays have room for every bucket that it puts.
"""

from typing import Any

from series.jit import helper

OFFSET = 1 << 29
"""As in ``series.histogram``: what the position of a positive bucket lies above its index."""
MAX_SCHEMA = 8
STALE_NAN_BITS = 0x7FF0000000000002

_MAX_GAP = 2


@helper
def reduced(index: Any, shift: Any) -> Any:
    """The index of the bucket that takes bucket *index* in a schema lower by *shift*.

    Buckets include their upper bound, so 2 * n - 1 and 2 * n meet in n.
    """
    return ((index - 1) >> shift) + 1


@helper
def put_bucket(
    positions: Any, bucket_counts: Any, begin: Any, used: Any, position: Any, count: Any
) -> Any:
    """Puts a bucket at *used*, or adds it to the one before if that stands at its *position*.

    Nothing before *begin* is touched. Returns the number of buckets.
    """
    if used > begin and positions[used - 1] == position:
        bucket_counts[used - 1] += count
        return used
    positions[used] = position
    bucket_counts[used] = count
    return used + 1


@helper
def put_spread(
    positions: Any, bucket_counts: Any, begin: Any, used: Any, last: Any, here: Any, count: Any
) -> Any:
    """(number of buckets, index of the last one) after the bucket of index *here*, *last* or more.

    Lays buckets down as Prometheus does where they come as one stretch (convertBucketsLayout, and
    Compact(2) of its parsers): empty ones at both ends and in runs of more than two are left out.
    """
    if count == 0:
        return used, last
    if used > begin and here - last - 1 <= _MAX_GAP:
        for empty in range(last + 1, here):
            used = put_bucket(positions, bucket_counts, begin, used, OFFSET + empty, 0.0)
    return put_bucket(positions, bucket_counts, begin, used, OFFSET + here, count), here


@helper
def turn_round(positions: Any, bucket_counts: Any, begin: Any, end: Any) -> Any:
    """Reverses the buckets [begin, end), and makes negative ones of them."""
    last = end - 1
    while begin < last:
        position = positions[begin]
        positions[begin] = -positions[last]
        positions[last] = -position
        count = bucket_counts[begin]
        bucket_counts[begin] = bucket_counts[last]
        bucket_counts[last] = count
        begin += 1
        last -= 1
    if begin == last:
        positions[begin] = -positions[begin]
