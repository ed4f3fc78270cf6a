"""Remote writes 1.0 of known series, several at a time.

Most requests bring new samples of the series that came before, and nothing else. Those are read in
one pass for all of them; the others are for ``wire.remote_write``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cramjam
import numpy as np

from series.known import Known, KnownSamples
from wire import remote_write_known_kernels as kernels
from wire.compression import snappy_bytes

_BYTES_A_SAMPLE = 12
"""A body with more samples than one in so many bytes is not read here."""


class KnownWrites(NamedTuple):
    """What ``read_known`` has found: the ``samples`` of the bodies that it could read.

    ``are_read`` tells of each body whether it is one of them.
    """

    samples: KnownSamples
    are_read: list[bool]


def read_known(bodies: Sequence[bytes], known: Known, max_decoded_bytes: int) -> KnownWrites | None:
    """The snappy-compressed *bodies* as far as they hold nothing but float samples of *known*.

    *known* must have a name in every key. None where none of them can be read, or where they are
    larger than *max_decoded_bytes* together.
    """
    sizes = [snappy_bytes(body) for body in bodies]
    total = sum(sizes)
    if not 0 < total <= max_decoded_bytes:
        return None
    messages = np.empty(total, dtype=np.uint8)
    plain = messages.data
    bounds = np.empty(len(bodies) + 1, dtype=np.int64)
    bounds[0] = at = 0
    for n, (body, size) in enumerate(zip(bodies, sizes, strict=True)):
        try:
            if not size or cramjam.snappy.decompress_raw_into(body, plain[at : at + size]) != size:
                return None
        except cramjam.DecompressionError:
            return None
        bounds[n + 1] = at = at + size
    room = total // _BYTES_A_SAMPLE + 1
    ids = np.empty(room, dtype=np.int32)
    times_ms = np.empty(room, dtype=np.int64)
    bits = np.empty(room, dtype=np.uint64)
    ends = np.empty(len(bodies), dtype=np.int64)
    count, first_ms, last_ms = kernels.scan_known(
        messages, bounds, known.size, known.keys, known.key_starts, known.seed, known.slots,
        ids, times_ms, bits, ends,
    )  # fmt: skip
    found = ends.tolist()
    read = tuple(end for end in found if end >= 0)
    if not read:
        return None
    samples = KnownSamples(
        known, ids[:count], times_ms[:count], bits[:count], first_ms, last_ms, read
    )
    return KnownWrites(samples, [end >= 0 for end in found])
