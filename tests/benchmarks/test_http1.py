"""The plain client reads whole answers, however their bytes arrive."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from benchmarks.http1 import Answered, Connection, Reader, drive, get, post
from benchmarks.processes import wait_for

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 422 Not so\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n8\r\nlo\r\n0\r\nx\r\n0\r\n\r\n"
)
EMPTY = b"HTTP/1.1 204 No Content\r\nserver: x\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [(LENGTH, 200, b"hello"), (CHUNKED, 422, b"hello\r\n0\r\nx"), (EMPTY, 204, b"")],
)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_an_answer_is_whole_with_its_last_byte(
    answer: bytes, status: int, body: bytes, size: int
) -> None:
    """Cut into pieces of any size, an answer is whole with the last piece and not before."""
    reader = Reader()
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    assert [reader.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert reader.reply == (status, body)


class _Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self.path.encode())

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        if body == b"leave":
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", f"{len(body)}")
        if self.headers["Close"] == "told":
            self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection |= self.headers["Close"] is not None
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_requests_and_answers_of_any_size_pass(url: str) -> None:
    """What was posted comes back, also where it is larger than the sockets hold."""
    large = bytes(range(256)) * 40_000
    with closing(Connection(url)) as connection:
        assert connection.ask(get(url, "/a", {"b": "1"})).body == b"/a?b=1"
        assert connection.ask(post(url, "/", {}, large)).body == large


def test_every_connection_is_kept_busy_until_nothing_is_due(url: str) -> None:
    """Each connection asks what is due on it, large requests too, and hears of each answer."""
    left = {number: [b"x" * (900_000 * (n == 1) + n + 1) for n in range(4)] for number in range(3)}
    wanted = {number: list(map(len, bodies)) for number, bodies in left.items()}
    heard: dict[int, list[int]] = {number: [] for number in left}

    def due(connection: int) -> bytes | None:
        return post(url, "/", {}, left[connection].pop(0)) if left[connection] else None

    def answered(answer: Answered) -> None:
        assert answer.reader.status == 200 and answer.took_ms > 0
        heard[answer.connection].append(len(answer.reader.reply.body))

    drive(url, 3, due, answered, timeout_s=30)
    assert heard == wanted


def test_a_server_that_hangs_up_is_an_error(url: str) -> None:
    """No answer is not an empty answer."""
    bodies = [post(url, "/", {}, b"leave")]
    with pytest.raises(ConnectionError, match="closed"):
        drive(url, 1, lambda _: bodies.pop() if bodies else None, lambda _: None)
    with closing(Connection(url)) as connection:
        with pytest.raises(ConnectionError, match="closed"):
            connection.ask(post(url, "/", {}, b"leave"))
        assert connection.ask(post(url, "/", {}, b"again")).body == b"again"


@pytest.mark.parametrize("told", [True, False])
def test_a_connection_that_was_closed_between_requests_is_made_anew(url: str, told: bool) -> None:
    """Whether the answer said so, or the server hung up while nothing was asked."""
    request = post(url, "/", {"Close": "told" if told else "untold"}, b"x")
    with closing(Connection(url)) as connection:
        for _ in range(3):
            assert connection.ask(request).body == b"x"
            wait_for(lambda: told or connection.is_closed, "the server hung up")
