"""Whole writes: what comes again and again is stored and answered as what comes once."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from server import connection
from server.access.keys import Role, create_key, load_keys, revoke_key
from server.connection import Connection
from server.doors import whole_writes
from server.doors.whole_writes import WholeWrites
from tests.server.conftest import NOW_MS, WRITE, Asker, up
from tests.wire import encode
from tsdb.files import Files

WAIT_S = 30
SERVERS: list[ServerState] = []
"""Those that run."""
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Taken:
    """The sizes of the rounds of whole writes, and how many of them went the usual way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rounds: list[int] = []
        self.left = 0
        answer, parse = WholeWrites._answer, Connection.parse_write

        def counted(door: WholeWrites, queue: Any, writes: Any, *rest: Any) -> None:
            self.rounds.append(len(writes))
            answer(door, queue, writes, *rest)

        def left(connection: Connection, data: bytes) -> None:
            self.left += 1
            parse(connection, data)

        monkeypatch.setattr(WholeWrites, "_answer", counted)
        monkeypatch.setattr(Connection, "parse_write", left)

    @property
    def count(self) -> int:
        return sum(self.rounds)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    return Taken(monkeypatch)


def body_of(*series: encode.Series) -> bytes:
    return encode.snappy(b"".join(map(encode.series, series)))


