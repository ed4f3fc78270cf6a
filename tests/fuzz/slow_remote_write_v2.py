"""A slow reader of remote write 2.0 (io.prometheus.write.v2.Request, rc.4)."""

from tests.wire.histograms import STALE, Broken, read_fields, read_varint, slow_histogram
from tests.wire.slow_remote_write import Row, Sample, slow_labels, slow_texts, want
from wire.write_request import MAX_LABELS


def slow_rows(message: bytes) -> list[Row] | None:
    """The rows of *message* that can be stored; None where it is no Request."""
    try:
        symbols: list[bytes] = []
        series: list[bytes] = []
        for number, kind, content in read_fields(message):
            if number in (4, 5):
                want(kind, 2)
                assert isinstance(content, bytes)
                (symbols if number == 4 else series).append(content)
        if symbols and symbols[0]:
            return None
        rows = [_row(one, symbols) for one in series]
    except Broken:
        return None
    return [row for row in rows if row is not None]


def _row(message: bytes, symbols: list[bytes]) -> Row | None:
    refs: list[int] = []
    times: list[int] = []
    samples: list[Sample] = []
    later: list[tuple[int, Sample]] = []
    exemplars = False
    for number, kind, content in read_fields(message):
        if number == 1:
            refs += _references(kind, content)
        elif number in (2, 3, 4, 5):
            want(kind, 2)
        if number not in (2, 3, 4, 5):
            continue
        assert isinstance(content, bytes)
        if number == 2:
            time_ms, bits = _sample(content)
            times.append(time_ms)
            samples.append(bits)
        elif number == 3:
            read = slow_histogram(content)
            if not read.problem:
                later.append((read.time_ms, STALE if read.histogram is None else read.histogram))
        elif number == 4:
            exemplars |= _exemplar(content, symbols)
        else:
            _metadata(content)
    times += [time_ms for time_ms, _ in later]
    samples += [one for _, one in later]
    pairs = _pairs(refs, symbols)
    labels = slow_labels(pairs) if pairs is not None else None
    return (labels, times, samples) if labels is not None and (times or exemplars) else None


def _references(kind: int, content: int | bytes) -> list[int]:
    """The references of one field, packed or not."""
    if isinstance(content, int):
        want(kind, 0)
        return [content & 0xFFFFFFFF]
    want(kind, 2)
    found, at = [], 0
    while at < len(content):
        ref, at = read_varint(content, at)
        found.append(ref & 0xFFFFFFFF)
    return found


def _pairs(refs: list[int], symbols: list[bytes]) -> list[tuple[bytes, bytes]] | None:
    if len(refs) % 2 or any(ref >= len(symbols) for ref in refs) or len(refs) > 2 * MAX_LABELS:
        return None
    texts = [symbols[ref] for ref in refs]
    return list(zip(texts[::2], texts[1::2], strict=True))


def _sample(content: bytes) -> tuple[int, bytes]:
    time_ms, bits = 0, bytes(8)
    for number, kind, value in read_fields(content):
        if number == 1:
            want(kind, 1)
            assert isinstance(value, bytes)
            bits = value
        elif number in (2, 3):
            want(kind, 0)
            assert isinstance(value, int)
            time_ms = value if number == 2 else time_ms
    return time_ms - 2**64 if time_ms >= 2**63 else time_ms, bits


def _exemplar(content: bytes, symbols: list[bytes]) -> bool:
    """Whether the labels of an exemplar are sound."""
    refs: list[int] = []
    for number, kind, value in read_fields(content):
        if number == 1:
            refs += _references(kind, value)
        elif number in (2, 3):
            want(kind, 3 - number)
    pairs = _pairs(refs, symbols)
    return pairs is not None and slow_texts(pairs) is not None


def _metadata(content: bytes) -> None:
    for number, kind, _ in read_fields(content):
        if number in (1, 3, 4):
            want(kind, 0)
