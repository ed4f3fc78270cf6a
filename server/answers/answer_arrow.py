"""Answers of queries as an Arrow IPC stream, a record batch at a time."""

import io
from collections.abc import Iterator

from promql.answer import Answer


def arrow_slices(answer: Answer) -> Iterator[bytes]:
    """The stream in slices: its schema, each batch, its end."""
    import pyarrow as pa

    from promql.arrow import record_batches, schema_of

    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema_of(answer)) as stream:
        for batch in record_batches(answer):
            stream.write_batch(batch)
            yield _taken(sink)
    yield _taken(sink)


def _taken(sink: io.BytesIO) -> bytes:
    """What has been written since the last time."""
    content = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return content
