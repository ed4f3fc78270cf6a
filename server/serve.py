"""Running the server: listen, open the house, serve, drain, close."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable, Generator

import uvicorn
import uvloop

from series.jit import load_all
from server.access.auth import Gate
from server.connection import MAX_CONNECTIONS, Connection
from server.front import Front
from server.settings import Settings
from server.startup import base_url

log = logging.getLogger("o11y.serve")

SWITCH_SECONDS = 0.0005
"""How long a busy Python thread keeps the event loop waiting."""
KEEP_ALIVE_SECONDS = 120


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
    settings: Settings, gate: Gate, listener: socket.socket, on_ready: Callable[[], None]
) -> int:
    """Serves until SIGTERM or SIGINT; the exit status.

    *on_ready* is called, in another thread, once everything answers.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    Connection.most = min(MAX_CONNECTIONS, _most_files() // 2)
    # What strangers send is no news; our own faults are logged as errors.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, gate, listener, on_ready))


async def _serve(
    settings: Settings, gate: Gate, listener: socket.socket, on_ready: Callable[[], None]
) -> int:
    front = Front()
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
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    house = None

    def hang_up() -> None:
        if house is not None and house.scraping is not None:
            loop.run_in_executor(None, house.scraping.hang_up)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    opening = loop.run_in_executor(None, _open_house, settings, gate)
    serving = asyncio.create_task(server.serve([listener]))
    await asyncio.wait((opening, serving), return_when=asyncio.FIRST_COMPLETED)
    status = 0
    scraping = None
    try:
        house, front.inner = await opening
    except Exception as error:
        print(f"o11y: {error}", file=sys.stderr)
        server.should_exit = True
        status = 1
        house = None
    else:
        on_ready()
        loop.run_in_executor(None, load_all)
        if settings.self_scrape:
            scraping = loop.create_task(_scrape_self(house, listener))
    await serving
    if scraping is not None:
        scraping.cancel()
        await asyncio.wait((scraping,))
    if house is not None:
        await asyncio.to_thread(house.close)
    return status


async def _scrape_self(house, listener: socket.socket) -> None:  # type: ignore[no-untyped-def]
    # Imported here as it needs the kernels.
    from server.metrics.self_scrape import SelfScrape

    url = base_url(house.settings, listener.getsockname()[1])
    instance = url.partition("://")[2]
    await SelfScrape(house, house.settings.self_scrape, instance).run()


def _open_house(settings: Settings, gate: Gate):  # type: ignore[no-untyped-def]
    """The house and the application in front of it."""
    # Imported here because it compiles or loads every kernel.
    from server.app import App
    from server.doors.scrape_door import start_scraping
    from server.house import House

    house = House.open(settings, gate)
    try:
        start_scraping(house)
    except BaseException:
        house.close()
        raise
    # What the imports made lives as long as we do: no collection needs to look at it again.
    gc.freeze()
    return house, App(house)
