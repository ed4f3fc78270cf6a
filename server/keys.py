"""Keys: who may do what for which tenant, kept as hashes in one file.

The file holds one JSON object a line: ``{"sha256": hex, "tenant": id, "role": word, "created":
time}``. A key is ``hk-`` and 256 random bits; with so much chance in it one SHA-256 is as good as
a slow hash. Readers and writers of the file take its lock.
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
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

log = logging.getLogger("o11y.keys")

RECHECK_SECONDS = 0.25
TENANT_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class Role(Enum):
    """What a key is for; ``admin`` may read and write."""

    WRITE = "write"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the file; ``digest`` is the SHA-256 of the key."""

    digest: bytes
    tenant: str
    role: Role


class KeysError(Exception):
    """The file of keys cannot be understood or used; the text names it."""


def is_tenant_id(text: str) -> bool:
    """Whether *text* can name a tenant: 1 to 64 of ``A-Z a-z 0-9 _ . -``, not ``.`` or ``..``."""
    return TENANT_ID.fullmatch(text) is not None and text not in (".", "..")


def create_key(path: Path, tenant: str, role: Role) -> str:
    """Makes a key, adds it to the file (0600 if new) and returns it; it is shown only here.

    Raises KeysError where the file holds something else, OSError where it cannot be written.
    """
    key = "hk-" + secrets.token_urlsafe(32)
    line = json.dumps(
        {
            "sha256": _digest(key).hex(),
            "tenant": tenant,
            "role": role.value,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with open(descriptor, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        _parse(text, path)
        separator = b"\n" if text and not text.endswith(b"\n") else b""
        file.write(separator + line.encode() + b"\n")
        os.fsync(file)
    _sync_directory(path.parent)
    return key


def load_keys(path: Path) -> list[Key]:
    """The keys of the file; none where it is missing or empty. Raises KeysError, OSError."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
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

    def find(self, secret: str) -> Key | None:
        """The key that *secret* is, compared in constant time within its bucket."""
        self._refresh()
        digest = _digest(secret)
        found = None
        for key in self._buckets.get(digest[:2], ()):
            if hmac.compare_digest(key.digest, digest):
                found = key
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
            self._buckets = _buckets(load_keys(self._path))
            self._stamp = stamp
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
    keys = []
    for number, line in enumerate(text.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            key = Key(bytes.fromhex(entry["sha256"]), entry["tenant"], Role(entry["role"]))
            sound = len(key.digest) == hashlib.sha256().digest_size and is_tenant_id(key.tenant)
        except (ValueError, KeyError, TypeError):
            sound = False
        if not sound:
            raise KeysError(f"{path}, line {number}: not a key")
        keys.append(key)
    return keys


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
