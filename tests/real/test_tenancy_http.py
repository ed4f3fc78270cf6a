"""Tenants and keys of a running server: who gets in, who is whom, and what leaves no trace."""

import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.processes import Process
from benchmarks.remote_write import HEADERS, write_body
from tests.harness import servers
from tests.harness.servers import Server
from tests.real.conftest import make_key

pytestmark = pytest.mark.server

FREE_ROUTES = ["/-/healthy", "/-/ready"]
QUERY_ROUTES = [
    "/v1/metrics/query?query=up",
    "/v1/metrics/query_range?query=up&start=0&end=10&step=5",
    "/v1/o11y/query?query=up",
    "/v1/o11y/query_range?query=up&start=0&end=10&step=5",
    "/api/v1/query?query=up",
    "/api/v1/query_range?query=up&start=0&end=10&step=5",
    "/api/v1/series?match[]=up",
    "/api/v1/labels",
    "/api/v1/label/job/values",
    "/api/v1/metadata",
]
OTHER_ROUTES = ["/api/v1/status/buildinfo", "/metrics", "/docs"]
MALFORMED_IDS = ["", ".", "..", "../x", "a/b", "a b", "a|b", "a,b", "%2e%2e", "x" * 65, "\xe9"]
COMMAND = "o11y keys create"


@pytest.fixture(scope="module")
def open_server(warm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without keys; its data lie in the directory named by ``data_of``."""
    home = tmp_path_factory.mktemp("open")
    with servers.start_o11y(home / "data", home / "server.log") as server:
        yield server


@pytest.fixture(scope="module")
def keyed(warm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Keyed"]:
    """A server with keys of two tenants."""
    home = tmp_path_factory.mktemp("keyed")
    file = home / "keys.json"
    made = {
        (tenant, role): make_key(file, tenant, role)
        for tenant in ("acme", "globex")
        for role in ("write", "read", "admin")
    }
    with servers.start_o11y(home / "data", home / "server.log", "--keys", str(file)) as server:
        yield Keyed(server, file, made)


class Keyed:
    """A server with keys: its key file, and a key for every (tenant, role)."""

    def __init__(self, server: Server, file: Path, made: dict[tuple[str, str], str]) -> None:
        self.server, self.file, self.made = server, file, made
        self.client = client(server)

    def key(self, tenant: str, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.made[tenant, role]}"}


Headers = dict[str, str] | list[tuple[str, str]]


def client(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=30, trust_env=False)


def data_of(server: Server) -> Path:
    """The data directory a server was started with."""
    argv = server.process.argv
    return Path(argv[argv.index("--data") + 1])


def directories(server: Server) -> set[Path]:
    """Those that a tenant's name could have made; the server's own work makes none of them."""
    data = data_of(server)
    return {path for root in (data, data / "tenants") for path in root.glob("*") if path.is_dir()}


def write(
    http: httpx.Client, headers: Headers, value: float = 1, name: str = "seen"
) -> httpx.Response:
    """Writes one sample of now."""
    body = write_body([({"__name__": name}, [(int(time.time() * 1000), value)])])
    sent = [*HEADERS.items(), *(headers.items() if isinstance(headers, dict) else headers)]
    return http.post("/api/v1/write", content=body, headers=sent)


def values(http: httpx.Client, headers: Headers, query: str = "seen") -> list[float]:
    """The values of an instant query now."""
    answer = http.get("/api/v1/query", params={"query": query}, headers=headers)
    assert answer.status_code == 200, answer.text
    return [float(row["value"][1]) for row in answer.json()["data"]["result"]]


def assert_refused(answer: httpx.Response, status: int) -> None:
    """An error in Prometheus' shape with the error type that belongs to *status*."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    kind = {400: "bad_data", 401: "unauthorized", 403: "forbidden"}[status]
    assert answer.json()["status"] == "error"
    assert answer.json()["errorType"] == kind
    assert answer.json()["error"]


# ------------------------------------------------------------------------------- with keys


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer hk-unknown"}])
@pytest.mark.parametrize("path", QUERY_ROUTES + OTHER_ROUTES)
def test_every_route_wants_a_key(keyed: Keyed, path: str, headers: dict[str, str]) -> None:
    """Without a key, or with an unknown one, every route but two answers 401."""
    assert_refused(keyed.client.get(path, headers=headers), 401)


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer hk-", "hk-unknown", "Basic aGs6eA==", "Bearer \xe9"],
)
def test_a_malformed_authorization_is_no_key(keyed: Keyed, authorization: str) -> None:
    """Whatever is no bearer key counts as none."""
    headers = [(b"Authorization", authorization.encode("latin-1"))]
    answer = keyed.client.get("/api/v1/query", params={"query": "up"}, headers=headers)
    assert_refused(answer, 401)


