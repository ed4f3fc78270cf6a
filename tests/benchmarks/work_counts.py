"""Counts the work of the hot paths in this process: what a query and a write request cost.

python -m tests.benchmarks.work_counts             the present counts beside the bounds
python -m tests.benchmarks.work_counts --write     sets the bounds a little above them

One connection of the real server, over loopback, is asked by this process' main thread; the
counts are of the threads of the server alone. Everything is warm: requests are repeated with other
times, and the fewest of each count are kept, so that what happens now and then does not matter. The
process keeps to CORES cores, since wide queries are split by them.
"""

import argparse
import asyncio
import json
import math
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop
from uvicorn import Config
from uvicorn.server import ServerState

from benchmarks.http1 import Connection as Client
from benchmarks.http1 import post
from benchmarks.queries import chosen
from benchmarks.remote_write import HEADERS
from benchmarks.send import WRITE
from benchmarks.workload import Workload
from series import jit
from server.access.auth import make_gate
from server.api import quick
from server.app import App
from server.connection import Connection
from server.front import Front
from server.house import House
from server.settings import Settings
from tsdb.files import Files
from tsdb.log.progress import ReplayProgress

Counts = dict[str, float]
BOUNDS = Path(__file__).with_name("work_bounds.json")
ROOMS = ("series", "tsdb", "promql", "wire", "server")
LOADED = Workload(instances=10, span_s=3 * 3600, start_ms=1_700_000_040_000)
NARROW = ["a", "a2", "c2", "m", "m2", "m4"]
WIDE = ["b", "c", "d2", "e", "g", "j", "n"]
SIZES = [10_000, 500, 50]
WARM, COUNTED = 4, 8
CORES = 2
UNITS = {
    "python": "calls of Python functions and builtins",
    "kernels": "calls of kernels",
    "decoding": "calls of kernels that decode",
    "reads": "reads of files",
    "first_reads": "reads of files, the first time",
    "first_read_bytes": "bytes read from files, the first time",
    "syncs": "syncs",
    "log_bytes": "bytes of the log for each sample",
}


