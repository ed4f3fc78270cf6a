"""DNS messages: what is asked, what is read of answers, and answers that are none."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrape.dns import DnsError, Record, build_query, parse_answer

ID = 4711


def name(text: str) -> bytes:
    return b"".join(bytes((len(part),)) + part.encode() for part in text.split(".")) + b"\0"


def answered(kind: int, *data: bytes, code: int = 0, query_id: int = ID) -> bytes:
    """An answer about ``a.b`` whose records point back at the name of the question."""
    header = struct.pack(">6H", query_id, 0x8180 | code, 1, len(data), 0, 0)
    question = name("a.b") + struct.pack(">HH", kind, 1)
    records = [b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(one)) + one for one in data]
    return header + question + b"".join(records)


def test_a_question_is_asked_as_the_rfc_says() -> None:
    """One question, recursion wanted; names that are not ASCII go encoded."""
    assert build_query(ID, "a.b.", "SRV") == (
        struct.pack(">6H", ID, 0x0100, 1, 0, 0, 0) + name("a.b") + struct.pack(">HH", 33, 1)
    )
    assert b"xn--" in build_query(ID, "bücher.example", "A")


@pytest.mark.parametrize("text", ["", "a..b", "x" * 64, "."])
def test_what_is_no_name_is_refused(text: str) -> None:
    """Empty and overlong labels make no question."""
    with pytest.raises(DnsError, match="is not a domain name"):
        build_query(ID, text, "A")


@pytest.mark.parametrize(
    ("kind", "record_type", "data", "record"),
    [
        (1, "A", bytes((10, 0, 0, 1)), Record("10.0.0.1")),
        (28, "AAAA", bytes(15) + b"\1", Record("::1")),
        (33, "SRV", struct.pack(">HHH", 1, 2, 81) + name("host.example"),
         Record("host.example", 81)),
        (33, "SRV", struct.pack(">HHH", 1, 2, 81) + b"\4host\xc0\x0c", Record("host.a.b", 81)),
        (15, "MX", struct.pack(">H", 5) + name("mail"), Record("mail")),
        (2, "NS", b"\2ns\xc0\x0e", Record("ns.b")),
    ],
)  # fmt: skip
def test_records_are_read(kind: int, record_type: str, data: bytes, record: Record) -> None:
    """Each type as it is laid out, compressed names too; other types are passed over."""
    message = answered(kind, data, data)

    assert parse_answer(message, ID, record_type) == [record, record]
    assert parse_answer(message, ID, "A" if kind != 1 else "NS") == []


def test_a_name_that_does_not_exist_has_no_records() -> None:
    """That is an answer, other codes are failures."""
    assert parse_answer(answered(1, code=3), ID, "A") == []
    with pytest.raises(DnsError, match="code 2"):
        parse_answer(answered(1, code=2), ID, "A")
    with pytest.raises(DnsError, match="another question"):
        parse_answer(answered(1, query_id=1), ID, "A")


@given(st.binary(max_size=80), st.integers(0, 60))
def test_damaged_answers_never_hang(noise: bytes, at: int) -> None:
    """Whatever comes is records or a DnsError; names that point in a circle end."""
    whole = answered(33, struct.pack(">HHH", 1, 2, 81) + b"\4host\xc0\x0c")
    for message in (noise, whole[:at] + noise + whole[at:], whole[:at]):
        try:
            parse_answer(message, ID, "SRV")
        except DnsError:
            continue