def test_a_write_wants_a_key(keyed: Keyed) -> None:
    """Nobody writes anonymously, whatever tenant the headers name."""
    assert_refused(write(keyed.client, {}), 401)
    assert_refused(write(keyed.client, {"X-Org-Id": "acme"}), 401)
    assert_refused(write(keyed.client, {"Authorization": "Bearer hk-unknown"}), 401)


@pytest.mark.parametrize("path", FREE_ROUTES)
def test_health_needs_no_key(keyed: Keyed, path: str) -> None:
    """Probes get their answer without a key."""
    assert keyed.client.get(path).status_code == 200


def test_a_key_names_its_tenant(keyed: Keyed) -> None:
    """What one tenant's key writes, only that tenant's keys read."""
    assert write(keyed.client, keyed.key("acme", "write"), 1, "owned").status_code == 204
    assert write(keyed.client, keyed.key("globex", "admin"), 2, "owned").status_code == 204
    assert values(keyed.client, keyed.key("acme", "read"), "owned") == [1]
    assert values(keyed.client, keyed.key("globex", "read"), "owned") == [2]
    assert values(keyed.client, keyed.key("acme", "admin"), "owned") == [1]


@pytest.mark.parametrize("path", QUERY_ROUTES)
def test_a_write_key_reads_nothing(keyed: Keyed, path: str) -> None:
    """write is for ingest only; read and admin ask every query route."""
    assert_refused(keyed.client.get(path, headers=keyed.key("acme", "write")), 403)
    for role in ("read", "admin"):
        assert keyed.client.get(path, headers=keyed.key("acme", role)).status_code == 200


def test_a_read_key_writes_nothing(keyed: Keyed) -> None:
    """read cannot ingest."""
    assert_refused(write(keyed.client, keyed.key("acme", "read"), 9, "unwritten"), 403)
    assert values(keyed.client, keyed.key("acme", "read"), "unwritten") == []


@pytest.mark.parametrize("name", ["X-Org-Id", "X-Scope-OrgID"])
def test_a_header_may_only_assert_the_tenant(keyed: Keyed, name: str) -> None:
    """The key's own tenant passes; another tenant's is 403, reading and writing."""
    reader, writer = keyed.key("acme", "read"), keyed.key("acme", "write")
    query = {"query": "up"}
    same, other = {name: "acme"}, {name: "globex"}
    http = keyed.client
    assert http.get("/api/v1/query", params=query, headers=reader | same).status_code == 200
    assert write(http, writer | same, 1, "asserted").status_code == 204
    assert_refused(http.get("/api/v1/query", params=query, headers=reader | other), 403)
    assert_refused(write(http, writer | other, 1, "asserted"), 403)


@pytest.mark.parametrize("tenant", [*MALFORMED_IDS, "ACME", "Acme", "__all__"])
def test_with_keys_a_wrong_header_is_forbidden(keyed: Keyed, tenant: str) -> None:
    """Malformed names are as forbidden as another tenant's."""
    headers = [*keyed.key("acme", "read").items(), ("X-Org-Id", tenant)]
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    answer = keyed.client.get("/api/v1/query", params={"query": "up"}, headers=raw)
    assert_refused(answer, 403)


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Org-Id", "acme"), ("X-Scope-OrgID", "globex")],
        [("X-Org-Id", "acme"), ("X-Org-Id", "globex")],
        [("X-Org-Id", "acme"), ("X-Org-Id", "acme")],
    ],
)
def test_with_keys_repeated_or_disagreeing_headers_are_forbidden(
    keyed: Keyed, headers: list[tuple[str, str]]
) -> None:
    """Two statements about the tenant are one too many."""
    sent = [*keyed.key("acme", "read").items(), *headers]
    answer = keyed.client.get("/api/v1/query", params={"query": "up"}, headers=sent)
    assert_refused(answer, 403)