class Work:
    """What the server's threads have done since ``begin``."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._python: dict[int, int] = {}
        self._counting = False

    def begin(self) -> None:
        self._counts.clear()
        self._python.clear()
        self._counting = True

    def end(self) -> Counts:
        """The counts, all of UNITS; bytes of the log are those of the whole request."""
        self._counting = False
        found = {name: float(self._counts[name]) for name in UNITS}
        return found | {"python": float(sum(self._python.values()))}

    def add(self, name: str, count: int = 1) -> None:
        if self._counting:
            self._counts[name] += count

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        """For ``threading.setprofile``."""
        del frame, argument
        if self._counting and event in ("call", "c_call"):
            own = threading.get_ident()
            self._python[own] = self._python.get(own, 0) + 1


def measure() -> dict[str, Counts]:
    """Hot path -> the fewest of each count."""
    work = Work()
    _count_files(work)
    threading.setprofile(work.profile)
    found: dict[str, Counts] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="o11y-work-") as home, _server(home) as address:
            house, url = address
            with closing(Client(url)) as client:
                for _, body, _ in LOADED.bodies():
                    _ask(client, post(url, WRITE, HEADERS, body))
                for _ in range(3):
                    house.store.maintain()
                jit.load_all()
                _count_kernels(work)
                for query in chosen(NARROW + WIDE):
                    requests = [query.request(url, LOADED, n) for n in range(WARM + COUNTED)]
                    kind = "narrow" if query.letter in NARROW else "wide"
                    found[f"{kind} query {query.name}"] = _fewest(work, client, requests)
                for number, size in enumerate(SIZES):
                    name = f"write of {size} samples of known series"
                    found[name] = _fewest(work, client, _writes(url, number, size))
                    found[name]["log_bytes"] /= size
    finally:
        threading.setprofile(None)
    return found


def exceeded(found: dict[str, Counts], bounds: dict[str, Counts]) -> list[str]:
    """One sentence for each count above its bound."""
    return [
        f"{path}: {counts[name]:g} {UNITS[name]}, at most {most:g}"
        for path, counts in found.items()
        for name, most in bounds[path].items()
        if counts[name] > most
    ]


def bound(name: str, count: float) -> float:
    """A little above *count*; what is not there may not appear."""
    if name == "log_bytes":
        return round(count * 1.1, 1)
    return math.ceil(count * 1.15) if count > 10 else count


def _fewest(work: Work, client: Client, requests: list[bytes]) -> Counts:
    """The fewest of each count over *requests*, the first WARM of which do not count.

    What is counted the first time is that of the first alone: its frames are in no cache yet.
    """
    each = []
    for request in requests:
        work.begin()
        _ask(client, request)
        each.append(work.end())
    fewest = {name: min(counts[name] for counts in each[WARM:]) for name in UNITS}
    return fewest | {name: each[0][name] for name in UNITS if name.startswith("first_")}


def _ask(client: Client, request: bytes) -> None:
    reply = client.ask(request)
    if reply.status // 100 != 2:
        raise RuntimeError(f"{reply.status} {reply.body[:300]!r}")


def _writes(url: str, number: int, size: int) -> list[bytes]:
    """Requests of *size* samples that go on where the samples before them end."""
    start_ms = LOADED.end_ms + number * 3_600_000
    more = Workload(LOADED.instances, 3600, samples_per_request=size, start_ms=start_ms)
    bodies = [body for _, body, samples in more.bodies() if samples == size]
    return [post(url, WRITE, HEADERS, body) for body in bodies[: WARM + COUNTED]]


@contextmanager
def _server(home: str) -> Iterator[tuple[House, str]]:
    """Our server in a thread of its own, without background work."""
    # What is quick is found out by time; here everything is.
    quick.QUICK_SECONDS = quick.SLOW_SECONDS = math.inf
    settings = Settings(data_dir=Path(home) / "data")
    house = House.open(settings, make_gate(settings), lambda: LOADED.end_ms + 6 * 3_600_000)
    if house.background is not None:
        house.background.close()
    ready: list[tuple[str, Callable[[], object]]] = []
    started = threading.Event()

    async def serve() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        front = Front(ReplayProgress())
        front.inner = App(house)
        config = Config(
            front, log_config=None, access_log=False, lifespan="off", ws="none",
            timeout_keep_alive=600, proxy_headers=False,
        )  # fmt: skip
        state = ServerState()
        server = await loop.create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ready.append((f"http://127.0.0.1:{port}", lambda: loop.call_soon_threadsafe(over.set)))
        started.set()
        await over.wait()
        server.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    started.wait(30)
    url, stop = ready[0]
    try:
        yield house, url
    finally:
        stop()
        thread.join()
        house.close()


def _count_files(work: Work) -> None:
    """Has every access to the disk counted."""
    pread, write, sync = Files.pread, Files.write, Files.fdatasync

    def counted_pread(self: Files, fd: int, size_bytes: int, offset: int) -> bytes:
        data = pread(self, fd, size_bytes, offset)
        for name in ("reads", "first_reads"):
            work.add(name)
        work.add("first_read_bytes", len(data))
        return data

    def counted_write(self: Files, fd: int, parts: Any) -> None:
        if "/wal/" in os.readlink(f"/proc/self/fd/{fd}"):
            work.add("log_bytes", sum(memoryview(part).nbytes for part in parts))
        write(self, fd, parts)

    def counted_sync(self: Files, fd: int) -> None:
        work.add("syncs")
        sync(self, fd)

    Files.pread = counted_pread  # type: ignore[method-assign]
    Files.write = counted_write  # type: ignore[method-assign]
    Files.fdatasync = counted_sync  # type: ignore[method-assign]


def _count_kernels(work: Work) -> None:
    """Has every kernel counted, wherever a module holds it."""
    dispatchers = {type(one) for one in _kernels()}
    for module in list(sys.modules.values()):
        if module.__name__.split(".")[0] in ROOMS:
            for name, value in list(vars(module).items()):
                if type(value) in dispatchers:
                    setattr(module, name, _counted(work, value))


def _kernels() -> Iterator[Any]:
    """Of each kind of thing that a kernel may be, one at least."""
    from promql import lookup_kernels
    from tsdb.block import decode_kernels

    for module in (lookup_kernels, decode_kernels):
        for value in vars(module).values():
            if hasattr(value, "py_func") or type(value) is jit._Kernel:
                yield value


def _counted(work: Work, kernel: Any) -> Callable[..., Any]:
    """*kernel*, counted."""
    function = kernel.py_func if hasattr(kernel, "py_func") else kernel._function
    decodes = "decode" in function.__module__

    def called(*arguments: Any) -> Any:
        work.add("kernels")
        if decodes:
            work.add("decoding")
        return kernel(*arguments)

    return called


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="set the bounds")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON only")
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    found = measure()
    if given.json:
        print(json.dumps(found))
        return
    if given.write:
        bounds = {
            path: {name: bound(name, count) for name, count in counts.items()}
            for path, counts in found.items()
        }
        BOUNDS.write_text(json.dumps(bounds, indent=1) + "\n")
    told: dict[str, Counts] = json.loads(BOUNDS.read_text()) if BOUNDS.exists() else {}
    for path, counts in found.items():
        print(path)
        for name, count in counts.items():
            print(
                f"  {count:12,.1f}  of {told.get(path, {}).get(name, math.nan):,g}  {UNITS[name]}"
            )


if __name__ == "__main__":
    main()
