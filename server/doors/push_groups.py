"""Push groups: which series the last push to each group left, so that the next can end them.

A Pushgateway shows a group's samples until they are replaced. Here a push is a moment: its samples
are stored once, and what a later push to the same group no longer holds gets a stale marker. The
memory is bounded and does not outlive the process; series that fall out of it end as any other
does that no sample comes for.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

MAX_GROUPS = 10_000
MAX_GROUP_SERIES = 500_000

GroupKey = tuple[str, tuple[tuple[str, str], ...]]
"""(tenant, sorted grouping labels)."""


@dataclass(slots=True)
class _Group:
    time_ms: int = 0
    series: dict[bytes, str] = field(default_factory=dict)


class PushGroups:
    """All groups of all tenants, those pushed to last at the end; for one thread."""

    def __init__(self) -> None:
        self._groups: OrderedDict[GroupKey, _Group] = OrderedDict()
        self._turns: WeakValueDictionary[GroupKey, asyncio.Lock] = WeakValueDictionary()
        self.series_count = 0

    def __len__(self) -> int:
        return len(self._groups)

    def turn(self, group: GroupKey) -> asyncio.Lock:
        """What a push holds from its look at the group until it has ``put`` what it left."""
        lock = self._turns.get(group)
        if lock is None:
            lock = self._turns[group] = asyncio.Lock()
        return lock

    def next_time_ms(self, group: GroupKey, now_ms: int) -> int:
        """*now_ms*, or later where the group's last push bears that time already."""
        known = self._groups.get(group)
        return now_ms if known is None else max(now_ms, known.time_ms + 1)

    def gone(
        self, group: GroupKey, series: dict[bytes, str], names: frozenset[str] | None
    ) -> list[bytes]:
        """The keys that the group held and *series* (key -> metric name) lacks.

        Only those of the metric *names*; None stands for all.
        """
        known = self._groups.get(group)
        if known is None:
            return []
        return [
            key
            for key, name in known.series.items()
            if key not in series and (names is None or name in names)
        ]

    def put(
        self, group: GroupKey, series: dict[bytes, str], gone: list[bytes], time_ms: int
    ) -> None:
        """After a push at *time_ms*: the group also holds *series*, and no longer *gone*."""
        known = self._groups.pop(group, None) or _Group()
        self.series_count -= len(known.series)
        for key in gone:
            known.series.pop(key, None)
        known.series.update(series)
        known.time_ms = time_ms
        self._groups[group] = known
        self.series_count += len(known.series)
        while len(self._groups) > MAX_GROUPS or self.series_count > MAX_GROUP_SERIES:
            _, oldest = self._groups.popitem(last=False)
            self.series_count -= len(oldest.series)