def request(body: bytes, headers: dict[str, str] | None = None) -> bytes:
    lines = ["POST /api/v1/write HTTP/1.1", "Host: localhost"]
    sent = {**WRITE, **(headers or {})}
    lines += [f"{name}: {value}" for name, value in sent.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def at(job: str, seconds: float, value: float) -> encode.Series:
    """One sample of ``up{job}``, so many seconds before NOW_MS."""
    return encode.Series(
        [(b"__name__", b"up"), (b"job", job.encode())], [(NOW_MS - int(1000 * seconds), value)]
    )


async def answer(stream: Stream) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    async with asyncio.timeout(WAIT_S):
        head = await stream[0].readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
        body = await stream[0].readexactly(length[0]) if length else b""
        return int(head[9:12]), body


async def ask(stream: Stream, *data: bytes) -> tuple[int, bytes]:
    for part in data:
        stream[1].write(part)
    return await answer(stream)


@contextlib.asynccontextmanager
async def senders(asker: Asker, count: int = 1) -> AsyncIterator[list[Stream]]:
    """*count* connections to a server of *asker*'s application."""
    config = Config(
        asker.app, log_config=None, lifespan="off", ws="none", proxy_headers=False,
        timeout_keep_alive=2 * WAIT_S,
    )  # fmt: skip
    config.load()
    state = ServerState()
    SERVERS.append(state)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        yield streams
    finally:
        SERVERS.remove(state)
        for _, writer in streams:
            writer.transport.abort()
        server.close()


async def until(is_so: Callable[[Connection], bool], count: int = 1) -> None:
    """Lets the server work until *is_so* of *count* of its connections."""
    async with asyncio.timeout(WAIT_S):
        while sum(is_so(one) for one in SERVERS[0].connections) < count:  # type: ignore[arg-type]
            await asyncio.sleep(0)


def run(talk: Coroutine[Any, Any, None]) -> None:
    asyncio.run(talk)


SYNCS = pytest.mark.parametrize("sync_ms", [0, 60_000])


@SYNCS
def test_what_comes_again_is_taken_and_stored(
    make_asker: Callable[..., Asker], taken: Taken, sync_ms: int
) -> None:
    """From the second write of a connection on; counted as every write is."""
    asker = make_asker(wal_sync_ms=sync_ms)

    async def talk() -> None:
        async with senders(asker) as [stream]:
            for step in range(5):
                body = body_of(at("a", 50 - 10 * step, step), at("b", 50 - 10 * step, 1.0))
                assert await ask(stream, request(body)) == (204, b"")

    run(talk())
    assert (taken.count, taken.left) == (4, 0)
    assert asker.values("sum_over_time(up[5m])") == {"a": "10", "b": "5"}
    page = asker.get("/metrics").text
    assert 'o11y_ingest_samples_total{door="remote_write"} 10.0' in page
    assert 'o11y_http_requests_total{code="204",path="/api/v1/write"} 5.0' in page
    assert "o11y_http_requests_in_flight 1.0" in page, "this question"
    again = make_asker(wal_sync_ms=sync_ms)
    assert again.values("sum_over_time(up[5m])") == {"a": "10", "b": "5"}


@SYNCS
def test_refusals_are_answered_as_everywhere(
    make_asker: Callable[..., Asker], taken: Taken, sync_ms: int
) -> None:
    """Those of each sender to itself, by the same text and in the same counts."""
    asker = make_asker(wal_sync_ms=sync_ms)
    bodies = [
        body_of(at("a", 10, 2.0), at("b", 10, 1.0)),
        body_of(at("a", 5, 2.0), at("b", -7200, 1.0)),
        body_of(at("b", 4, 2.0)),
    ]

    async def talk() -> None:
        async with senders(asker, 3) as streams:
            for stream in streams:
                first = request(body_of(at("a", 10, 1.0), at("b", 10, 1.0)))
                assert await ask(stream, first) == (204, b"")
            taken.rounds.clear()
            found = await asyncio.gather(
                *(ask(*one) for one in zip(streams, map(request, bodies), strict=False))
            )
        assert found[2] == (204, b"")
        answers.extend(found[:2])

    answers: list[tuple[int, bytes]] = []
    run(talk())
    usual = [asker.write_body(body) for body in bodies[:2]]
    assert answers == [(400, one.content) for one in usual]
    assert b"duplicate-timestamp; stored: 1" in answers[0][1]
    assert (taken.count, taken.left) == (3, 0)
    page = asker.get("/metrics").text
    assert 'refused_samples_total{door="remote_write",reason="duplicate-timestamp"} 2.0' in page
    assert 'refused_samples_total{door="remote_write",reason="too-far-in-future"} 2.0' in page


def test_writes_that_come_together_are_one_round(
    make_asker: Callable[..., Asker], taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one sync for all of them."""
    asker = make_asker()
    syncs: list[int] = []
    sync = Files.fdatasync

    def counted(files: Files, fd: int) -> None:
        syncs.append(fd)
        sync(files, fd)

    monkeypatch.setattr(Files, "fdatasync", counted)

    async def talk() -> None:
        async with senders(asker, 8) as streams:
            for stream in streams:
                assert (await ask(stream, request(body_of(up("a", 1)))))[0] == 204
            syncs.clear()
            for number, stream in enumerate(streams):
                stream[1].write(request(body_of(at("a", 20 + number, number))))
            assert [(await answer(stream))[0] for stream in streams] == [204] * 8

    run(talk())
    assert (taken.count, taken.left) == (8, 0)
    assert len(syncs) == len(taken.rounds) < 8
    assert asker.values("count_over_time(up[5m])") == {"a": "9"}


def test_writes_may_come_in_parts(asker: Asker, taken: Taken) -> None:
    """Joined once the last has come; what stands behind it is answered, too."""
    writes = [request(body_of(at("a", 50 - step, step))) for step in range(4)]

    async def talk() -> None:
        async with senders(asker) as [stream]:
            stream[1].write(writes[0][:-1])
            await until(lambda one: one._stage is connection._Stage.BODY)
            assert (await ask(stream, writes[0][-1:]))[0] == 204
            for cut in (len(writes[1]) - 1, writes[1].index(b"\r\n\r\n") + 4):
                stream[1].write(writes[1][:cut])
                await stream[1].drain()
                await until(lambda one: bool(one._parts))
                assert (await ask(stream, writes[1][cut:]))[0] == 204
            assert (taken.count, taken.left) == (2, 0)
            stream[1].write(writes[2][:-3])
            await until(lambda one: bool(one._parts))
            stream[1].write(writes[2][-3:] + writes[3])
            assert [(await answer(stream))[0] for _ in range(2)] == [204, 204]

    run(talk())
    assert asker.values("sum_over_time(up[5m])") == {"a": "6"}


def test_a_part_whose_rest_does_not_come_is_parsed(
    asker: Asker, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the deadlines of every request; the rest may come later."""
    monkeypatch.setattr(connection, "PARTS_SECONDS", 0.0)
    write = request(body_of(up("a", 1)))

    async def talk() -> None:
        async with senders(asker) as [stream]:
            assert (await ask(stream, write))[0] == 204
            stream[1].write(write[:-3])
            await until(lambda one: one._stage is connection._Stage.BODY)
            assert (await ask(stream, write[-3:]))[0] == 204
            assert taken.count == 0

    run(talk())


def test_a_round_waits_for_who_was_answered_just_before(
    asker: Asker, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins as soon as they have sent again."""
    monkeypatch.setattr(whole_writes, "GATHER_SECONDS", 1e6)
    may_sync = threading.Event()
    may_sync.set()
    monkeypatch.setattr(Files, "fdatasync", lambda files, fd: may_sync.wait(WAIT_S))

    async def talk() -> None:
        async with senders(asker, 2) as [one, other]:
            for stream in (one, other):
                assert (await ask(stream, request(body_of(at("a", 9, 1)))))[0] == 204
            may_sync.clear()
            for number, stream in enumerate((one, other)):
                stream[1].write(request(body_of(at("a", 8 - number, 1))))
                await until(lambda each: each._behind is not None, number + 1)
            may_sync.set()
            assert (await answer(one))[0] == 204
            assert (await ask(one, request(body_of(at("a", 6, 1)))))[0] == 204
            assert (await answer(other))[0] == 204

    run(talk())
    assert taken.rounds == [1, 2]


OTHERS = {
    "new series": (204, body_of(at("new", 1, 1.0))),
    "histograms": (204, body_of(up("a", 2), at("b", 0, 1.0))),
    "no snappy": (400, b"\xff\xff"),
    "no message": (400, encode.snappy(b"\x0a\xff")),
    "metadata": (204, encode.snappy(encode.metadata(1, b"up", b"text", b""))),
}


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_else_goes_the_usual_way(asker: Asker, taken: Taken, name: str) -> None:
    """And what comes behind it on the connection is taken again."""
    status, body = OTHERS[name]

    async def talk() -> None:
        async with senders(asker) as [stream]:
            assert (await ask(stream, request(body_of(at("a", 9, 1)))))[0] == 204
            assert (await ask(stream, request(body)))[0] == status
            assert taken.count == 0 and taken.left == 1
            assert (await ask(stream, request(body_of(at("a", 8, 1)))))[0] == 204
            assert taken.count == 1

    run(talk())


def test_what_comes_behind_a_write_waits_for_its_answer(asker: Asker, taken: Taken) -> None:
    """Requests without a pause between them, whole or in parts, are answered in their order."""
    writes = [request(body_of(at("a", 50 - step, step))) for step in range(4)]
    question = b"GET /api/v1/query?query=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"

    async def talk() -> None:
        async with senders(asker) as [stream]:
            assert (await ask(stream, writes[0]))[0] == 204
            for part in (writes[1], writes[2][:40]):
                stream[1].write(part)
                await asyncio.sleep(0)
            stream[1].write(writes[2][40:] + question)
            assert [(await answer(stream))[0] for _ in range(2)] == [204, 204]
            status, body = await answer(stream)
            assert (status, json.loads(body)["data"]["result"][1]) == (200, "1")
            assert (await ask(stream, writes[3][:70], writes[3][70:]))[0] == 204

    run(talk())
    assert asker.values("sum_over_time(up[5m])") == {"a": "6"}


@pytest.mark.parametrize("act", ["write", "fdatasync"])
def test_a_refusing_disk_is_503_for_all(
    asker: Asker, taken: Taken, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """Nothing of theirs is stored; the next writes are."""
    refuses = [False]
    usual: Callable[..., None] = getattr(Files, act)

    def refusing(files: Files, *arguments: Any) -> None:
        if refuses[0]:
            raise OSError(5, "input/output error")
        usual(files, *arguments)

    monkeypatch.setattr(Files, act, refusing)

    async def talk() -> None:
        async with senders(asker, 3) as streams:
            for stream in streams:
                assert (await ask(stream, request(body_of(at("a", 9, 1)))))[0] == 204
            refuses[0] = True
            for number, stream in enumerate(streams):
                stream[1].write(request(body_of(at("a", number, 1))))
            for stream in streams:
                status, text = await answer(stream)
                assert status == 503 and b"input/output error" in text
            refuses[0] = False
            assert (await ask(streams[0], request(body_of(at("a", 5, 1)))))[0] == 204

    run(talk())
    assert taken.count == 4
    assert asker.values("count_over_time(up[5m])") == {"a": "2"}


def test_an_unexpected_error_is_500(
    asker: Asker, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the connection goes on."""

    async def talk() -> None:
        async with senders(asker) as [stream]:
            assert (await ask(stream, request(body_of(at("a", 9, 1)))))[0] == 204
            with monkeypatch.context() as broken:
                broken.setattr(whole_writes, "read_known", lambda *rest: 1 // 0)
                assert (await ask(stream, request(body_of(at("a", 8, 1)))))[0] == 500
            assert (await ask(stream, request(body_of(at("a", 8, 1)))))[0] == 204

    run(talk())
    assert taken.count == 2


def test_a_key_that_is_revoked_is_not_let_in_again(
    make_asker: Callable[..., Asker], taken: Taken, tmp_path: Path
) -> None:
    """Though the same headers were admitted before."""
    keys = tmp_path / "keys"
    secret = create_key(keys, "t", Role.WRITE)
    asker = make_asker(keys_file=keys)
    headers = {"Authorization": f"Bearer {secret}"}

    async def talk() -> None:
        async with senders(asker) as [stream]:
            for step in range(3):
                body = body_of(at("a", 9 - step, 1))
                assert (await ask(stream, request(body, headers)))[0] == 204
            assert taken.count == 2
            revoke_key(keys, load_keys(keys)[0].id)
            asker.house.gate.keys.forget()  # type: ignore[attr-defined]
            assert (await ask(stream, request(body_of(at("a", 1, 1)), headers)))[0] == 401
            assert taken.count == 2

    run(talk())


def test_limits_of_requests_hold(
    make_asker: Callable[..., Asker], taken: Taken, tmp_path: Path
) -> None:
    """Where a tenant has any its writes are judged one by one."""
    limits = tmp_path / "limits.yml"
    limits.write_text("defaults: {max_samples_per_request: 2, ingestion_rate: 0}\n")
    asker = make_asker(limits_file=limits)

    async def talk() -> None:
        async with senders(asker) as [stream]:
            assert (await ask(stream, request(body_of(up("a", 1)))))[0] == 204
            assert (await ask(stream, request(body_of(up("a", 1, 1, 1)))))[0] == 400

    run(talk())
    assert taken.count == taken.left == 0


def test_a_shutdown_answers_what_is_on_its_way(asker: Asker, taken: Taken) -> None:
    """Then the connection ends."""
    made: list[Connection] = []
    begin = Connection._begin_write

    async def talk() -> None:
        async with senders(asker) as [stream]:
            assert (await ask(stream, request(body_of(at("a", 9, 1)))))[0] == 204
            assert (await ask(stream, request(body_of(at("a", 8, 1)))))[0] == 204
            assert (await asyncio.wait_for(stream[0].read(), WAIT_S)) == b""

    def begun(connection: Connection, data: bytes) -> bool:
        if began := begin(connection, data):
            made.append(connection)
            connection.shutdown()
        return began

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Connection, "_begin_write", begun)
        run(talk())
    assert taken.count == len(made) == 1


def test_a_sender_that_goes_away_is_no_matter(asker: Asker, taken: Taken) -> None:
    """What it has sent is stored, and others are answered."""

    async def talk() -> None:
        async with senders(asker, 2) as [stream, other]:
            for one in (stream, other):
                assert (await ask(one, request(body_of(at("a", 9, 1)))))[0] == 204
            stream[1].write(request(body_of(at("a", 8, 1))))
            await stream[1].drain()
            stream[1].close()
            assert (await ask(other, request(body_of(at("a", 7, 1)))))[0] == 204

    run(talk())
    assert asker.values("count_over_time(up[5m])")["a"] in ("2", "3")


@pytest.mark.parametrize(
    "head",
    [
        b"POST /api/v1/write HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n",
        b"POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        b"Content-Length: %d\r\n\r\n",
        b"POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n",
        b"POST /api/v1/write?a=b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n",
        b"POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: zstd\r\n"
        b"Content-Length: %d\r\n\r\n",
        b"POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nX: \r\n"
        b"Content-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request\r\n"
        b"Content-Length: %d\r\n\r\n",
    ],
)
def test_other_heads_are_not_learned(asker: Asker, head: bytes) -> None:
    """Of other versions, encodings, and ways to go on."""
    body = body_of(up("a", 1))
    data = head % len(body) + body
    headers = [
        (name.lower(), value.strip())
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    ]
    headers = [(name, b"%d" % len(body) if name == b"content-length" else value)
               for name, value in headers]  # fmt: skip
    scope = {"type": "http", "method": "POST", "path": "/api/v1/write", "headers": headers}
    assert asker.app.whole_writes.learn(scope, data) is None


def test_a_shutdown_ends_a_connection_whose_write_went_the_usual_way(
    make_asker: Callable[..., Asker], taken: Taken
) -> None:
    """Though it was answered at once, as where no sync is waited for."""
    asker = make_asker(wal_sync_ms=60_000)

    async def talk() -> None:
        async with senders(asker) as [stream]:
            for seconds in (10, 9, 8):
                assert await ask(stream, request(body_of(at("a", seconds, 1.0)))) == (204, b"")
            [one] = SERVERS[0].connections
            stream[1].write(request(body_of(at("new", 5, 1.0))))
            await until(lambda connection: connection._behind is not None)
            one.shutdown()
            assert await answer(stream) == (204, b"")
            assert await asyncio.wait_for(stream[0].read(), WAIT_S) == b""

    run(talk())
    assert taken.left == 1


@pytest.mark.parametrize("is_known", [True, False])
def test_an_answer_that_fails_does_not_stop_the_others(
    make_asker: Callable[..., Asker], monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """The tenant's next writes have their round, whatever became of one."""
    asker = make_asker()
    name = "answer_write" if is_known else "parse_write"
    usual, failed = getattr(Connection, name), list[Connection]()

    def fail_once(connection: Connection, *arguments: Any) -> Any:
        if failed:
            return usual(connection, *arguments)
        failed.append(connection)
        raise RuntimeError(name)

    async def talk() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        async with senders(asker, 2) as [one, other]:
            for at_s in (10, 9):
                for stream in (one, other):
                    sent = request(body_of(at("a" if stream is one else "b", at_s, 1.0)))
                    assert await ask(stream, sent) == (204, b"")
            monkeypatch.setattr(Connection, name, fail_once)
            one[1].write(request(body_of(at("a" if is_known else "new", 8, 1.0))))
            await until(lambda connection: bool(failed))
            assert await ask(other, request(body_of(at("b", 7, 1.0)))) == (204, b"")

    run(talk())
    assert len(failed) == 1
