"""A target whose every page is another, and which remembers what it showed."""

import math
import random
import struct
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.api import LabelSet

ODD = (math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, -1.7976931348623157e308, 1 / 3, 1e21)
"""Values that a careless reader or writer of numbers gets wrong."""
PLACES = ("Köln", 'a "quoted" one', "back\\slash", "two\nlines", "")


class RecordingPage:
    """A page at ``/metrics`` on a loopback port: a counter, gauges, and one that comes and goes.

    Gauges take the values of *odd* and others. ``shown`` holds for each series the values of all
    pages in their order. After ``close_page`` the target answers 503 and shows no more.
    """

    def __init__(self, odd: Sequence[float] = ODD) -> None:
        self.shown: dict[LabelSet, list[float]] = {}
        self.pages = 0
        self._odd = odd
        self._open = True
        self._lock = threading.Lock()
        self._draw = random.Random(7)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = outer._next_page()
                self.send_response(200 if body else 503)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.end_headers()
                self.wfile.write(body)

            def log_request(self, code: object = "-", size: object = "-") -> None:
                del code, size

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close_page(self) -> None:
        """From now on nothing is shown; ``shown`` does not change any more."""
        with self._lock:
            self._open = False

    def _next_page(self) -> bytes:
        """The next page, empty once it was closed."""
        with self._lock:
            if not self._open:
                return b""
            self.pages += 1
            lines = ["# HELP shown_total Pages shown.", "# TYPE shown_total counter"]
            lines.append(self._line("shown_total", {}, float(self.pages)))
            lines.append("# TYPE shown_level gauge")
            for place in PLACES:
                value = self._draw.choice((*self._odd, self._draw.gauss(0, 1e6)))
                lines.append(self._line("shown_level", {"place": place}, value))
            if self.pages % 3 == 0:
                lines.append(self._line("shown_at_times", {}, self._draw.random()))
            return ("\n".join(lines) + "\n").encode()

    def _line(self, name: str, labels: dict[str, str], value: float) -> str:
        full = {"__name__": name, **{n: v for n, v in labels.items() if v}}
        self.shown.setdefault(tuple(sorted(full.items())), []).append(value)
        pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        return f"{name}{{{pairs}}} {_number(value)}"

    def __enter__(self) -> "RecordingPage":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def bits(values: list[float]) -> list[str]:
    """Values so that -0 differs from 0 and NaN equals NaN."""
    return ["NaN" if math.isnan(v) else struct.pack(">d", v).hex() for v in values]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else ("+Inf" if value > 0 else "-Inf")
