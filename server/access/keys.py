"""Keys: who may do what for which tenant, kept as hashes in one file.

The file holds one JSON object a line: ``{"sha256": hex, "tenant": id, "role": word, "created":
time}``, for a key of several tenants ``"tenants": [id, ...]`` (``"*"`` is every one), for one that
sees only some series also ``"matchers": [text, ...]``. ``{"revoke": hex, "at": time}`` ends a key;
lines are only ever added. A key is ``hk-`` and 256 random bits; with so much chance in it one
SHA-256 is as good as a slow hash. Readers and writers of the file take its lock.
"""

import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from series.matcher import Matcher, MatchType

log = logging.getLogger("o11y.keys")

RECHECK_SECONDS = 0.25
ANY = "*"
"""In the place of a tenant: every one."""
_MATCHER = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(".*")', re.ASCII | re.DOTALL)
TENANT_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class Role(Enum):
    """What a key is for; ``admin`` may read and write."""

    WRITE = "write"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Key:
    """One key that is valid; ``digest`` is its SHA-256, ``created`` an ISO time or ''."""

    digest: bytes
    tenants: tuple[str, ...]
    role: Role
    matchers: tuple[Matcher, ...] = ()
    created: str = ""

    @property
    def id(self) -> str:
        """What names the key in lists and when it is revoked; tells nothing of it."""
        return self.digest.hex()[:16]

    def is_(self, secret: str) -> bool:
        """Whether *secret* is this key."""
        return hmac.compare_digest(self.digest, _digest(secret))

    def opens(self, tenant: str) -> bool:
        """Whether the key is one of *tenant*'s."""
        return tenant in self.tenants or ANY in self.tenants

    @property
    def only_tenant(self) -> str | None:
        """The tenant, where there is just one."""
        return self.tenants[0] if len(self.tenants) == 1 and ANY not in self.tenants else None


class KeysError(Exception):
    """The file of keys cannot be understood or used; the text names it."""


def is_tenant_id(text: str) -> bool:
    """Whether *text* can name a tenant: 1 to 64 of ``A-Z a-z 0-9 _ . -``, not ``.`` or ``..``."""
    return TENANT_ID.fullmatch(text) is not None and text not in (".", "..")


def parse_matcher(text: str) -> Matcher:
    """The matcher of ``name="value"`` (or ``!= =~ !~``); ValueError where it is none."""
    match = _MATCHER.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'{text!r} is not a label matcher like env="prod"')
    try:
        value = json.loads(match[3])
    except ValueError:
        raise ValueError(f"{text!r}: the value is not a quoted string") from None
    return Matcher(MatchType(match[2]), match[1], value)


def create_key(
    path: Path, tenants: str | Sequence[str], role: Role, matchers: Sequence[Matcher] = ()
) -> str:
    """Makes a key, adds it to the file (0600 if new) and returns it; it is shown only here.

    Raises KeysError where the file holds something else, OSError where it cannot be written.
    """
    secret = "hk-" + secrets.token_urlsafe(32)
    names = [tenants] if isinstance(tenants, str) else list(tenants)
    line: dict[str, object] = {
        "sha256": _digest(secret).hex(),
        **({"tenant": names[0]} if len(names) == 1 else {"tenants": names}),
        "role": role.value,
        **({"matchers": [str(one) for one in matchers]} if matchers else {}),
        "created": _now(),
    }
    _change(path, lambda keys: line)
    return secret


def revoke_key(path: Path, key_id: str, allowed: Callable[[Key], bool] = lambda key: True) -> Key:
    """Ends the key of that id, or of a beginning of 8 characters or more that only it has.

    Raises KeyError where there is no such key, or not one that is *allowed*; what ``create_key``
    does.
    """
    ended: list[Key] = []

    def line(keys: list[Key]) -> dict[str, object]:
        found = [key for key in keys if len(key_id) >= 8 and key.digest.hex().startswith(key_id)]
        if len(found) != 1 or not allowed(found[0]):
            raise KeyError(key_id)
        ended.append(found[0])
        return {"revoke": found[0].digest.hex(), "at": _now()}

    if not path.exists():
        raise KeyError(key_id)
    _change(path, line)
    return ended[0]


