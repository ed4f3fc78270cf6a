"""The throttle: wrong keys are answered ever more slowly, right ones at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from server.access import throttle
from server.access.keys import Role, create_key
from server.access.throttle import Throttle
from tests.server.conftest import Asker


def test_failures_are_slowed_address_by_address() -> None:
    """So many are free, then each waits longer, up to a bound; silence heals."""
    now = [0.0]
    door = Throttle(lambda: now[0])
    assert {door.failed("a") for _ in range(throttle.FREE_FAILURES)} == {0.0}
    waits = [door.failed("a") for _ in range(1000)]
    assert waits[0] == pytest.approx(throttle.SPACING_SECONDS)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(throttle.MAX_DELAY_SECONDS)
    assert door.closed("a") and not door.closed("b")
    assert door.failed("b") == 0
    now[0] += throttle.MAX_DELAY_SECONDS
    assert not door.closed("a")
    now[0] += 60
    assert door.failed("a") == 0


def test_addresses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are."""
    monkeypatch.setattr(throttle, "MAX_ADDRESSES", 10)
    door = Throttle(lambda: 0.0)
    for k in range(100):
        door.failed(str(k))
    assert len(door._due) == 10


def test_a_key_that_was_right_stays_right_under_attack(
    make_asker: Callable[..., Asker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is new from there is not looked at until the attack pauses."""
    path = tmp_path / "keys"
    known, fresh = (
        {"authorization": f"Bearer {create_key(path, 'acme', Role.READ)}"} for _ in range(2)
    )
    asker = make_asker(keys_file=path)
    assert asker.get("/api/v1/labels", known).status_code == 200
    monkeypatch.setattr(Throttle, "closed", lambda self, address: True)
    assert asker.get("/api/v1/labels", known).status_code == 200
    assert asker.get("/api/v1/labels", fresh).status_code == 401
    monkeypatch.undo()
    assert asker.get("/api/v1/labels", fresh).status_code == 200
