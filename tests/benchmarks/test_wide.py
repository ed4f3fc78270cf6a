"""The benchmark of wide queries, small: its answers are compared, and every row is measured."""

import json
from pathlib import Path

import pytest

from benchmarks import wide

pytestmark = pytest.mark.server


def test_every_query_is_answered_as_the_reference_does(tmp_path: Path) -> None:
    """Eight instances are enough to see that each query means the same on both servers."""
    file = tmp_path / "wide.json"
    options = ["--instances", "8", "--peers", "o11y,prometheus", "--budget", "0"]
    assert wide.main([*options, "--dir", str(tmp_path), "--json", str(file)]) == 0
    results = json.loads(file.read_text())
    assert results["differences"] == {}
    assert [line["row"] for line in results["lines"]] == [query.letter for query in wide.QUERIES]
    empty = len('{"status":"success","data":{"resultType":"matrix","result":[]}}')
    for line in results["lines"]:
        assert all(found["answer_bytes"] > empty for found in line["servers"].values()), line["row"]
