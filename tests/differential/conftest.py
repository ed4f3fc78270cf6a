"""Both sides, one pair a module."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.differential.dialect import FLAGS
from tests.differential.sides import Ours, Reference
from tests.harness.servers import Absent, start_prometheus


@dataclass(frozen=True)
class Pair:
    """Our engine and the reference."""

    ours: Ours
    reference: Reference


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both, empty; skips where there is no Prometheus."""
    home = tmp_path_factory.mktemp("differential")
    try:
        server = start_prometheus(home / "reference", None, *FLAGS)
    except Absent as absent:
        pytest.skip(str(absent))
    with server:
        pair = Pair(Ours(home / "ours"), Reference(server.url))
        yield pair
        pair.ours.close()
        pair.reference.close()
