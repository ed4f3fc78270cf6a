"""Hypothesis: the same examples in every run of `make test`, new ones in `make test-long`."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "new", print_blob=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def pytest_configure(config: pytest.Config) -> None:
    """Runs that leave out the long tests must not depend on luck."""
    settings.load_profile("same" if "not long" in config.option.markexpr else "new")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bodies are named by their parameter: compressed ones hold the time they were made at."""
    return argname if isinstance(val, bytes) else None
