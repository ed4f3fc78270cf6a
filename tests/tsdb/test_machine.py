"""Whatever happens to a database in whatever order, it reads as a dict of lists would."""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from series.ports import Appended, Context, Hints
from tests.examples import examples
from tests.tsdb.blocks import rows_of
from tests.tsdb.contents import Content, Value, content, contents, values
from tests.tsdb.databases import (
    HOUR_MS,
    MEMORY,
    NOW_MS,
    Bits,
    FaultyFiles,
    append,
    everything,
    labels_of,
    open_store,
)
from tests.tsdb.test_deletions import series_is
from tsdb.db import Db, DbOptions
from tsdb.store import Store
from tsdb.upkeep import snapshot
from tsdb.view.view import PartsSelection

_TICK_MS = 10_000
_YEAR_MS = 365 * 24 * HOUR_MS
_FOREVER_MS = 2**60
_OPTIONS = DbOptions(
    retention_ms=40 * HOUR_MS,
    block_range_ms=10 * _TICK_MS,
    max_late_samples=4,
    min_empty_series=2,
    wal_segment_bytes=3000,
)
_Sample = tuple[int, int, Value]
_Rows = list[list[tuple[int, Content]]]

_series = st.integers(0, 4)
_some_values = st.one_of(st.sampled_from([1.0, 2.0, float("nan")]), values)
_ticks_ago = st.one_of(st.integers(-5, 60), st.sampled_from([400, 3000, 14_000]))
_sent = st.lists(st.tuples(_series, _ticks_ago, _some_values), min_size=1, max_size=8)
_spans = st.tuples(st.one_of(st.integers(-5, 80), st.just(15_000)), st.integers(-2, 40))
"""Where a range begins, in ticks before now, and how many it spans."""
_acts = st.sampled_from(
    ["create", "write", "fdatasync", "rename", "sync_directory", "unlink", "truncate", "mkdir"]
)


