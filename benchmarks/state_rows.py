"""Disk, start-up and memory of servers that hold all samples."""

from collections.abc import Mapping, Sequence

from benchmarks import idle
from benchmarks.lines import Figures, Line
from benchmarks.peers import Peer
from benchmarks.processes import memory_bytes

MIB = 1 << 20


def peak_line(ingested: Mapping[str, Figures], cores: int) -> Line:
    """The most memory while the samples of ``ingest_together`` came in."""
    servers = {
        name: {"mib": figures["peak_bytes"] / MIB}
        for name, figures in ingested.items()
        if "peak_bytes" in figures
    }
    title = "peak memory while ingesting"
    return Line("memory-peak", title, cores, "MiB", "mib", ("mib",), False, servers)


def restarted(running: Sequence[Peer], cores: Sequence[int], samples: int) -> list[Line]:
    """Starts every server anew on *cores*: to its first answer, its memory then, its disk."""
    startup: dict[str, Figures] = {}
    for peer in running:
        startup[peer.name] = {"s": peer.restart(cores)}
    idle.wait([peer.pid for peer in running], idle.RESTED_S)
    memory = {peer.name: {"mib": memory_bytes(peer.pid) / MIB} for peer in running}
    disk: dict[str, Figures] = {}
    for peer in running:
        everything, blocks = peer.disk_bytes()
        disk[peer.name] = {"all": everything / samples}
        if in_blocks := peer.samples_in_blocks(samples):
            disk[peer.name]["blocks"] = blocks / in_blocks
    count = len(cores)
    title = "start to first answer"
    lines = [
        Line("start-up", title, count, "s", "s", ("s",), False, startup),
        Line("memory-idle", "idle memory after it", count, "MiB", "mib", ("mib",), False, memory),
    ]
    shown = ("blocks", "all")
    title = "disk"
    return [*lines, Line("disk", title, count, "bytes/sample", "blocks", shown, False, disk)]
