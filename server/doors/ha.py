"""High availability: of two Prometheus servers that send the same series one is heard.

Each names its pair by a cluster label and itself by a replica label. Per tenant and cluster one
replica is elected: the first that is heard, until it has been silent for longer than the timeout.
"""

import threading
import time
from collections.abc import Callable
from enum import Enum

Clusters = dict[str, tuple[str, float]]


class Verdict(Enum):
    ELECTED = "elected"
    OTHER = "another replica is elected"
    TOO_MANY_CLUSTERS = "too many clusters"


class Elections:
    """Who is heard. Any thread may call any method."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tenants: dict[str, Clusters] = {}

    def hear(
        self, tenant: str, cluster: str, replica: str, timeout_seconds: float, max_clusters: int
    ) -> Verdict:
        """Whether samples of *replica* count; hearing the elected one renews its election."""
        now = self._clock()
        with self._lock:
            clusters = self._tenants.setdefault(tenant, {})
            elected, heard = clusters.get(cluster, ("", 0.0))
            if cluster not in clusters and max_clusters and len(clusters) >= max_clusters:
                return Verdict.TOO_MANY_CLUSTERS
            if elected in ("", replica) or now - heard > timeout_seconds:
                clusters[cluster] = replica, now
                return Verdict.ELECTED
            return Verdict.OTHER

    def count(self) -> int:
        """The clusters of all tenants."""
        with self._lock:
            return sum(map(len, self._tenants.values()))
