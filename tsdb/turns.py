"""Turns: background work that all databases of a process share, a little of it in each round."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from series.ports import StorageError
from tsdb.block.format import BlockMeta
from tsdb.db import Db
from tsdb.files import Files
from tsdb.manifest import Manifest

MERGE_SECONDS = 0.5


class MergeTurns:
    """One merge at a time: the next database has its turn once the one before has none to do."""

    def __init__(self) -> None:
        self._at = ""

    def run(
        self, dbs: Mapping[str, Db], attempt: Callable[[Callable[[], object], str], None]
    ) -> None:
        """Merges for about half a second; *attempt* takes what to do and a note on errors."""
        until_seconds = time.monotonic() + MERGE_SECONDS
        names = sorted(dbs)
        first = next((k for k, name in enumerate(names) if name >= self._at), 0)
        for name in names[first:] + names[:first]:
            self._at = name
            attempt(lambda db=dbs[name]: db.merge(until_seconds), f"while merging tenant {name}")  # type: ignore[misc]
            if time.monotonic() >= until_seconds:
                return


class SizeRetention:
    """Keeps blocks and logs of all tenants together below a bound: the oldest blocks go first."""

    def __init__(self, tenants_directory: Path, files: Files, most_bytes: int) -> None:
        self._tenants_directory = tenants_directory
        self._files = files
        self._most_bytes = most_bytes
        self._closed: dict[str, tuple[BlockMeta, ...]] = {}
        """The blocks of tenants that are not open; nobody changes them meanwhile."""

    def enforce(
        self, tenants: list[str], dbs: Mapping[str, Db], opened: Callable[[str], Db | None]
    ) -> None:
        """Drops what is too much; *opened* opens a tenant of *tenants* that is not among *dbs*.

        OSError where the disk refuses: then the next round goes on.
        """
        blocks = []
        size_bytes = 0
        for name in tenants:
            db = dbs.get(name)
            if db is not None:
                self._closed.pop(name, None)
                size_bytes += db.log_bytes
            for block in db.blocks if db is not None else self._blocks_of(name):
                blocks.append((block.max_time_ms, name, block))
                size_bytes += block.size_bytes
        if size_bytes <= self._most_bytes:
            return
        for _, name, block in sorted(blocks, key=lambda one: one[:2]):
            if size_bytes <= self._most_bytes:
                return
            size_bytes -= block.size_bytes
            if (db := opened(name)) is not None:
                db.drop_blocks({block.sequence})

    def _blocks_of(self, name: str) -> tuple[BlockMeta, ...]:
        """The blocks of a tenant that is not open; none where its manifest cannot be read."""
        if name not in self._closed:
            try:
                manifest = Manifest.load(self._tenants_directory / name, self._files)
            except StorageError:
                return ()
            self._closed[name] = manifest.blocks if manifest is not None else ()
        return self._closed[name]
