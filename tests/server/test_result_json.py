"""The JSON of results: Go's numbers, Prometheus' shapes, slices that join."""

import math
import struct
from decimal import Decimal

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from series.batch import build_batch
from series.frame import LabelFrame
from series.labels import Labels
from server.answers import result_json
from tests.examples import examples

floats = st.one_of(
    st.floats(width=64),
    st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0]),
    st.integers(-(10**18), 10**18).map(float),
    st.decimals(-1000, 1000, places=2).map(float),
)


def go_text(value: float) -> str:
    """strconv.FormatFloat(value, 'f' or 'e', -1, 64) as Prometheus calls it, by decimal digits."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).lstrip("0")
    stripped = text.rstrip("0")
    exponent += len(text) - len(stripped)
    minus = "-" if sign else ""
    if not stripped:
        return minus + "0"
    if abs(value) < 1e-6 or abs(value) >= 1e21:
        power = exponent + len(stripped) - 1
        mantissa = stripped[0] + ("." + stripped[1:] if len(stripped) > 1 else "")
        return f"{minus}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02}"
    if exponent >= 0:
        return minus + stripped + "0" * exponent
    padded = stripped.rjust(-exponent + 1, "0")
    return f"{minus}{padded[:exponent]}.{padded[exponent:]}"


def joined(frame: LabelFrame, times_ms: list[int], values: list[float]) -> bytes:
    return b"".join(
        result_json.vector(
            frame, np.array(times_ms, dtype=np.int64), np.array(values, dtype=np.float64)
        )
    )


@given(st.lists(floats, max_size=20))
@settings(max_examples=200, deadline=None)
def test_numbers_are_written_as_go_writes_them(values: list[float]) -> None:
    """The kernel and the decimal twin agree on every number."""
    text = joined(LabelFrame.empty_labels(len(values)), [0] * len(values), values)
    found = [row["value"][1] for row in orjson.loads(text)]
    assert found == [go_text(value) for value in values]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1e-6, "0.000001"),
        (9.99e-7, "9.99e-07"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (5e-324, "5e-324"),
        (1e16, "10000000000000000"),
        (0.1, "0.1"),
    ],
)
def test_known_numbers(value: float, text: str) -> None:
    """Border cases, as Go prints them."""
    assert joined(LabelFrame.empty_labels(1), [0], [value]).endswith(b'[0,"%b"]}]' % text.encode())


def _near(values: np.ndarray) -> np.ndarray:
    """*values* and the doubles next to them."""
    bits = values.view(np.int64)
    return np.concatenate([bits + ulps for ulps in range(-2, 3)]).view(np.float64)


draw = np.random.default_rng(7)
FAMILIES: dict[str, np.ndarray] = {
    "any bits": draw.integers(-(2**63), 2**63, 4000, dtype=np.int64).view(np.float64),
    "decimals": np.round(draw.random(4000) * 10.0 ** draw.integers(0, 9, 4000), 3),
    "whole numbers": draw.integers(0, 10 ** draw.integers(1, 19, 4000)).astype(np.float64),
    "few bits, so with ends in 5": draw.integers(0, 2**12, 4000)
    / 2.0 ** draw.integers(0, 60, 4000),
    "near powers of two": _near(2.0 ** np.arange(-1022, 1023)),
    "near powers of ten": _near(10.0 ** np.arange(-307, 308)),
    "near halves": _near((draw.integers(0, 2**20, 800) + 0.5) * 2.0 ** draw.integers(-9, 60, 800)),
    "subnormal": (draw.integers(1, 2**52, 4000) >> draw.integers(0, 52, 4000)).view(np.float64),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_near_borders_are_the_shortest_that_read_back(family: str) -> None:
    """As the twin writes them, where digits are lost or won by one bit."""
    values = FAMILIES[family]
    text = joined(LabelFrame.empty_labels(len(values)), [0] * len(values), values.tolist())
    found = [row["value"][1] for row in orjson.loads(text)]
    assert found == [go_text(value) for value in values.tolist()]


@given(st.lists(st.sampled_from([0.0, -0.0, 1.5, 1e-300, math.nan, math.inf]), max_size=20))
def test_numbers_that_repeat_are_written_again(values: list[float]) -> None:
    """Equal texts stand for equal bits, zeros keep their signs."""
    text = joined(LabelFrame.empty_labels(len(values)), [0] * len(values), values)
    found = [row["value"][1] for row in orjson.loads(text)]
    assert found == [go_text(value) for value in values]


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=10))
@settings(max_examples=100, deadline=None)
def test_times_have_three_decimals_or_none(times_ms: list[int]) -> None:
    """Unix seconds, exact at any distance."""
    text = joined(LabelFrame.empty_labels(len(times_ms)), times_ms, [1.0] * len(times_ms))
    for part, time_ms in zip(text.split(b'"value":[')[1:], times_ms, strict=True):
        number = part[: part.index(b",")].decode()
        assert Decimal(number) * 1000 == time_ms
        assert len(number.partition(".")[2]) == (3 if time_ms % 1000 else 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (-1e22, "-10000000000000000000000"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Inf"),
    ],
)
def test_scalars_have_no_exponent(value: float, text: str) -> None:
    """A scalar is written in full, however small or large."""
    assert result_json.format_scalar(value) == text


def test_the_time_of_a_scalar_has_no_trailing_zeros() -> None:
    """Scalars and texts are the only results whose times are written so."""
    times_ms = [0, 1500, -1, 1_795_311_000_120]
    assert [result_json.format_time(t) for t in times_ms] == ["0", "1.5", "-0.001", "1795311000.12"]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_matrices_hold_the_present_points(data: st.DataObject) -> None:
    """Every present point stands in its series at its time, whatever the slices."""
    rows, steps = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 5))
    shape = rows, steps
    present = np.array(
        data.draw(st.lists(st.booleans(), min_size=rows * steps, max_size=rows * steps)),
        dtype=np.bool_,
    ).reshape(shape)
    values = np.arange(rows * steps, dtype=np.float64).reshape(shape)
    frame = LabelFrame.from_labels([Labels.of({"row": f'"{row}"\n'}) for row in range(rows)])
    times_ms = 1000 + 500 * np.arange(steps, dtype=np.int64)
    whole = b"".join(result_json.matrix(frame, times_ms, values, present))
    expected = [
        {
            "metric": {"row": f'"{row}"\n'},
            "values": [
                [times_ms[k] / 1000, str(int(values[row, k]))]
                for k in range(steps)
                if present[row, k]
            ],
        }
        for row in range(rows)
        if present[row].any()
    ]
    assert orjson.loads(whole) == expected


def test_large_results_come_in_slices() -> None:
    """No slice holds more points than the limit; together they are one array."""
    rows, steps = 30, 10_000
    frame = LabelFrame.from_labels([Labels.of({"row": str(row)}) for row in range(rows)])
    values = np.ones((rows, steps))
    slices = list(
        result_json.matrix(
            frame, np.arange(steps, dtype=np.int64), values, np.ones((rows, steps), dtype=np.bool_)
        )
    )
    assert max(bytes(part).count(b'"]') for part in slices) <= result_json.SLICE_POINTS
    found = orjson.loads(b"".join(slices))
    assert [len(row["values"]) for row in found] == [steps] * rows


def test_raw_samples_keep_their_own_times() -> None:
    """Range vectors at one instant: each series has its times, empty ones are left out."""
    size = result_json.SLICE_POINTS + 7
    labels = [Labels.of({"row": str(row)}) for row in range(3)]
    batch = build_batch(
        [
            (labels[0], [1, 1500], [1.0, 2.5]),
            (labels[1], [], []),
            (labels[2], list(range(size)), [float(k) for k in range(size)]),
        ]
    )
    text = b"".join(result_json.samples(LabelFrame.from_labels(labels), batch))
    first, last = orjson.loads(text)
    assert first == {"metric": {"row": "0"}, "values": [[0.001, "1"], [1.5, "2.5"]]}
    assert [value for _, value in last["values"]] == [str(k) for k in range(size)]


@examples(100)
@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 8))
def test_raw_samples_do_not_depend_on_slices(lengths: list[int], room: int) -> None:
    """Rows of any lengths, some to a slice or some slices to a row, are written each as it is."""
    rows = [
        (
            Labels.of({"row": str(row)}),
            [row * 1500 + k for k in range(length)],
            [row + k / 4 for k in range(length)],
        )
        for row, length in enumerate(lengths)
    ]
    frame, batch = LabelFrame.from_labels([labels for labels, *_ in rows]), build_batch(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_json, "SLICE_POINTS", room)
        slices = [*map(bytes, result_json.samples(frame, batch))]
    assert max(part.count(b'"]') for part in slices) <= room
    assert orjson.loads(b"".join(slices)) == [
        {
            "metric": {"row": labels.get("row")},
            "values": [
                [time_ms / 1000, result_json.format_value(value)]
                for time_ms, value in zip(times_ms, values, strict=True)
            ],
        }
        for labels, times_ms, values in rows
        if times_ms
    ]


def test_texts_that_are_no_unicode_are_mended() -> None:
    """A string with stray bytes becomes valid JSON."""
    assert result_json.point(1500, "a\udcff\n") == '[1.5,"a\ufffd\\n"]'.encode()
