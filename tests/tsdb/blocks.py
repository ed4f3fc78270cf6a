"""Blocks for tests: written from plain dicts under one seed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from series.batch import SeriesBatch
from series.labels import Labels
from tests.tsdb.contents import Content, Value, build, content, contents
from tsdb.block.block import Block
from tsdb.block.cache import BlockCache
from tsdb.block.format import BlockMeta, block_directory
from tsdb.block.writer import BlockWriter
from tsdb.files import Files
from tsdb.head.registry import fingerprints_of
from tsdb.view.part import Fingerprints

SEED = bytes(range(16))
Samples = Sequence[tuple[int, Value]]
Data = Mapping[Labels, Samples]


class QuietFiles(Files):
    """The disk without its waiting: nothing here is about power cuts."""

    def fdatasync(self, fd: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


def fingerprints(series: Sequence[Labels]) -> Fingerprints:
    """Those of the labels in the blocks of this file."""
    keys = [one.key for one in series]
    ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
    starts = ends - np.array([len(key) for key in keys], dtype=np.int64)
    return fingerprints_of(SEED, np.frombuffer(b"".join(keys), dtype=np.uint8), starts, ends)


def batch_of(data: Data) -> SeriesBatch:
    """The batch of *data* in label order; rows of equal times share them."""
    rows = sorted(data.items())
    plain = build([(one, [t for t, _ in s], [v for _, v in s]) for one, s in rows])
    starts: dict[bytes, int] = {}
    shared = [
        starts.setdefault(plain.row_times_ms(row).tobytes(), int(plain.time_starts[row]))
        for row in range(plain.series_count)
    ]
    return replace(plain, time_starts=np.array(shared, dtype=np.int64))


def write(
    root: Path, sequence: int, data: Data, cache: BlockCache, *, late: bool = False
) -> BlockMeta:
    """Writes the block; every series of *data* has a sample at least."""
    writer = BlockWriter(root, sequence, late=late, seed=SEED, files=cache.files)
    try:
        writer.add(batch_of(data))
        return writer.finish()
    except OSError:
        writer.abandon()
        raise


def block(root: Path, sequence: int, data: Data, cache: BlockCache) -> Block:
    """The block, written and opened."""
    meta = write(root, sequence, data, cache)
    return Block(block_directory(root, sequence), meta, cache)


def rows_of(batch: SeriesBatch) -> list[list[tuple[int, Content]]]:
    """(time, content) of every sample, row by row; that of a float is its bits."""
    batch.check(rising=True)
    return [list(contents(batch, row).items()) for row in range(batch.series_count)]


def bits(
    samples: Samples, start_ms: int = -(2**63), end_ms: int = 2**63 - 1
) -> list[tuple[int, Content]]:
    """What ``rows_of`` shows of *samples* within the range."""
    return [(time, content(value)) for time, value in samples if start_ms <= time <= end_ms]