def test_a_new_key_works_within_a_second(keyed: Keyed) -> None:
    """A running server sees a key made while it runs."""
    made = {"Authorization": f"Bearer {make_key(keyed.file, 'initech', 'admin')}"}
    deadline = time.monotonic() + 1
    while (answer := write(keyed.client, made)).status_code == 401 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert answer.status_code == 204, answer.text
    assert values(keyed.client, made) == [1]
    assert values(keyed.client, keyed.key("acme", "read"), "up") == []


def test_the_key_file_is_private_and_holds_no_key(keyed: Keyed) -> None:
    """Mode 0600, and only hashes inside."""
    assert stat.S_IMODE(keyed.file.stat().st_mode) == 0o600
    text = keyed.file.read_text()
    for key in keyed.made.values():
        assert key not in text
        assert key.removeprefix("hk-") not in text


def test_keys_never_reach_the_output(keyed: Keyed) -> None:
    """The server's output names no key."""
    for key in keyed.made.values():
        assert key not in keyed.server.process.output


@pytest.mark.parametrize("content", [None, ""], ids=["missing", "empty"])
def test_no_keys_yet_is_not_open_mode(warm: None, tmp_path: Path, content: str | None) -> None:
    """--keys with a missing or empty file starts and answers 401, until a key is made."""
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_text(content)
    with (
        servers.start_o11y(tmp_path / "data", tmp_path / "log", "--keys", str(file)) as server,
        client(server) as http,
    ):
        assert_refused(write(http, {}), 401)
        assert_refused(write(http, {"X-Org-Id": "default"}), 401)
        assert_refused(http.get("/api/v1/query", params={"query": "up"}), 401)
        made = {"Authorization": f"Bearer {make_key(file, 'acme', 'admin')}"}
        deadline = time.monotonic() + 1
        while write(http, made).status_code == 401 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert values(http, made) == [1]


def test_a_corrupt_key_file_ends_the_start(warm: None, tmp_path: Path) -> None:
    """Exit 1, naming the file."""
    file = tmp_path / "keys.json"
    file.write_text('{"keys": [')
    code, output = run_serve(tmp_path, "--listen", "127.0.0.1:0", "--keys", str(file))
    assert code == 1
    assert file.name in output


# ---------------------------------------------------------------------------- without keys


def test_the_header_picks_the_tenant(open_server: Server) -> None:
    """Each of both headers, or both agreeing; none means the tenant "default"."""
    with client(open_server) as http:
        assert write(http, {}, 1, "picked").status_code == 204
        assert write(http, {"X-Org-Id": "acme"}, 2, "picked").status_code == 204
        assert write(http, {"X-Scope-OrgID": "globex"}, 3, "picked").status_code == 204
        both = {"X-Org-Id": "acme", "X-Scope-OrgID": "acme"}
        assert values(http, {}, "picked") == [1]
        assert values(http, {"X-Org-Id": "default"}, "picked") == [1]
        assert values(http, {"X-Scope-OrgID": "acme"}, "picked") == [2]
        assert values(http, both, "picked") == [2]
        assert values(http, {"X-Org-Id": "globex"}, "picked") == [3]


