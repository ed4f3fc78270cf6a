"""Background work: repeated, not ended by a failure, ended by close."""

import threading

import pytest

from server.background import Background


def test_work_goes_on_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A round that raises is counted and logged once; the next one comes."""
    rounds: list[int] = []
    failures: list[int] = []
    enough = threading.Event()

    def work() -> None:
        rounds.append(1)
        if len(rounds) == 5:
            enough.set()
        if len(rounds) < 4:
            raise OSError("no space left")

    background = Background(work, lambda: failures.append(1), period_seconds=0.001)
    assert enough.wait(10)
    background.close()
    done = len(rounds)
    assert len(failures) == 3
    assert [record.message for record in caplog.records] == [
        "background work failed, and will be tried again"
    ]
    assert len(rounds) == done, "close ends it"
