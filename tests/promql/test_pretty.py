"""The layout of long queries over several lines."""

import pytest
from hypothesis import given

from promql.ast import Node
from promql.parser import parse
from promql.pretty import pretty
from tests.examples import examples
from tests.strategies import queries

LONG = 'http_requests_total{environment="production",handler=~"/api/.*",job="the-api-server"}'


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ("sum by(a)(x)", ["sum by (a) (x)"]),
        (LONG + "[5m]", [LONG + "[5m]"]),
        (
            f"sum by (job) (rate({LONG}[5m]))",
            ["sum by (job) (", f"  rate({LONG}[5m])", ")"],
        ),
        (
            f"{LONG} / on (job) group_left () {LONG}",
            [f"  {LONG}", "/ on (job) group_left ()", f"  {LONG}"],
        ),
        (
            f"topk(3, -(sum_over_time({LONG}[5m:1m]) + 1))",
            [
                "topk(",
                "  3,",
                "  -(",
                "      sum_over_time(",
                f"{LONG}[5m:1m]",
                "      )",
                "    +",
                "      1",
                "  )",
                ")",
            ],
        ),
        (
            f"histogram_quantile(0.9, rate({LONG}[5m]) or vector(1))",
            [
                "histogram_quantile(",
                "  0.9,",
                f"    rate({LONG}[5m])",
                "  or",
                "    vector(1)",
                ")",
            ],
        ),
        (
            f"({LONG} + {LONG})[1h:] offset 1m",
            ["(", f"    {LONG}", "  +", f"    {LONG}", ")[1h:] offset 1m"],
        ),
    ],
)
def test_layout(query: str, lines: list[str]) -> None:
    """Lines of more than 100 bytes are split, their parts indented by two spaces."""
    assert pretty(parse(query)).split("\n") == lines


@examples(100)
@given(queries())
def test_the_layout_reads_back(tree: Node) -> None:
    """White space is all that the layout adds."""
    assert parse(pretty(tree)) == tree
