"""Running the server: listen, open the house, serve, drain, close."""

import asyncio
import contextlib
import gc
import logging
import math
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator

import uvicorn
import uvloop

from series.jit import load_all
from server.access.auth import Gate
from server.background import Background
from server.connection import MAX_CONNECTIONS, Connection
from server.front import Front
from server.huge_pages import PERIOD_SECONDS
from server.process_memory import let_go_of_compiler, tune_malloc
from server.settings import Settings
from server.starting import rare_collections
from server.startup import base_url
from tsdb.log.progress import ReplayProgress, ReplayStopped

log = logging.getLogger("o11y.serve")

SWITCH_SECONDS = 0.0005
"""How long a busy Python thread keeps the event loop waiting."""
KEEP_ALIVE_SECONDS = 120
LOAD_AFTER_SECONDS = 1.0
"""When the kernels that nobody has called yet are loaded: whoever waited for us comes first."""
_SEALING_SHARE = 0.8
"""How much of the time that is left at the end may be spent on sealing."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which would end us by the signal instead of by 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def bind(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 lets the system choose. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _most_files() -> int:
    """How many files we may have open; all that the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return MAX_CONNECTIONS * 2 if hard == resource.RLIM_INFINITY else hard


def run(
    settings: Settings,
    gate: Gate,
    listener: socket.socket,
    on_ready: Callable[[], None],
    progress: ReplayProgress,
) -> int:
    """Serves until SIGTERM or SIGINT; the exit status. The second one ends the process at once.

    *on_ready* is called, in another thread, once everything answers; *progress* follows the
    replay of the log until then.
    """
    tune_malloc()
    sys.setswitchinterval(SWITCH_SECONDS)
    Connection.most = min(MAX_CONNECTIONS, _most_files() // 2)
    # What strangers send is no news; our own faults are logged as errors.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, gate, listener, on_ready, progress))


class _Stop:
    """What a signal to end does, and when the time for it is over."""

    def __init__(self, server: uvicorn.Server, progress: ReplayProgress, seconds: float) -> None:
        self._server = server
        self._progress = progress
        self._seconds = seconds
        self._end_seconds = math.inf

    def __call__(self) -> None:
        if self._end_seconds < math.inf:
            # Whatever was acknowledged is in the log.
            print("o11y: ended at once by a second signal", file=sys.stderr, flush=True)
            os._exit(1)
        self._end_seconds = time.monotonic() + self._seconds
        self._progress.stop()
        self._server.handle_exit(signal.SIGTERM, None)

    @property
    def seconds_left(self) -> float:
        """Until the process should have ended; all of it where nobody has asked."""
        return min(self._seconds, self._end_seconds - time.monotonic())


async def _serve(
    settings: Settings,
    gate: Gate,
    listener: socket.socket,
    on_ready: Callable[[], None],
    progress: ReplayProgress,
) -> int:
    front = Front(progress)
    config = uvicorn.Config(
        front,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.drain_seconds,
        proxy_headers=False,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    stop = _Stop(server, progress, settings.drain_seconds)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    house = None

    def hang_up() -> None:
        if house is not None and house.scraping is not None:
            loop.run_in_executor(None, house.scraping.hang_up)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    opening = loop.run_in_executor(None, _open_house, settings, gate, progress)
    serving = asyncio.create_task(server.serve([listener]))
    await asyncio.wait((opening, serving), return_when=asyncio.FIRST_COMPLETED)
    status = 0
    scraping = collapsing = None
    try:
        house, front.inner = await opening
    except ReplayStopped:
        pass
    except Exception as error:
        print(f"o11y: {error}", file=sys.stderr)
        server.should_exit = True
        status = 1
        house = None
    else:
        on_ready()
        loop.call_later(LOAD_AFTER_SECONDS, loop.run_in_executor, None, _load_kernels)
        collapsing = Background(
            house.pages.collapse, house.metrics.maintenance_failures.inc, PERIOD_SECONDS
        )
        if settings.self_scrape:
            scraping = loop.create_task(_scrape_self(house, listener))
    await serving
    if scraping is not None:
        scraping.cancel()
        await asyncio.wait((scraping,))
    if collapsing is not None:
        await asyncio.to_thread(collapsing.close)
    if house is not None:
        await asyncio.to_thread(house.close, _SEALING_SHARE * stop.seconds_left)
    return status


def _load_kernels() -> None:
    load_all()
    let_go_of_compiler()


async def _scrape_self(house, listener: socket.socket) -> None:  # type: ignore[no-untyped-def]
    # Imported here as it needs the kernels.
    from server.metrics.self_scrape import SelfScrape

    url = base_url(house.settings, listener.getsockname()[1])
    instance = url.partition("://")[2]
    await SelfScrape(house, house.settings.self_scrape, instance).run()


def _open_house(settings: Settings, gate: Gate, progress: ReplayProgress):  # type: ignore[no-untyped-def]
    """The house and the application in front of it."""
    with rare_collections():
        # Imported here because it compiles or loads every kernel.
        from server.app import App
        from server.house import House

    house = House.open(settings, gate, progress=progress)
    try:
        if settings.config_file is not None:
            from server.doors.scrape_door import start_scraping

            start_scraping(house)
    except BaseException:
        house.close()
        raise
    # What the imports made lives as long as we do: no collection needs to look at it again.
    gc.freeze()
    return house, App(house)
