"""Administration of data over HTTP: delete, clean, snapshot, as Prometheus answers."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.access.keys import Role, create_key, parse_matcher
from tests.server.conftest import NOW_MS, Asker, up
from tsdb.db import DbOptions
from tsdb.store import Store

BASE = "/api/v1/admin/tsdb"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_deleted_samples_are_gone_at_once(asker: Asker) -> None:
    """204; only samples of the selectors within the times are hidden; later ones are new."""
    assert asker.write(up("a", 1, 2, 3), up("b", 1, 2, 3)).status_code == 204

    deleted = asker.post(
        f"{BASE}/delete_series", **{"match[]": 'up{job="a"}', "start": str(NOW_MS / 1000 - 1)}
    )

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert asker.values("count_over_time(up[1h])") == {"a": "2", "b": "3"}
    assert asker.write(up("a", 9)).status_code == 204
    assert asker.values("up") == {"a": "9", "b": "3"}
    cleaned = asker("PUT", f"{BASE}/clean_tombstones")
    assert (cleaned.status_code, cleaned.content) == (204, b"")
    assert asker.values("count_over_time(up[1h])") == {"a": "3", "b": "3"}


def test_a_put_takes_a_form_too(asker: Asker) -> None:
    """Its body counts, and several selectors are each deleted."""
    asker.write(up("a", 1), up("b", 1), up("c", 1))
    form = {"match[]": ['up{job="a"}', 'up{job="b"}']}

    assert asker("PUT", f"{BASE}/delete_series", data=form).status_code == 204
    assert asker.values("up") == {"c": "1"}


def test_a_snapshot_is_named_and_can_be_opened(asker: Asker, tmp_path: Path) -> None:
    """The name is Prometheus' kind of name; the directory holds the tenant."""
    asker.write(up("a", 1, 2, 3))

    answer = asker.post(f"{BASE}/snapshot")

    name = answer.json()["data"]["name"]
    assert answer.json() == {"status": "success", "data": {"name": name}}
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{16}", name)
    made = tmp_path / "data" / "snapshots" / name
    assert "o11y_snapshots_total 1.0" in asker.get("/metrics").text
    store = Store.open(made, DbOptions(retention_ms=0), lambda: NOW_MS)
    db = store.tenant("default")
    assert db is not None and db.stats().head_samples == 3
    store.close()


@pytest.mark.parametrize(
    ("path", "form", "text"),
    [
        ("delete_series", {}, "no match[] parameter provided"),
        (
            "delete_series",
            {"match[]": "up[5m]"},
            "invalid parameter \"match[]\": 1:1: parse error: 'up[5m]' is not a series selector",
        ),
        (
            "delete_series",
            {"match[]": "up", "start": "x"},
            "invalid parameter \"start\": invalid time value for 'start': "
            'cannot parse "x" to a valid timestamp',
        ),
        (
            "delete_series",
            {"match[]": '{a=~".*"}'},
            'invalid parameter "match[]": match[] must contain at least one non-empty matcher',
        ),
        (
            "snapshot",
            {"skip_head": "maybe"},
            'invalid parameter "skip_head": unable to parse boolean: '
            'strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
    ],
)
def test_bad_parameters_are_refused_in_prometheus_words(
    asker: Asker, path: str, form: dict[str, Any], text: str
) -> None:
    """400 bad_data; nothing is deleted."""
    asker.write(up("a", 1))

    answer = asker.post(f"{BASE}/{path}", **form)

    assert (answer.status_code, answer.json()["error"]) == (400, text)
    assert answer.json()["errorType"] == "bad_data"
    assert asker.values("up") == {"a": "1"}


def test_only_admins_change_their_own_tenant(
    make_asker: Callable[..., Asker], tmp_path: Path
) -> None:
    """Reading and writing keys may not, nor an admin bound to labels; others see nothing of it."""
    path = tmp_path / "keys"
    admin = bearer(create_key(path, "acme", Role.ADMIN))
    every = bearer(create_key(path, "*", Role.ADMIN))
    bound = bearer(create_key(path, "acme", Role.ADMIN, [parse_matcher('job="a"')]))
    others = [bearer(create_key(path, "acme", role)) for role in (Role.READ, Role.WRITE)]
    asker = make_asker(keys_file=path)
    for org in ("acme", "globex"):
        asker.write(up("a", 1), headers={**every, "x-org-id": org})

    for path_ in ("delete_series", "clean_tombstones", "snapshot"):
        for headers in (bound, *others):
            answer = asker.post(f"{BASE}/{path_}", headers, **{"match[]": "up"})
            assert answer.status_code == 403, path_
        assert asker.post(f"{BASE}/{path_}", **{"match[]": "up"}).status_code == 401
        assert asker.get(f"{BASE}/{path_}", admin).status_code == 405
    name = asker.post(f"{BASE}/snapshot", admin).json()["data"]["name"]
    assert asker.post(f"{BASE}/delete_series", admin, **{"match[]": "up"}).status_code == 204

    assert asker.values("up", admin) == {}
    assert asker.values("up", {**every, "x-org-id": "globex"}) == {"a": "1"}
    tenants = tmp_path / "data" / "snapshots" / name / "tenants"
    assert [each.name for each in tenants.iterdir()] == ["acme"]


def test_a_tenant_without_data_is_left_without(asker: Asker, tmp_path: Path) -> None:
    """Deleting and cleaning nothing succeeds and makes nothing."""
    assert asker.post(f"{BASE}/delete_series", **{"match[]": "up"}).status_code == 204
    assert asker.post(f"{BASE}/clean_tombstones").status_code == 204
    assert not (tmp_path / "data" / "tenants").exists()


def test_a_disk_that_refuses_is_told(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and the server goes on."""
    asker.write(up("a", 1))

    def refuse(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(asker.house.store, "snapshot", refuse, raising=True)
    answer = asker.post(f"{BASE}/snapshot")

    assert answer.status_code == 503
    assert "No space left on device" in answer.json()["error"]
    assert asker.values("up") == {"a": "1"}
