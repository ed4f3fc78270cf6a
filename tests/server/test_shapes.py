"""Questions that came before in other times: what is remembered of them changes no answer."""

import pytest

from server.api import query_api
from server.api.params import Params, params_at_once
from server.api.shapes import MAX_SHAPE_BYTES, MAX_SHAPES, Shapes, shape_of
from server.heads import Head
from server.http import HEAD, Request, Scope
from tests.server.conftest import NOW_MS, Asker, up

NOW = NOW_MS // 1000
INSTANT = "/api/v1/query?"
RANGE = "/api/v1/query_range?"
NAMES = "/api/v1/labels?"
SERIES = "/api/v1/series?"
KNOWN = Head([(b"host", b"x")])


@pytest.mark.parametrize(
    "questions",
    [
        [f"{INSTANT}query=up&time={at}" for at in (NOW, NOW - 15, f"{NOW - 7}.5", f"{NOW}.1234")],
        [
            f"{INSTANT}time={at}&query=up"
            for at in ("", "x", "1e9", f"-{NOW}", "²", f"{NOW}.", ".5")
        ],
        [f"{INSTANT}query=up&time={NOW - 15 * k}&limit={k}" for k in (1, 2, 3)],
        [f"{INSTANT}query=up&time={NOW}&time={NOW - 30}", f"{INSTANT}query=up&time={NOW - 15}"],
        [f"{INSTANT}query=up&%74ime={NOW - 30}&time={at}" for at in (NOW, NOW - 15)],
        [f"{INSTANT}query=up&xtime={NOW - 30}&time={at}" for at in (NOW, NOW - 15)],
        [f"{INSTANT}query=up%2B{k}&time={NOW}" for k in (1, 2)],
        [f"{INSTANT}query=up&time={NOW}&explain=1", f"{INSTANT}query=up&time={NOW - 15}&explain=1"],
        [f"{INSTANT}query=up&time={NOW}{how}" for how in ("&lookback_delta=10s", "", "&stats=all")],
        [f"{INSTANT}query=up(&time={at}" for at in (NOW, NOW - 15)],
        [f"{INSTANT}query=up", f"{INSTANT}query=up&time=0"],
        [f"{RANGE}query=up&start={NOW - 30 - k}&end={NOW - k}&step=15" for k in (0, 15, 30)],
        [f"{RANGE}query=up&end={NOW - k}&start={NOW - 30}&step=15" for k in (0, 29, 30, 31)],
        [f"{RANGE}query=up&start={NOW - 30}&end={NOW}&step={step}" for step in ("15", "1s", "0")],
        [f"{RANGE}query=up&start={NOW - k}&end={NOW}&step=0.0015" for k in (0, 16, 15)],
        [f"{RANGE}query=up&start={start}&end={NOW}&step=1" for start in (NOW, NOW - 11_001, 0)],
        [f"{RANGE}query=up&start=x{k}&end={NOW}&step=15" for k in ("", "")],
        [f"{NAMES}start={NOW - k}&end={NOW}{more}" for k in (60, 0) for more in ("", "&limit=1")],
        [f"{NAMES}start={start}&end={NOW}&match[]=up" for start in (NOW, NOW + 60, "x", "-1", "")],
        [f"/api/v1/label/{name}/values?start={NOW}&end={NOW}" for name in ("job", "instance", "")],
        [f"{SERIES}match[]={text}&start={NOW}&end={NOW}" for text in ("up", "{", "down", "{}")],
        [f"{SERIES}match[]=up&start={NOW + k}&end={NOW + k}&limit=1" for k in (0, 60, 86_400)],
        [f"{SERIES}start={NOW}&end={NOW}" for _ in range(2)],
    ],
)
def test_answers_are_the_same_as_without_a_memory(asker: Asker, questions: list[str]) -> None:
    """Of every question after every other, errors too."""
    asker.write(up("a", 1, 2, 3), up("b", 4, 5, 6))
    anew = []
    for question in questions:
        asker.heads.clear()
        anew.append(asker.get(question))
    for _ in range(2):
        for question, expected in zip(questions, anew, strict=True):
            answer = asker.get(question)
            assert answer.status_code == expected.status_code
            if "stats" not in question:
                assert answer.content == expected.content


def test_only_the_times_of_a_known_question_are_read(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other parameters, and another head, take the whole way."""
    read: list[Request] = []

    def at_once(request: Request) -> Params | None:
        read.append(request)
        return params_at_once(request)

    monkeypatch.setattr(query_api, "params_at_once", at_once)
    counts = []
    for question in (
        f"{INSTANT}query=1&time=1",
        f"{INSTANT}query=1&time=2",
        f"{INSTANT}query=1&time=3",
        f"{INSTANT}query=2&time=3",
        f"{RANGE}query=1&start=1&end=2&step=1",
        f"{RANGE}query=1&start=2&end=5.5&step=1",
    ):
        assert asker.get(question).status_code == 200
        counts.append(len(read))
    assert counts == [1, 2, 2, 3, 4, 4]  # the first brings no Head
    asker.get(f"{INSTANT}query=1&time=2", {"accept": "x"})
    assert len(read) == 5


def _scope(query: bytes, **more: object) -> Scope:
    return {"path": "/a", "query_string": query, HEAD: KNOWN, **more}


def test_shapes() -> None:
    """The values are cut out of the query string, where nothing is doubtful."""
    names = (b"start=", b"end=")
    assert shape_of(_scope(b"start=1&a=b&end=2.5"), names) == (
        (KNOWN, "/a", names, b"start=&a=b&end="),
        ["1", "2.5"],
    )
    for doubtful in (b"start=1", b"xstart=1&end=2", b"query=start=1&end=2", b""):
        assert shape_of(_scope(doubtful), names) is None
    assert shape_of(_scope(b"time=1&a=" + b"b" * MAX_SHAPE_BYTES), (b"time=",)) is None
    assert shape_of({"path": "/a", "query_string": b"time=1"}, (b"time=",)) is None


def test_no_more_than_so_many_are_remembered() -> None:
    """The oldest goes."""
    shapes = Shapes()
    keys = [(KNOWN, "/a", (b"time=",), b"%d" % number) for number in range(MAX_SHAPES + 1)]
    for key in keys:
        shapes.put(key, key)
    assert [shapes.get(key) for key in keys] == [None, *keys[1:]]
