"""Both sides: our engine over our database in this process, and Debian's Prometheus over HTTP."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.api import Api
from benchmarks.remote_write import Sender, compress, encode_labels, encode_sample, field
from promql.duration_values import InvalidQuery
from promql.engine import Engine
from promql.env import QueryTimes
from promql.matrix import Text
from promql.notes import ExecutionError
from promql.parser import ParseError
from series.batch import build_batch
from series.histogram import OFFSET, Histogram
from series.labels import Labels
from series.ports import Context, Source, TooManySamples
from tests.differential.data import Data
from tests.differential.dialect import to_old_dialect
from tests.differential.generate import Question
from tests.promqltest_compare import FloatRows, float_rows
from tests.wire.histograms import Sent
from tsdb.db import DbOptions
from tsdb.store import Store

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Reply:
    """An answer: ``error`` is the API's errorType, '' where there is none; ``text`` its message.

    ``rows`` stand in the order of the answer; ``kind`` is the type of the result. A string is the
    ``text`` of a reply without rows.
    """

    kind: str
    rows: FloatRows
    error: str = ""
    text: str = ""


class Ours:
    """A database below *home*; every round's data are a tenant's own."""

    def __init__(self, home: Path, engine: Engine | None = None) -> None:
        self.engine = engine or Engine()
        self._now_ms = 0
        self._store = Store.open(home, DbOptions(retention_ms=0), lambda: self._now_ms)

    def load(self, data: Data) -> Source:
        self._now_ms = data.end_ms
        db = self._store.tenant_for_write(f"r{data.start_ms}")
        rows = [
            (labels, [time for time, _ in samples], [value for _, value in samples])
            for labels, samples in data.rows.items()
        ]
        assert db.append(build_batch(rows)).result(timeout=30).refused == {}
        if data.sealed:
            self._now_ms += _DAY_MS
            self._store.maintain()
        return db.view()

    def ask(self, source: Source, question: Question) -> Reply:
        try:
            if question.step_ms:
                times = QueryTimes(*_times(question))
                answer = self.engine.range(source, question.text, times, Context())
            else:
                answer = self.engine.instant(source, question.text, question.start_ms, Context())
        except (ParseError, InvalidQuery) as error:
            return Reply("", [], "bad_data", str(error))
        except (ExecutionError, TooManySamples) as error:
            return Reply("", [], "execution", str(error))
        if isinstance(answer.value, Text):
            return Reply(answer.type.value, [], text=answer.value.value)
        return Reply(answer.type.value, float_rows(answer))

    def close(self) -> None:
        self._store.close()


def write_body(data: Data) -> bytes:
    """The data as a compressed remote-write 1.0 request."""
    series = []
    for labels, samples in data.rows.items():
        fields = encode_labels(labels.as_dict())
        for time_ms, sample in samples:
            if isinstance(sample, Histogram):
                fields += field(4, _sent(sample, time_ms).message())
            else:
                fields += encode_sample(time_ms, sample)
        series.append(field(1, fields))
    return compress(b"".join(series))


def _sent(sample: Histogram, time_ms: int) -> Sent:
    """*sample*, which has one negative bucket at most, for the wire."""
    negative = [(-at - OFFSET, count) for at, count in sample.buckets if at < 0]
    positive = [(at - OFFSET, count) for at, count in sample.buckets if at > 0]
    return Sent(
        schema=sample.schema,
        count=sample.count,
        sum=sample.sum,
        zero_threshold=sample.zero_threshold,
        zero_count=sample.zero_count,
        negative_spans=[(index, 1) for index, _ in negative],
        negative=[count for _, count in negative],
        positive_spans=_spans([index for index, _ in positive]),
        positive=[count for _, count in positive],
        time_ms=time_ms,
    )


def _spans(indexes: list[int]) -> list[tuple[int, int]]:
    """A span of one bucket each: the distance from the end of the span before, and 1."""
    ends = [0, *(index + 1 for index in indexes)]
    return [(index - end, 1) for index, end in zip(indexes, ends, strict=False)]


class Reference:
    """A Prometheus 2.42 that takes remote writes."""

    def __init__(self, url: str) -> None:
        self.api, self.sender = Api(url), Sender(url)

    def load(self, data: Data) -> None:
        status, text = self.sender.send(write_body(data))
        assert status in (200, 204), text

    def ask(self, question: Question) -> Reply:
        """The answer to *question* in the old dialect; to what does not parse, as it stands."""
        try:
            text = to_old_dialect(question.text)
        except ParseError:
            text = question.text
        return self.ask_as_it_stands(Question(text, *_times(question)))

    def ask_as_it_stands(self, question: Question) -> Reply:
        start, end, step = (f"{ms / 1000:.3f}" for ms in _times(question))
        if question.step_ms:
            path, form = "/api/v1/query_range", {"start": start, "end": end, "step": step}
        else:
            path, form = "/api/v1/query", {"time": start}
        body = self.api.http.post(path, data={"query": question.text, **form}).json()
        if body["status"] != "success":
            return Reply("", [], body["errorType"], body["error"])
        kind = _KINDS[body["data"]["resultType"]]
        if kind == "string":
            return Reply(kind, [], text=body["data"]["result"][1])
        return Reply(kind, _rows(body["data"]))

    def close(self) -> None:
        self.api.close()
        self.sender.close()


_KINDS = {
    "matrix": "range vector",
    "vector": "instant vector",
    "scalar": "scalar",
    "string": "string",
}
"""The API's names of result types in the words of PromQL."""


def _times(question: Question) -> tuple[int, int, int]:
    return question.start_ms, question.end_ms, question.step_ms


def _rows(data: dict[str, Any]) -> FloatRows:
    result = data["result"]
    if data["resultType"] == "scalar":
        return [(Labels(), _points([result]))]
    many = data["resultType"] == "matrix"
    return [
        (Labels.of(row["metric"]), _points(row["values"] if many else [row["value"]]))
        for row in result
    ]


def _points(pairs: list[Any]) -> dict[int, float]:
    return {round(time * 1000): float(value) for time, value in pairs}
