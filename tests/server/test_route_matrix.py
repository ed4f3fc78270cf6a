"""Every route against every way to be somebody else; built from the table of routes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from server import app as app_module
from server.access.auth import Need
from server.access.keys import Role, create_key
from server.http import Response
from server.routes import ROUTES, Route, Router
from tests.server.conftest import Asker, concrete, up

OPEN_TO_ALL = {"/-/healthy", "/-/ready", "/ping"}
"""The only paths that may be answered without a key; what they say belongs to nobody."""
GUARDED = [
    (route, method) for route in ROUTES if route.path not in OPEN_TO_ALL for method in route.methods
]
SECRET = "only-acme-may-see-this"

HeaderList = list[tuple[str, str]]


@dataclass
class Town:
    """A server with the data of acme, and the keys of acme and globex by ``org/role``."""

    asker: Asker
    keys: dict[str, str]

    def ask(self, route: Route, method: str, headers: HeaderList) -> httpx.Response:
        sent = [(name.encode(), value.encode()) for name, value in headers]
        query = "query={job!=''}&match[]={job!=''}&start=0&end=1&step=1"
        return self.asker(method, f"{concrete(route.path)}?{query}", headers=sent)

    def bearer(self, key: str) -> tuple[str, str]:
        return "authorization", f"Bearer {self.keys[key]}"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    from server.access.auth import make_gate
    from server.house import House
    from server.settings import Settings
    from tests.server.conftest import NOW_MS

    # Being wrong a thousand times is what this is about; test_throttle.py has the slowing.
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("server.access.throttle.FREE_FAILURES", 10**9)

    root = tmp_path_factory.mktemp("town")
    path = root / "keys"
    keys = {
        f"{org}/{role.value}": create_key(path, org, role)
        for org in ("acme", "globex")
        for role in Role
    }
    keys["both/admin"] = create_key(path, ["acme", "globex"], Role.ADMIN)
    settings = Settings(data_dir=root / "data", keys_file=path)
    house = House.open(settings, make_gate(settings), lambda: NOW_MS)
    town = Town(Asker(app_module.App(house), house), keys)
    headers = dict([town.bearer("acme/write")])
    assert town.asker.write(up(SECRET, 1), headers=headers).status_code == 204
    yield town
    house.close()
    monkeypatch.undo()


def assert_closed(answer: httpx.Response, status: int) -> None:
    """Refused like everywhere, and nothing of acme's in the answer."""
    kinds = {401: "unauthorized", 403: "forbidden"}
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"status", "errorType", "error"}
    assert answer.json()["errorType"] == kinds[status]
    assert SECRET not in answer.text
    assert SECRET not in str(answer.headers)


def assert_guarded(town: Town, route: Route, method: str) -> None:
    """Nobody, strangers and spoofers learn nothing from the route."""
    key = town.keys["acme/admin"]
    strangers: list[HeaderList] = [
        [],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer hk-" + "x" * 43)],
        [("authorization", f"Bearer {key[:-1]}")],
        [("authorization", f"Bearer {key.upper()}")],
        [("authorization", f"Bearer {key} x")],
        [("authorization", f"Basic {key}")],
        [("authorization", key)],
        [("authorization", f"Bearer {key}"), ("authorization", f"Bearer {key}")],
        [("x-org-id", "acme")],
        [("x-scope-orgid", "acme"), ("x-api-key", key)],
        [("cookie", f"authorization=Bearer {key}")],
    ]
    texts = set()
    for headers in strangers:
        answer = town.ask(route, method, headers)
        if method != "HEAD":
            assert_closed(answer, 401)
            texts.add(answer.text)
        assert answer.status_code == 401
    assert len(texts) <= 1, "the reason must not show"
    for spoof in SPOOFS:
        answer = town.ask(route, method, [town.bearer("globex/admin"), *spoof])
        assert answer.status_code == 403, (spoof, answer.text)
        if method != "HEAD":
            assert_closed(answer, 403)


SPOOFS: list[HeaderList] = [
    [("x-org-id", "acme")],
    [("x-scope-orgid", "acme")],
    [("x-org-id", "globex"), ("x-scope-orgid", "acme")],
    [("x-org-id", "globex"), ("x-org-id", "acme")],
    [("x-org-id", "acme"), ("x-org-id", "globex")],
    [("x-org-id", "globex"), ("x-org-id", "globex")],
    [("X-ORG-ID", "globex"), ("x-org-id", "acme")],
    [("x-org-id", "globex,acme")],
    [("x-org-id", "globex|acme")],
    [("x-org-id", "")],
    [("x-org-id", "*")],
    [("x-org-id", "__all__")],
    [("x-org-id", "GLOBEX")],
    [("x-org-id", "../acme")],
    [("x-org-id", "globex/../acme")],
    [("x-org-id", "..%2facme")],
    [("x-org-id", "%61cme")],
    [("x-org-id", "glob\u00e9x")],
    [("x-org-id", "acme.")],
    [("x-org-id", "a" * 300)],
]