@pytest.mark.parametrize("tenant", MALFORMED_IDS)
def test_malformed_tenants_are_refused(open_server: Server, tenant: str) -> None:
    """400 for whatever is no tenant's name, and no directory."""
    raw = [(b"X-Org-Id", tenant.encode("latin-1"))]
    before = directories(open_server)
    with client(open_server) as http:
        assert_refused(http.get("/api/v1/query", params={"query": "up"}, headers=raw), 400)
        body = write_body([({"__name__": "seen"}, [(int(time.time() * 1000), 1)])])
        sent = [*((n.encode(), v.encode()) for n, v in HEADERS.items()), *raw]
        assert http.post("/api/v1/write", content=body, headers=sent).status_code == 400
    assert directories(open_server) == before


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Org-Id", "acme"), ("X-Scope-OrgID", "globex")],
        [("X-Org-Id", "acme"), ("X-Org-Id", "globex")],
        [("X-Org-Id", "acme"), ("X-Org-Id", "acme")],
        [("X-Scope-OrgID", "acme"), ("X-Scope-OrgID", "acme")],
    ],
)
def test_repeated_or_disagreeing_headers_are_refused(
    open_server: Server, headers: list[tuple[str, str]]
) -> None:
    """400: the server does not choose between two statements."""
    with client(open_server) as http:
        answer = http.get("/api/v1/query", params={"query": "up"}, headers=headers)
        assert_refused(answer, 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "metrics.example.org"},
        {"Host": "localhost.example.org"},
        {"Host": "127.0.0.1.example.org:9090"},
        {"Host": "192.0.2.7"},
        {"Forwarded": "for=192.0.2.60"},
        {"X-Forwarded-For": "192.0.2.60"},
        {"X-Forwarded-For": "127.0.0.1"},
    ],
)
def test_open_mode_answers_the_machine_alone(open_server: Server, headers: dict[str, str]) -> None:
    """Proxied requests, or ones for another host name, get 403 and the command that helps."""
    with client(open_server) as http:
        answer = http.get("/api/v1/query", params={"query": "up"}, headers=headers)
        assert_refused(answer, 403)
        assert COMMAND in answer.json()["error"]
        assert write(http, headers).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:9090", "127.0.0.1:1", "[::1]:9090"])
def test_loopback_names_are_welcome(open_server: Server, host: str) -> None:
    """Every usual name of this machine's loopback passes."""
    with client(open_server) as http:
        answer = http.get("/api/v1/query", params={"query": "up"}, headers={"Host": host})
        assert answer.status_code == 200


def test_reading_an_unknown_tenant_leaves_no_trace(open_server: Server) -> None:
    """An empty success on every query route, and nothing new on disk."""
    with client(open_server) as http:
        assert write(http, {}).status_code == 204
        before = directories(open_server)
        for path in QUERY_ROUTES:
            answer = http.get(path, headers={"X-Org-Id": "nobody-yet"})
            assert answer.status_code == 200, answer.text
            data = answer.json()["data"]
            assert data in ([], {}) or data["result"] == []
        refused = http.post(
            "/api/v1/write", content=b"\xff\xff", headers=HEADERS | {"X-Org-Id": "nobody-yet"}
        )
        assert refused.status_code == 400
        assert directories(open_server) == before


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"])
def test_open_mode_listens_on_loopback_only(warm: None, tmp_path: Path, listen: str) -> None:
    """Any other address is refused with the command that makes a key."""
    code, output = run_serve(tmp_path, "--listen", listen)
    assert code != 0
    assert COMMAND in " ".join(output.split())


def test_ipv6_loopback_works(warm: None, tmp_path: Path) -> None:
    """--listen [::1]:0 serves, and prints the real port."""
    with (
        servers.start_o11y(tmp_path / "data", tmp_path / "log", listen="[::1]:0") as server,
        client(server) as http,
    ):
        assert re.fullmatch(r"http://\[::1\]:\d+", server.url)
        assert write(http, {}).status_code == 204
        assert values(http, {}) == [1]


def test_two_hundred_tenants_in_one_process(warm: None, tmp_path: Path) -> None:
    """Each of 200 tenants reads its own sample, and again after a restart."""
    tenants = [f"tenant-{number}" for number in range(200)]
    wanted = [[float(number)] for number in range(200)]
    for turn in ("first", "second"):
        with (
            servers.start_o11y(tmp_path / "data", tmp_path / f"{turn}.log") as server,
            client(server) as http,
        ):
            if turn == "first":
                for number, tenant in enumerate(tenants):
                    answer = write(http, {"X-Org-Id": tenant}, number)
                    assert answer.status_code == 204, answer.text
            assert [values(http, {"X-Org-Id": tenant}) for tenant in tenants] == wanted
            assert server.process.terminate() == 0


def run_serve(home: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of an ``o11y serve`` that must end by itself."""
    argv = [str(servers.O11Y), "serve", "--data", str(home / "data"), *arguments]
    with Process(argv, home / "serve.log") as process:
        deadline = time.monotonic() + servers.READY_S
        while process.running and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not process.running, f"still serves:\n{process.output}"
        return process.terminate(), process.output
