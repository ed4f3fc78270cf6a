"""Every decoder of foreign bytes, fuzzed for a while."""

import os
import random

import pytest

from tests.fuzz.campaign import run
from tests.fuzz.targets import ALL, COMPILED

LONG = bool(os.environ.get("O11Y_TEST_LONG"))
SECONDS = float(os.environ.get("O11Y_FUZZ_SECONDS") or (120 if LONG else 20))
"""For each decoder."""


def _seed() -> int:
    """The same in every run of ``make test``, another in each of ``make test-long``."""
    chosen = os.environ.get("O11Y_FUZZ_SEED")
    if chosen:
        return int(chosen)
    return random.SystemRandom().randrange(1 << 32) if LONG else 1


@pytest.mark.fuzz
@pytest.mark.parametrize("name", ALL)
def test_changed_inputs_are_read_or_refused(name: str) -> None:
    """No input breaks a decoder, takes too long or too much memory, or makes a kernel stray."""
    modes = (False, True) if name in COMPILED else (False,)
    for checked in modes:
        found = run(name, _seed(), SECONDS / len(modes), checked=checked)
        print(f"{name}: {found.runs} inputs, {found.outcomes} kinds of outcomes")
        if found.failure:
            pytest.fail(found.failure, pytrace=False)
        assert found.runs > 100