def test_what_needs_no_key() -> None:
    """Only the probes; a route that forgets its guard shows here."""
    assert {route.path for route in ROUTES if route.need is Need.NOTHING} == OPEN_TO_ALL


@pytest.mark.parametrize(
    ("route", "method"), GUARDED, ids=[f"{method} {route.path}" for route, method in GUARDED]
)
def test_every_route_is_guarded(town: Town, route: Route, method: str) -> None:
    """401 without a valid key, 403 for another's organization, never a foreign byte."""
    assert_guarded(town, route, method)


@pytest.mark.parametrize(
    ("route", "method"), GUARDED, ids=[f"{method} {route.path}" for route, method in GUARDED]
)
def test_another_organization_sees_nothing(town: Town, route: Route, method: str) -> None:
    """With its own key and its own name globex gets an answer without a byte of acme's."""
    for headers in ([], [("x-org-id", "globex")]):
        for role in Role:
            answer = town.ask(route, method, [town.bearer(f"globex/{role.value}"), *headers])
            assert SECRET not in answer.text
            assert answer.status_code < 500, answer.text


@pytest.mark.parametrize("path", ["/nothing", "/docs", "/openapi.json", "/api/v1/../metrics", "/"])
def test_paths_beyond_the_table_are_guarded(town: Town, path: str) -> None:
    """A stranger does not learn which paths exist."""
    assert_closed(town.asker.get(path), 401)


def test_acme_sees_its_own(town: Town) -> None:
    """The secret is there to be seen, so the other tests mean something."""
    answer = town.asker.get("/api/v1/series", dict([town.bearer("acme/read")]), **{"match[]": "up"})
    assert SECRET in answer.text
    both = [town.bearer("both/admin")]
    assert town.asker("GET", "/api/v1/labels", headers=both).status_code == 403
    named = [*both, ("x-org-id", "acme")]
    answer = town.asker("GET", "/api/v1/label/job/values", headers=named)
    assert answer.json()["data"] == [SECRET]


def test_a_route_without_the_check_fails_the_matrix(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The matrix itself: it complains of a route that forgot to ask for a key."""

    async def leak(call: object) -> Response:
        return Response(SECRET.encode())

    rogue = replace(ROUTES[0], path="/rogue", need=Need.NOTHING, handler=leak, hot=True)
    monkeypatch.setattr(town.asker.app, "_router", Router((*ROUTES, rogue)))
    with pytest.raises(AssertionError):
        assert_guarded(town, rogue, rogue.methods[0])


def test_roles_open_what_they_are_for(town: Town) -> None:
    """Reading, writing and administering need their role, on every route."""
    allowed = {
        Need.READ: {"read", "admin"},
        Need.WRITE: {"write", "admin"},
        Need.ADMIN: {"admin"},
        Need.ANY_KEY: {"read", "write", "admin"},
    }
    for route, method in GUARDED:
        for role in Role:
            answer = town.ask(route, method, [town.bearer(f"globex/{role.value}")])
            refused = answer.status_code in (401, 403)
            assert refused is (role.value not in allowed[route.need]), (route.path, role)


def test_a_bound_key_reads_and_writes_only_its_labels(
    make_asker: Callable[..., Asker], tmp_path: Path
) -> None:
    """Matchers of a key hold on writes, queries, series, labels and metadata alike."""
    from server.access.keys import parse_matcher

    path = tmp_path / "keys"
    admin = {"authorization": "Bearer " + create_key(path, "acme", Role.ADMIN)}
    matchers = [parse_matcher('job=~"a|b"')]
    bound = {"authorization": "Bearer " + create_key(path, "acme", Role.ADMIN, matchers)}
    asker = make_asker(keys_file=path)
    assert asker.write(up("a", 1), up("c", 3), headers=admin).status_code == 204
    answer = asker.write(up("b", 2), up("d", 4), headers=bound)
    assert answer.status_code == 400
    assert 'the key may only write job=~"a|b"' in answer.text
    assert asker.values("up", bound) == {"a": "1", "b": "2"}
    assert asker.values("count(up)", bound) == {"": "2"}
    assert asker.values("up", admin) == {"a": "1", "b": "2", "c": "3"}
    jobs = asker.get("/api/v1/label/job/values", bound).json()["data"]
    assert jobs == ["a", "b"]
    found = asker.get("/api/v1/series", bound, **{"match[]": "up"}).json()["data"]
    assert [one["job"] for one in found] == ["a", "b"]
    assert asker.get("/v1/admin/keys", bound).status_code == 403
