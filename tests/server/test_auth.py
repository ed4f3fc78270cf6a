"""Who gets in: every route against open mode, keys, roles and headers."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from server.access.auth import KeyGate, Need
from server.access.keys import Role, create_key, revoke_key
from server.routes import ROUTES, Route
from server.settings import is_loopback, parse_features, parse_listen
from tests.server.conftest import Asker, concrete, up

FREE = [route for route in ROUTES if route.need is Need.NOTHING]
GUARDED = [route for route in ROUTES if route.need is not Need.NOTHING]
COMMAND = "o11y keys create"


def ask(
    asker: Asker, route: Route, headers: dict[str, str] | list[tuple[str, str]]
) -> httpx.Response:
    return asker(route.methods[0], concrete(route.path), headers=headers)


def assert_refused(answer: httpx.Response, status: int) -> None:
    kind = {400: "bad_data", 401: "unauthorized", 403: "forbidden"}[status]
    assert (answer.status_code, answer.json()["errorType"]) == (status, kind), answer.text


@pytest.fixture
def keyed(
    make_asker: Callable[..., Asker], tmp_path: Path
) -> tuple[Asker, dict[str, dict[str, str]]]:
    """A server with keys, and the header for ``tenant/role``."""
    path = tmp_path / "keys"
    bearers = {}
    for tenant in ("acme", "globex"):
        for role in Role:
            key = create_key(path, tenant, role)
            bearers[f"{tenant}/{role.value}"] = {"authorization": f"Bearer {key}"}
    return make_asker(keys_file=path), bearers


def test_the_routes_that_need_no_key() -> None:
    """Only the probes."""
    assert {route.path for route in FREE} == {"/-/healthy", "/-/ready", "/ping"}


def test_every_guarded_route_wants_a_key(
    keyed: tuple[Asker, dict[str, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """401 without, with an unknown and with a malformed key, also where there is no route."""
    # So many failures would be slowed, which is test_throttle.py's.
    monkeypatch.setattr("server.access.throttle.FREE_FAILURES", 10**9)
    asker, bearers = keyed
    key = bearers["acme/admin"]["authorization"]
    for headers in (
        {},
        {"authorization": "Bearer hk-x"},
        {"authorization": key.replace("Bearer", "Basic")},
        [("authorization", key), ("authorization", key)],
        {"x-org-id": "acme"},
    ):
        for route in GUARDED:
            assert_refused(ask(asker, route, headers), 401)
        for path in ("/nothing", "/docs", "/openapi.json"):
            assert_refused(asker.get(path, headers), 401)
    for route in FREE:
        assert ask(asker, route, {}).is_success


def test_roles(keyed: tuple[Asker, dict[str, dict[str, str]]]) -> None:
    """write keys only write, read keys only read, admin keys do both."""
    asker, bearers = keyed
    for route in GUARDED:
        if route.need is Need.READ:
            assert_refused(ask(asker, route, bearers["acme/write"]), 403)
        if route.need is Need.WRITE:
            assert_refused(ask(asker, route, bearers["acme/read"]), 403)
        roles = {Need.WRITE: ["write", "admin"], Need.ADMIN: ["admin"]}
        for role in roles.get(route.need, ["read", "admin"]):
            assert ask(asker, route, bearers[f"acme/{role}"]).status_code not in (401, 403)


def test_the_key_names_the_tenant(keyed: tuple[Asker, dict[str, dict[str, str]]]) -> None:
    """Headers may repeat it and nothing else."""
    asker, bearers = keyed
    assert asker.write(up("a", 1), headers=bearers["acme/write"]).status_code == 204
    assert asker.values("up", bearers["acme/read"]) == {"a": "1"}
    assert asker.values("up", bearers["globex/read"]) == {}
    same = {**bearers["acme/read"], "x-org-id": "acme", "x-scope-orgid": "acme"}
    assert asker.values("up", same) == {"a": "1"}
    for extra in (
        [("x-org-id", "globex")],
        [("x-scope-orgid", "globex")],
        [("x-org-id", "acme"), ("x-org-id", "acme")],
        [("x-org-id", "acme"), ("x-scope-orgid", "globex")],
        [("x-org-id", "")],
        [("x-org-id", "../acme")],
        [("x-org-id", "ACME")],
    ):
        for route in GUARDED:
            headers = [*bearers["acme/admin"].items(), *extra]
            assert_refused(ask(asker, route, headers), 403)


def test_a_key_works_through_a_proxy(keyed: tuple[Asker, dict[str, dict[str, str]]]) -> None:
    """With keys neither Host nor proxy headers matter."""
    asker, bearers = keyed
    headers = {
        **bearers["acme/read"],
        "host": "metrics.example.org",
        "x-forwarded-for": "192.0.2.1",
    }
    assert asker.get("/api/v1/labels", headers).status_code == 200


def test_without_keys_the_header_picks_the_tenant(asker: Asker) -> None:
    """``default`` where none is named; an unknown tenant is empty."""
    assert asker.write(up("a", 1)).status_code == 204
    assert asker.write(up("b", 2), headers={"x-scope-orgid": "acme"}).status_code == 204
    assert asker.values("up") == asker.values("up", {"x-org-id": "default"}) == {"a": "1"}
    assert asker.values("up", {"x-org-id": "acme"}) == {"b": "2"}
    assert asker.values("up", {"x-org-id": "nobody"}) == {}


@pytest.mark.parametrize(
    "headers",
    [
        [("x-org-id", "a"), ("x-org-id", "a")],
        [("x-org-id", "a"), ("x-scope-orgid", "b")],
        [("x-org-id", "")],
        [("x-org-id", "..")],
        [("x-scope-orgid", "a|b")],
    ],
)
def test_without_keys_bad_headers_are_400(asker: Asker, headers: list[tuple[str, str]]) -> None:
    """Malformed, repeated and disagreeing ones, on every route."""
    for route in GUARDED:
        assert_refused(ask(asker, route, headers), 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "metrics.example.org"},
        {"host": "127.0.0.1.example.org:9090"},
        {"host": "192.0.2.7"},
        {"host": ""},
        {"host": "[::1"},
        {"host": "localhost:x"},
        {"forwarded": "for=127.0.0.1"},
        {"x-forwarded-for": "127.0.0.1"},
        {"x-real-ip": "127.0.0.1"},
        {"via": "1.1 proxy"},
        [("host", "localhost"), ("host", "example.org")],
        {"origin": "https://example.org"},
        {"origin": "http://localhost.example.org:9090"},
        {"origin": "http://127.0.0.1@example.org"},
        {"origin": "null"},
        {"origin": ""},
        [("origin", "http://localhost:3000"), ("origin", "https://example.org")],
        {"origin": "https://example.org", "sec-fetch-mode": "navigate"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ],
)
def test_open_mode_serves_this_machine_alone(
    asker: Asker, headers: dict[str, str] | list[tuple[str, str]]
) -> None:
    """Foreign names, pages and proxies get 403 and the command that makes a key; probes pass."""
    for route in GUARDED:
        answer = ask(asker, route, headers)
        assert_refused(answer, 403)
        assert COMMAND in answer.json()["error"]
    for route in FREE:
        assert ask(asker, route, headers).status_code in (200, 204)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.:9090", "127.0.0.1:1", "127.1.2.3", "[::1]", "[::1]:9090"]
)
def test_loopback_hosts_pass(asker: Asker, host: str) -> None:
    """Every name of loopback, with and without port."""
    assert asker.get("/api/v1/labels", {"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
        {"origin": "http://[::1]:3000"},
        {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
def test_pages_of_this_machine_and_links_pass(asker: Asker, headers: dict[str, str]) -> None:
    """A page of this machine may ask, and anybody may link here; no page gets to read more."""
    answer = asker.get("/api/v1/labels", headers)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_keys_are_enough_for_any_page(
    keyed: tuple[Asker, dict[str, dict[str, str]]],
) -> None:
    """With keys the key decides: a page cannot know one that its user did not give it."""
    asker, bearers = keyed
    headers = {**bearers["acme/read"], "origin": "https://example.org", "host": "o11y.example.org"}
    assert asker.get("/api/v1/labels", headers).status_code == 200


def test_reading_an_unknown_tenant_leaves_no_trace(asker: Asker) -> None:
    """No query route and no refused write makes anything on disk."""
    assert asker.write(up("a", 1)).status_code == 204
    data = asker.house.settings.data_dir
    before = sorted(data.glob("tenants/*"))
    nobody = {"x-org-id": "nobody"}
    for route in GUARDED:
        ask(asker, route, nobody)
    assert asker.write_body(b"\xff", nobody).status_code == 400
    assert asker.write(headers=nobody).status_code == 204
    assert sorted(data.glob("tenants/*")) == before
    assert not (data / "snapshots").exists()


def test_listen_addresses() -> None:
    """Names, addresses and bracketed IPv6; nonsense is refused."""
    assert parse_listen("127.0.0.1:0") == ("127.0.0.1", 0)
    assert parse_listen("[::1]:9090") == ("::1", 9090)
    assert parse_listen("localhost:1") == ("localhost", 1)
    for bad in ("9090", ":9090", "::1:9090", "a:", "a:x", "a:65536", "a:-1", "a:²"):
        with pytest.raises(ValueError, match=r"port|HOST|brackets"):
            parse_listen(bad)


def test_loopback_names() -> None:
    """Only what is this machine by definition."""
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.8.8", "::1", "Localhost.")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "example.org", "10.0.0.1", "127.1.x")))


def test_features() -> None:
    """Known flags are taken, those that are always on accepted, others reported."""
    features, unknown = parse_features("promql-delayed-name-removal, utf8-names,nonsense,")
    assert features == {"promql-delayed-name-removal"}
    assert unknown == ["nonsense"]


def test_what_was_admitted_once_opens_nothing_else(asker: Asker) -> None:
    """The open server judges other headers, and another organization's, anew."""
    for _ in range(2):
        assert asker.get("/api/v1/query", query="1").status_code == 200
        assert asker.get("/api/v1/query", {"via": "x"}, query="1").status_code == 403
        assert asker.get("/api/v1/query", {"x-org-id": "a/b"}, query="1").status_code == 400
    asker.write(up("a", 1), headers={"x-org-id": "one"})
    for _ in range(2):
        assert asker.values("up", {"x-org-id": "one"}) == {"a": "1"}
        assert asker.values("up") == asker.values("up", {"x-org-id": "two"}) == {}


def test_a_head_that_was_admitted_opens_no_more_than_its_key(
    make_asker: Callable[..., Asker], tmp_path: Path
) -> None:
    """What is remembered of it ends with the key, and holds for one need only."""
    path = tmp_path / "keys"
    bearer = {"authorization": f"Bearer {create_key(path, 'acme', Role.READ)}"}
    asker = make_asker(keys_file=path)
    gate = asker.house.gate
    assert isinstance(gate, KeyGate)
    for _ in range(3):
        assert asker.get("/api/v1/query", bearer, query="1").status_code == 200
        assert asker.get("/v1/admin/usage", bearer).status_code == 403
    revoke_key(path, gate.keys.all()[0].id)
    gate.keys.forget()
    failures = gate.throttle.failures
    for _ in range(3):
        assert asker.get("/api/v1/query", bearer, query="1").status_code == 401
    assert gate.throttle.failures == failures + 3
