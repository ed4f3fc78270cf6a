"""How many examples Hypothesis tries: few in `make test`, many in `make test-long`."""

import os

from hypothesis import settings

LONG = bool(os.environ.get("O11Y_TEST_LONG"))


def examples(count: int) -> settings:
    """Settings for *count* examples, ten times as many in a long run."""
    return settings(max_examples=count * 10 if LONG else count, deadline=None)
