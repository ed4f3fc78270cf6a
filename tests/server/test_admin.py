"""Administration over HTTP: organizations, keys, limits, usage, each within its bounds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from server.access.keys import Role, create_key
from tests.server.conftest import Asker, up

Headers = dict[str, str]


def bearer(key: str) -> Headers:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def town(make_asker: Callable[..., Asker], tmp_path: Path) -> tuple[Asker, Headers, Headers]:
    """A server with data of acme and globex, the admin of acme, and the admin of all."""
    path = tmp_path / "keys"
    acme = bearer(create_key(path, "acme", Role.ADMIN))
    every = bearer(create_key(path, "*", Role.ADMIN))
    limits = tmp_path / "limits.yml"
    limits.write_text("tenants:\n  acme: {ingestion_rate: 7}\n  globex: {ingestion_rate: 8}\n")
    asker = make_asker(keys_file=path, limits_file=limits)
    for org in ("acme", "globex"):
        assert asker.write(up("a", 1), headers={**every, "x-org-id": org}).status_code == 204
    return asker, acme, every


def test_an_admin_sees_its_own_organizations(town: tuple[Asker, Headers, Headers]) -> None:
    """Of orgs, keys, limits and usage; the admin of all sees all."""
    asker, acme, every = town
    for headers, orgs in ((acme, ["acme"]), (every, ["acme", "globex"])):
        found = asker.get("/v1/admin/orgs", headers).json()["data"]
        assert [one["org"] for one in found] == orgs
        assert list(asker.get("/v1/admin/usage", headers).json()["data"]) == orgs
        limits = asker.get("/v1/admin/limits", headers).json()["data"]
        assert list(limits["orgs"]) == orgs
        assert limits["defaults"]["max_label_names_per_series"] == 30
    assert len(asker.get("/v1/admin/keys", acme).json()["data"]) == 1
    assert len(asker.get("/v1/admin/keys", every).json()["data"]) == 2
    usage = asker.get("/v1/admin/usage", acme).json()["data"]["acme"]
    assert (usage["series"], usage["max_series"]) == (1, 150_000)
    assert asker.get("/v1/admin/usage", {**acme, "x-org-id": "globex"}).status_code == 403


def test_keys_are_made_used_and_revoked(town: tuple[Asker, Headers, Headers]) -> None:
    """At once; the secret shows in one answer only."""
    asker, acme, _ = town
    made = asker("POST", "/v1/admin/keys", headers=acme, json={"orgs": ["acme"], "role": "read"})
    assert made.status_code == 200, made.text
    secret, key_id = made.json()["data"]["key"], made.json()["data"]["id"]
    assert asker.values("up", bearer(secret)) == {"a": "1"}
    listed = asker.get("/v1/admin/keys", acme)
    assert key_id in listed.text and secret not in listed.text
    revoked = asker("DELETE", f"/v1/admin/keys/{key_id}", headers=acme)
    assert revoked.status_code == 200 and secret not in revoked.text
    assert asker.get("/api/v1/labels", bearer(secret)).status_code == 401
    assert asker("DELETE", f"/v1/admin/keys/{key_id}", headers=acme).status_code == 404
    assert key_id not in asker.get("/v1/admin/keys", acme).text


def test_bound_keys_can_be_made(town: tuple[Asker, Headers, Headers]) -> None:
    """With label matchers; they hold."""
    asker, acme, _ = town
    asked = {"org": "acme", "role": "read", "matchers": ['job="b"']}
    made = asker("POST", "/v1/admin/keys", headers=acme, json=asked).json()["data"]
    assert made["matchers"] == ['job="b"']
    assert asker.values("up", bearer(made["key"])) == {}


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"orgs": ["globex"], "role": "read"}, 403),
        ({"orgs": ["acme", "globex"], "role": "read"}, 403),
        ({"orgs": ["*"], "role": "admin"}, 403),
        ({"orgs": [], "role": "read"}, 400),
        ({"orgs": "acme", "role": "read"}, 400),
        ({"orgs": ["../acme"], "role": "read"}, 400),
        ({"orgs": ["acme"], "role": "king"}, 400),
        ({"orgs": ["acme"], "role": "read", "matchers": ["oops"]}, 400),
        ({"orgs": ["acme"], "role": "read", "matchers": [1]}, 400),
        ({"orgs": [1], "role": "read"}, 400),
        ({"orgs": ["acme"]}, 400),
        ([], 400),
        (None, 400),
    ],
)
def test_nobody_makes_keys_beyond_its_own(
    town: tuple[Asker, Headers, Headers], asked: object, status: int
) -> None:
    """Neither for others, nor for all, nor nonsense."""
    asker, acme, every = town
    answer = asker("POST", "/v1/admin/keys", headers=acme, json=asked)
    assert (answer.status_code, "hk-" in answer.text) == (status, False), answer.text
    assert len(asker.get("/v1/admin/keys", every).json()["data"]) == 2


def test_nobody_revokes_keys_of_others(town: tuple[Asker, Headers, Headers]) -> None:
    """A key that opens more than the asker's organizations is not there for it."""
    asker, acme, every = town
    ids = {one["orgs"][0]: one["id"] for one in asker.get("/v1/admin/keys", every).json()["data"]}
    assert asker("DELETE", f"/v1/admin/keys/{ids['*']}", headers=acme).status_code == 404
    assert asker.get("/v1/admin/orgs", every).status_code == 200


def test_an_open_server_has_no_keys(asker: Asker) -> None:
    """The rest may be asked from this machine."""
    assert asker.write(up("a", 1)).status_code == 204
    assert asker.get("/v1/admin/keys").status_code == 404
    assert asker.get("/v1/admin/orgs").json()["data"] == [{"org": "default"}]
