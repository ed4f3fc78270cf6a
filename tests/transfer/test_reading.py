"""Reading a server: what it hands out at once is bounded, what is read is whole."""

import httpx
import numpy as np
import pytest

from series.frame import LabelFrame
from series.labels import Labels
from series.matcher import Matcher, MatchType
from tests.tsdb.contents import build
from transfer.reading import ServerReading, within
from transfer.sinks import TransferFailed
from wire.remote_read import decode_request, encode_response, encode_series

UP = (Matcher(MatchType.EQUAL, "__name__", "up"),)
LABELS = Labels.of({"__name__": "up"})
TIMES_MS = [*range(100), *range(50_000_000, 50_000_010)]


def server(limit: int) -> ServerReading:
    """One that holds a sample at each of TIMES_MS and hands out *limit* at once."""

    def answer(request: httpx.Request) -> httpx.Response:
        (query,) = decode_request(request.read()).queries
        times_ms = [at for at in TIMES_MS if query.start_ms <= at <= query.end_ms]
        if len(times_ms) > limit:
            return httpx.Response(400, text=f"exceeded sample limit ({limit})\n")
        batch = build([(LABELS, times_ms, list(map(float, times_ms)))])
        series = b"".join(encode_series(LabelFrame.from_labels([LABELS]), batch))
        return httpx.Response(200, content=encode_response([series]))

    return ServerReading("http://x", {}, httpx.MockTransport(answer))


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_stretches_shrink_until_the_server_answers(limit: int) -> None:
    """Every sample comes once, in the order of time, whatever the server's limit is."""
    found: list[int] = []
    for slab in server(limit).read([UP, UP], 0, 60_000_000):
        assert slab.frame.all_labels() == [LABELS]
        found += slab.batch.row_times_ms(0).tolist()

    assert found == TIMES_MS


def test_a_server_that_hands_out_nothing_is_told() -> None:
    """The text is the server's."""
    with pytest.raises(TransferFailed, match=r"exceeded sample limit \(0\)"):
        list(server(0).read([UP], 0, 100))


def test_neighbours_are_left_out() -> None:
    """A range includes both its ends and nothing else."""
    batch = within(build([(LABELS, [1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0])]), 2, 3)

    assert batch.values.tolist() == [2.0, 3.0]
    assert batch.row_times_ms(0).tolist() == [2, 3]
    assert np.diff(batch.offsets).tolist() == [2]