class Database(RuleBasedStateMachine):
    """The model holds what was accepted at each instant of a series, the first one first.

    Of samples beyond the retention nothing is asked but that they were sent and not deleted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="o11y-machine-", dir=MEMORY))
        self.directory = self.root / "0"
        self.copies = 0
        self.files = FaultyFiles()
        self.now_ms = NOW_MS
        self.jump_ms = 0
        self.seconds = 5000.0
        self.seconds_at_jump = 0.0
        self.model: dict[int, dict[int, list[Content]]] = {}
        self.held: list[tuple[PartsSelection, _Rows]] = []
        self.store: Store | None = None

    @initialize()
    def begin(self) -> None:
        self._open()

    def teardown(self) -> None:
        self._close()
        shutil.rmtree(self.root)

    # Writes

    @rule(sent=_sent)
    def append(self, sent: list[tuple[int, int, Value]]) -> None:
        """In order, late, twice, in conflict: what is new is always accepted."""
        samples = self._samples(sent)
        self._accept(samples, append(self._db, *samples))

    @rule(sent=_sent, age_ms=st.sampled_from([-10 * _YEAR_MS, 10 * _YEAR_MS]))
    def append_beyond_time(self, sent: list[tuple[int, int, Value]], age_ms: int) -> None:
        """Samples that are far too old or too far ahead are refused, the others are not."""
        samples = self._samples(sent)
        answer = append(self._db, (0, self.now_ms - age_ms, 1.0), *samples)
        reason = "too-old" if age_ms > 0 else "too-far-in-future"
        assert answer.refused[reason] == 1
        self._accept(samples, answer, beyond=1)

    @rule(sent=_sent, act=_acts)
    def append_to_a_bad_disk(self, sent: list[tuple[int, int, Value]], act: str) -> None:
        """A write that fails has changed nothing."""
        samples = self._samples(sent)
        answers: list[Appended] = []
        self._on_a_bad_disk(act, lambda: answers.append(append(self._db, *samples)))
        for answer in answers:
            self._accept(samples, answer)

    @rule(numbers=st.sets(_series, min_size=1, max_size=2), span=_spans)
    def delete(self, numbers: set[int], span: tuple[int, int]) -> None:
        start_ms, end_ms = self._range(span)
        self._db.delete(series_is(*sorted(numbers)), start_ms, end_ms)
        for number in numbers:
            own = self.model.get(number, {})
            left = {at: found for at, found in own.items() if not start_ms <= at <= end_ms}
            self.model[number] = left

    # Upkeep

    @rule()
    def maintain(self) -> None:
        self._store.maintain()

    @rule()
    def merge_to_the_end(self) -> None:
        self._store.maintain()
        while self._db.merge(time.monotonic() + 60):
            pass

    @rule()
    def clean_tombstones(self) -> None:
        self._db.clean_tombstones()

    @rule(act=_acts, cleans=st.booleans())
    def upkeep_of_a_bad_disk(self, act: str, cleans: bool) -> None:
        """It fails, and is done the next time."""
        self._on_a_bad_disk(act, self._db.clean_tombstones if cleans else self._store.maintain)

    @rule()
    def restore_a_snapshot(self) -> None:
        """A snapshot reads the same where it was restored, and does not change meanwhile."""
        made = self._store.snapshot("t")
        if (made / "tenants/t").exists():
            elsewhere = self._next_directory()
            snapshot.restore(made, elsewhere, ["t"], self.files)
            self._compare(elsewhere)
        else:
            assert not any(self.model.values())
        shutil.rmtree(made)

    @rule()
    def hold(self) -> None:
        """A reader keeps what it has found, whatever happens."""
        selection = self._db.view().resolve((), Hints(-_FOREVER_MS, _FOREVER_MS))
        self.held = [*self.held[-2:], (selection, _rows(selection))]

    # Ends and beginnings

    @precondition(lambda self: not self.jump_ms)
    @rule(seals=st.booleans())
    def reopen(self, seals: bool) -> None:
        self._close(60.0 if seals else 0.0)
        self._open()

    @precondition(lambda self: not self.jump_ms)
    @rule()
    def crash(self) -> None:
        """Life goes on with what stood on the disk; what the process did after that is lost."""
        copy = self._next_directory()
        shutil.copytree(self.directory, copy)
        self._close()
        shutil.rmtree(self.directory)
        self.directory = copy
        self._open()

    # The clock

    @rule(ticks=st.sampled_from([1, 7, 30, 200, 5000]))
    def time_passes(self, ticks: int) -> None:
        if self.jump_ms and self.seconds - self.seconds_at_jump > 5 * 3600:
            return
        self.now_ms += ticks * _TICK_MS
        self.seconds += ticks * _TICK_MS / 1000

    @rule(jump_ms=st.sampled_from([-_YEAR_MS, _YEAR_MS, 0, 0]))
    def clock_jumps(self, jump_ms: int) -> None:
        """By a year, or back to the truth: nothing is dropped or refused for that."""
        if jump_ms and not self.jump_ms:
            self.seconds_at_jump = self.seconds
            self.jump_ms = jump_ms
        elif not jump_ms:
            self.jump_ms = 0

    # What holds

    @invariant()
    def reads_as_the_model(self) -> None:
        if self.store is not None:
            self._check(everything(self.store.tenant("t")))

    @rule(span=_spans)
    def a_range_reads_as_the_model(self, span: tuple[int, int]) -> None:
        start_ms, end_ms = self._range(span)
        selection = self._db.view().resolve((), Hints(start_ms, end_ms))
        batch = selection.read(slice(0, selection.frame.size), start_ms, end_ms, Context())
        batch.check(rising=True)
        found = {
            labels: {t: v for t, v in contents(batch, row).items() if start_ms <= t <= end_ms}
            for row, labels in enumerate(selection.frame.all_labels())
        }
        self._check({labels: own for labels, own in found.items() if own}, start_ms, end_ms)

    @invariant()
    def readers_keep_what_they_have(self) -> None:
        assert all(_rows(selection) == rows for selection, rows in self.held)

    # How it is done

    @property
    def _store(self) -> Store:
        assert self.store is not None
        return self.store

    @property
    def _db(self) -> Db:
        return self._store.tenant_for_write("t")

    def _open(self) -> None:
        self.store = self._opened(self.directory)

    def _opened(self, directory: Path) -> Store:
        return open_store(
            directory,
            options=_OPTIONS,
            files=self.files,
            now_ms=lambda: self.now_ms + self.jump_ms,
            monotonic=lambda: self.seconds,
        )

    def _close(self, seal_seconds: float = 0.0) -> None:
        self.held.clear()
        if self.store is not None:
            self.store.close(seal_seconds)
            self.store = None

    def _next_directory(self) -> Path:
        self.copies += 1
        return self.root / str(self.copies)

    def _compare(self, directory: Path) -> None:
        """Opens *directory* beside, which must hold the same, and removes it."""
        other = self._opened(directory)
        self._check(everything(other.tenant("t")))
        other.close()
        shutil.rmtree(directory)

    def _samples(self, sent: Sequence[tuple[int, int, Value]]) -> list[_Sample]:
        return [(number, self.now_ms - ago * _TICK_MS, value) for number, ago, value in sent]

    def _range(self, span: tuple[int, int]) -> tuple[int, int]:
        start_ms = self.now_ms - span[0] * _TICK_MS
        return start_ms, start_ms + span[1] * _TICK_MS

    def _accept(self, samples: list[_Sample], answer: Appended, beyond: int = 0) -> None:
        conflicts = answer.refused.get("duplicate-timestamp", 0)
        assert sum(answer.refused.values()) == conflicts + beyond
        assert answer.samples + conflicts == len(samples)
        known = 0
        for number, time_ms, value in samples:
            found = self.model.setdefault(number, {}).setdefault(time_ms, [])
            known += bool(found)
            found.append(content(value))
        assert conflicts <= known

    def _on_a_bad_disk(self, act: str, do: Callable[[], object]) -> None:
        self.files.fails = lambda what: what == act
        try:
            do()
        except (OSError, ExceptionGroup):
            pass
        finally:
            self.files.fails = lambda what: False

    def _check(self, found: Bits, start_ms: int = -_FOREVER_MS, end_ms: int = _FOREVER_MS) -> None:
        oldest_ms = self.now_ms - _OPTIONS.retention_ms
        expected = {
            (number, time_ms): sent[0]
            for number, own in self.model.items()
            for time_ms, sent in own.items()
            if max(start_ms, oldest_ms) <= time_ms <= end_ms
        }
        numbers = {labels_of(number): number for number in self.model}
        for labels, own in found.items():
            for time_ms, value in own.items():
                number = numbers[labels]
                if time_ms >= oldest_ms:
                    assert expected.pop((number, time_ms), None) == value, (number, time_ms)
                else:
                    assert value in self.model[number][time_ms], (number, time_ms)
        assert not expected, "samples that are not there"


def _rows(selection: PartsSelection) -> _Rows:
    """All that a selection reads."""
    whole = slice(0, selection.frame.size)
    return rows_of(selection.read(whole, -_FOREVER_MS, _FOREVER_MS, Context()))


TestDatabase = Database.TestCase
TestDatabase.settings = hypothesis.settings(examples(25), stateful_step_count=30, print_blob=True)