def _change(path: Path, line_of: Callable[[list[Key]], dict[str, object]]) -> None:
    """Adds one line to the file, made from the keys that are valid so far."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with open(descriptor, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        line = json.dumps(line_of(_parse(text, path)))
        separator = b"\n" if text and not text.endswith(b"\n") else b""
        file.write(separator + line.encode() + b"\n")
        os.fsync(file)
    _sync_directory(path.parent)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def load_keys(path: Path, *, wait: bool = True) -> list[Key]:
    """The keys of the file; none where it is missing or empty. Raises KeysError, OSError.

    Without *wait* BlockingIOError where somebody is writing it.
    """
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH if wait else fcntl.LOCK_SH | fcntl.LOCK_NB)
            return _parse(file.read(), path)
    except FileNotFoundError:
        return []


class KeyRing:
    """The keys of a file that may change while we run.

    It looks at the file at most every RECHECK_SECONDS, and only when somebody asks. A file that
    goes away leaves no key valid; one that turns unreadable leaves the last good keys in force.
    """

    def __init__(self, path: Path) -> None:
        """Raises KeysError or OSError where the file exists and cannot be used."""
        self._path = path
        self._stamp = _stamp(path)
        self._buckets = _buckets(load_keys(path))
        self._checked = time.monotonic()
        self._seen: set[bytes] = set()

    @property
    def path(self) -> Path:
        return self._path

    def forget(self) -> None:
        """The next question looks at the file."""
        self._checked = -RECHECK_SECONDS

    def all(self) -> list[Key]:
        """All that are valid, in the order of the file."""
        return load_keys(self._path)

    def find(self, secret: str, *, seen_only: bool = False) -> Key | None:
        """The key that *secret* is, compared in constant time within its bucket.

        With *seen_only* it must have been found before.
        """
        self._refresh()
        digest = _digest(secret)
        found = None
        if seen_only and digest not in self._seen:
            return None
        for key in self._buckets.get(digest[:2], ()):
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is not None:
            self._seen.add(digest)
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._checked < RECHECK_SECONDS:
            return
        self._checked = now
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        try:
            self._buckets = _buckets(load_keys(self._path, wait=False))
            self._stamp = stamp
        except BlockingIOError:
            return
        except (KeysError, OSError) as error:
            log.error("keeping the keys read before: %s", error)


def _buckets(keys: list[Key]) -> dict[bytes, list[Key]]:
    """By the first bytes of the digest, which tell nothing of the key."""
    buckets: dict[bytes, list[Key]] = {}
    for key in keys:
        buckets.setdefault(key.digest[:2], []).append(key)
    return buckets


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _parse(text: bytes, path: Path) -> list[Key]:
    """The keys that are valid at the end of the file."""
    keys: dict[bytes, Key] = {}
    for number, line in enumerate(text.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if "revoke" in entry:
                keys.pop(bytes.fromhex(entry["revoke"]), None)
                continue
            key = _key(entry)
        except (ValueError, KeyError, TypeError):
            raise KeysError(f"{path}, line {number}: not a key") from None
        keys[key.digest] = key
    return list(keys.values())


def _key(entry: Mapping[str, Any]) -> Key:
    """The key of one line; ValueError, KeyError or TypeError where it is none."""
    tenants = entry["tenants"] if "tenants" in entry else [entry["tenant"]]
    if not isinstance(tenants, list):
        raise ValueError
    matchers = tuple(parse_matcher(text) for text in entry.get("matchers", ()))
    key = Key(
        bytes.fromhex(entry["sha256"]),
        tuple(tenants),
        Role(entry["role"]),
        matchers,
        str(entry.get("created", "")),
    )
    sound = len(key.digest) == hashlib.sha256().digest_size and tenants
    if not sound or not all(tenant == ANY or is_tenant_id(tenant) for tenant in tenants):
        raise ValueError
    return key


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
