"""Keys: made, kept as hashes, found again, changed while we run."""

import fcntl
import os
import stat
from pathlib import Path

import pytest

from server.access import keys
from server.access.keys import KeyRing, KeysError, Role, create_key, is_tenant_id, load_keys


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until moved."""
    now = [0.0]
    monkeypatch.setattr("server.access.keys.time.monotonic", lambda: now[0])
    return now


def test_a_key_is_found_by_its_secret_alone(tmp_path: Path) -> None:
    """The file holds no key, is private, and the ring knows each by tenant and role."""
    path = tmp_path / "keys.jsonl"
    made = [create_key(path, "acme", Role.WRITE), create_key(path, "globex", Role.READ)]
    assert all(key.startswith("hk-") and len(key) >= 43 for key in made)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not any(key in path.read_text() for key in made)
    ring = KeyRing(path)
    found = [ring.find(key) for key in made]
    assert [(key.only_tenant, key.role) for key in found if key] == [
        ("acme", Role.WRITE),
        ("globex", Role.READ),
    ]
    assert ring.find("hk-unknown") is None
    assert ring.find("") is None


def test_a_ring_sees_new_and_removed_keys(tmp_path: Path, clock: list[float]) -> None:
    """A file that appears, grows or goes away changes who gets in."""
    path = tmp_path / "keys.jsonl"
    ring = KeyRing(path)
    key = create_key(path, "acme", Role.ADMIN)
    assert ring.find(key) is None, "nothing is looked up before its time"
    clock[0] += keys.RECHECK_SECONDS
    assert ring.find(key) is not None
    path.unlink()
    clock[0] += keys.RECHECK_SECONDS
    assert ring.find(key) is None


def test_a_file_that_breaks_keeps_the_keys_read_before(tmp_path: Path, clock: list[float]) -> None:
    """A slip while editing locks nobody out, and the mended file counts."""
    path = tmp_path / "keys.jsonl"
    key = create_key(path, "acme", Role.ADMIN)
    ring = KeyRing(path)
    good = path.read_text()
    path.write_text(good + "oops")
    clock[0] += 1
    assert ring.find(key) is not None
    path.write_text("")
    clock[0] += 1
    assert ring.find(key) is None


@pytest.mark.parametrize(
    "text",
    [
        "oops",
        '{"keys": [',
        "[]",
        '{"sha256":"00","tenant":"a","role":"read"}',
        '{"sha256":"' + "00" * 32 + '","tenants":"acme","role":"read"}',
        '{"sha256":"' + "00" * 32 + '","tenants":[],"role":"read"}',
    ],
)
def test_corrupt_files_are_refused_by_name(tmp_path: Path, text: str) -> None:
    """Neither reading nor adding makes anything of a file of something else."""
    path = tmp_path / "keys.jsonl"
    path.write_text(text)
    with pytest.raises(KeysError, match=r"keys\.jsonl, line 1"):
        load_keys(path)
    with pytest.raises(KeysError):
        create_key(path, "acme", Role.READ)
    assert path.read_text() == text


def test_a_file_that_is_being_written_is_not_waited_for(tmp_path: Path, clock: list[float]) -> None:
    """Whoever holds its lock does not stop the server, which looks again later."""
    path = tmp_path / "keys.jsonl"
    ring = KeyRing(path)
    key = create_key(path, "acme", Role.READ)
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        clock[0] += 1
        assert ring.find(key) is None
    clock[0] += 1
    assert ring.find(key) is not None


def test_a_missing_last_newline_is_mended(tmp_path: Path) -> None:
    """A key is added on a line of its own, and the owner's mode stays."""
    path = tmp_path / "keys.jsonl"
    create_key(path, "acme", Role.READ)
    path.write_text(path.read_text().rstrip("\n"))
    os.chmod(path, 0o640)
    create_key(path, "acme", Role.WRITE)
    assert [key.role for key in load_keys(path)] == [Role.READ, Role.WRITE]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_missing_and_empty_files_hold_no_keys(tmp_path: Path) -> None:
    """They are no error: the server starts and lets nobody in."""
    assert load_keys(tmp_path / "none") == []
    (tmp_path / "empty").touch()
    assert load_keys(tmp_path / "empty") == []


@pytest.mark.parametrize("text", ["a", "A-b_c.9", "...", "x" * 64])
def test_tenant_ids(text: str) -> None:
    """What may name a tenant."""
    assert is_tenant_id(text)


@pytest.mark.parametrize("text", ["", ".", "..", "x" * 65, "a/b", "a|b", "é", "a\n", "a b", "%2e"])
def test_no_tenant_ids(text: str) -> None:
    """What may not."""
    assert not is_tenant_id(text)


def test_revoked_keys_are_gone(tmp_path: Path, clock: list[float]) -> None:
    """By a beginning of the id that only one has; others stay, and a running ring notices."""
    path = tmp_path / "keys.jsonl"
    first, second = (create_key(path, "acme", Role.READ) for _ in range(2))
    ring = KeyRing(path)
    assert ring.find(first) is not None
    ids = {key.id for key in load_keys(path)}
    first_id = next(key.id for key in load_keys(path) if key.is_(first))
    for wrong in ("", first_id[:7], "0" * 16, "x"):
        with pytest.raises(KeyError):
            keys.revoke_key(path, wrong)
    assert keys.revoke_key(path, first_id[:8]).id == first_id
    clock[0] += keys.RECHECK_SECONDS
    assert ring.find(first) is None
    assert ring.find(second) is not None
    assert {key.id for key in load_keys(path)} == ids - {first_id}
    assert keys.RECHECK_SECONDS < 1


def test_keys_of_several_tenants_and_with_matchers(tmp_path: Path) -> None:
    """What a line says comes back from it."""
    path = tmp_path / "keys.jsonl"
    matchers = (keys.parse_matcher('env="a\\"b"'), keys.parse_matcher('team=~"x|y"'))
    create_key(path, ["acme", "globex"], Role.READ, matchers)
    create_key(path, "*", Role.ADMIN)
    several, every = load_keys(path)
    assert several.tenants == ("acme", "globex") and several.matchers == matchers
    assert several.opens("globex") and not several.opens("other")
    assert several.only_tenant is every.only_tenant is None
    assert every.opens("other")


def test_the_command_line_makes_lists_and_revokes(tmp_path: Path) -> None:
    """The whole life of a key; the secret is printed once and stands nowhere."""
    from typer.testing import CliRunner

    from server.command.keys_cli import keys_app

    path = tmp_path / "keys.jsonl"

    def run(*words: str, status: int = 0) -> str:
        result = CliRunner().invoke(keys_app, [*words, "--keys", str(path)])
        assert result.exit_code == status, result.output
        return result.output

    made = run("create", "--tenant", "acme", "--role", "read", "--match", 'env="prod"')
    secret = next(word for word in made.split() if word.startswith("hk-"))
    listed = run("list")
    assert "acme  read" in listed and 'env="prod"' in listed and secret not in listed
    key_id = listed.split()[0]
    assert key_id in run("revoke", key_id)
    assert run("list") == ""
    run("revoke", key_id, status=1)
    run("create", "--tenant", "a/b", "--role", "read", status=2)
    run("create", "--tenant", "a", "--role", "king", status=2)
    run("create", "--tenant", "a", "--role", "read", "--match", "env", status=2)
    assert secret not in path.read_text()
