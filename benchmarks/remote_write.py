"""A small remote-write 1.0 sender, written from the specification alone.

It shares no code with the program under test, so that a misreading there is not repeated here.
Fields: WriteRequest.timeseries = 1, .metadata = 3; TimeSeries.labels = 1, .samples = 2;
Label.name = 1, .value = 2; Sample.value = 1 (double), .timestamp = 2 (int64, ms);
MetricMetadata.type = 1, .metric_family_name = 2, .help = 4, .unit = 5.
"""

import http.client
import struct
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

import cramjam

Sample = tuple[int, float]
"""Time in ms and value."""

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
METRIC_TYPES = {"unknown": 0, "counter": 1, "gauge": 2, "histogram": 3, "summary": 5}


def varint(number: int) -> bytes:
    """A protobuf varint; negative numbers as 64-bit two's complement."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def encode_labels(labels: Mapping[str, str]) -> bytes:
    """The label fields of a TimeSeries, in ascending order of their names."""
    return b"".join(
        field(1, field(1, name.encode()) + field(2, value.encode()))
        for name, value in sorted(labels.items())
    )


def encode_sample(time_ms: int, value: float) -> bytes:
    """The sample field of a TimeSeries; a NaN keeps its bits."""
    return field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(time_ms))


def encode_series(label_fields: bytes, samples: Iterable[Sample]) -> bytes:
    """One timeseries field of a WriteRequest."""
    return field(1, label_fields + b"".join(encode_sample(t, v) for t, v in samples))


def encode_metadata(name: str, kind: str, text: str, unit: str = "") -> bytes:
    """One metadata field of a WriteRequest."""
    return field(
        3,
        b"\x08"
        + varint(METRIC_TYPES[kind])
        + field(2, name.encode())
        + field(4, text.encode())
        + field(5, unit.encode()),
    )


def compress(message: bytes) -> bytes:
    """Snappy's block format, as remote write 1.0 wants it."""
    return bytes(cramjam.snappy.compress_raw(message))


def write_body(series: Iterable[tuple[Mapping[str, str], Sequence[Sample]]]) -> bytes:
    """The compressed body of a request with *series*."""
    return compress(b"".join(encode_series(encode_labels(labels), s) for labels, s in series))


class Sender:
    """One keep-alive connection to the write route of the server at *url*."""

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, timeout_s: float = 30
    ) -> None:
        address = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(address, timeout=timeout_s)
        self._headers = HEADERS | dict(headers or {})

    def send(self, body: bytes) -> tuple[int, str]:
        """The status and text of the answer; OSError or HTTPException when there was none."""
        try:
            self._connection.request("POST", "/api/v1/write", body, self._headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()
