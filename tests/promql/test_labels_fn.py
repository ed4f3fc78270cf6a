"""label_replace and label_join."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql import ast, labels_fn
from promql.instant import CALLS
from promql.labels_fn import Template
from promql.matrix import Matrix, Text, Value
from promql.notes import ExecutionError
from series.labels import Labels
from series.matcher import compile_regex
from series.ports import QueryCanceled
from tests.examples import examples
from tests.promql.matrices import Bench, elements, matrices, matrix, points, same_elements


def call(name: str, vector: Matrix, *texts: str) -> Value:
    args: list[Value] = [vector, *(Text(text) for text in texts)]
    return CALLS[name](args, ast.Call(name, ()), Bench().env)


@pytest.mark.parametrize(
    ("pattern", "text", "template", "wanted"),
    [
        ("(.*)-(.*)", "a-b", "$2.$1", "b.a"),
        ("(.*)-(.*)", "a-b", "${2}x$1", "bxa"),
        ("(.*)-(.*)", "a-b", "$1x", ""),
        ("(?P<first>.*)-(.*)", "a-b", "${first}_$first.", "a_a."),
        (".*", "a", "$0$0", "aa"),
        (".*", "a", "$$1 $ ${ ${1 $}", "$1 $ ${ ${1 $}"),
        ("(a)|(b)", "b", "[$1$2$3]", "[b]"),
        ("(a)", "a", "$01 $9999999999", " "),
        ("a\nb", "a\nb", "x", "x"),
        ("a.b", "a\nb", "x", "x"),
        ("(.)-(?P<b>.*)", "é-日本", "ß$b $1", "ß日本 é"),
    ],
)
def test_expansion_is_gos(pattern: str, text: str, template: str, wanted: str) -> None:
    """Longest names, unknown groups empty, a lone dollar sign kept, ``.`` matches a newline."""
    match = compile_regex(pattern).fullmatch(text.encode())
    assert match is not None
    assert Template(template, match.re).expand(match) == wanted


def test_replacement_where_the_whole_value_matches() -> None:
    """Other series stay as they are; an empty result removes the label."""
    vector = matrix({"a{i=x-1}": [1.0, None, 3.0], "a{i=y}": [None, 2.0, None]})
    assert points(call("label_replace", vector, "n", "$1", "i", "x-(.*)")) == {
        "a{i=x-1,n=1}": [1.0, None, 3.0],
        "a{i=y}": [None, 2.0, None],
    }
    assert points(call("label_replace", vector, "i", "", "i", "x-.*")) == {
        "a": [1.0, None, 3.0],
        "a{i=y}": [None, 2.0, None],
    }
    assert call("label_replace", vector, "n", "z", "i", "-") is vector


def test_an_absent_source_label_is_empty() -> None:
    """``label_replace(v, "n", "x", "nope", "")`` matches every series."""
    vector = matrix({"a": [1.0, 2.0, 3.0]})
    assert points(call("label_replace", vector, "n", "x", "nope", "")) == {
        "a{n=x}": [1.0, 2.0, 3.0]
    }


def test_a_new_name_stays_under_late_removal() -> None:
    """The mark goes away from the series that got one, and from no other."""
    vector = matrix({"a{i=1}": [1.0] * 3, "b{i=2}": [2.0] * 3}, marked=True)
    found = call("label_replace", vector, "__name__", "c", "i", "1")
    assert [(str(labels), late) for labels, _, late in elements(found, 0)] == [
        ('{__name__="c", i="1"}', False),
        ('{__name__="b", i="2"}', True),
    ]
    joined = call("label_join", vector, "__name__", "-", "__name__", "i")
    assert [(labels.metric, late) for labels, _, late in elements(joined, 0)] == [
        ("a-1", False),
        ("b-2", False),
    ]


@examples(100)
@given(
    vector=matrices(["a", "b"], {"i": ["", "1", "2"], "j": ["", "x"]}),
    dst=st.sampled_from(["i", "n"]),
    sources=st.sampled_from([(), ("i",), ("i", "j"), ("nope", "__name__")]),
)
def test_join_equals_joining_series_by_series(
    vector: Matrix, dst: str, sources: tuple[str, ...]
) -> None:
    """And series that become equal are refused where they meet."""

    def joined(labels: Labels) -> Labels:
        text = "-".join(labels.get(name) for name in sources)
        return Labels([*labels.without((dst,)), (dst, text)])

    wanted = [[(joined(e[0]), e[1], e[2]) for e in elements(vector, step)] for step in range(3)]
    if any(len({e[0] for e in step}) < len(step) for step in wanted):
        with pytest.raises(ExecutionError, match="same labelset"):
            call("label_join", vector, dst, "-", *sources)
        return
    found = call("label_join", vector, dst, "-", *sources)
    for step in range(3):
        assert same_elements(elements(found, step), wanted[step])


@pytest.mark.parametrize(
    ("name", "texts", "error"),
    [
        ("label_replace", ("n", "", "i", "("), "invalid regular expression in label_replace(): ("),
        ("label_replace", ("", "", "i", ""), "invalid destination label name in label_replace(): "),
        ("label_join", ("", "-", "i"), "invalid destination label name in label_join(): "),
        ("label_join", ("n", "-", ""), "invalid source label name in label_join(): "),
    ],
)
def test_errors_are_prometheus_words(name: str, texts: tuple[str, ...], error: str) -> None:
    """A malformed expression or label name."""
    with pytest.raises(ExecutionError) as raised:
        call(name, matrix({"a": [1.0] * 3}), *texts)
    assert str(raised.value) == error


def test_labels_of_more_text_than_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """All labels that one call makes count together; the error names what there is and may be."""
    monkeypatch.setattr(labels_fn, "MAX_MADE_CHARACTERS", 30)
    vector = matrix({"a{i=12345}": [1.0] * 3, "a{i=67890}": [2.0] * 3})
    assert len(elements(call("label_replace", vector, "n", "$0$0$0", "i", ".*"), 0)) == 2
    words = r"label_replace.. makes too long labels: at least 40 characters, at most 30 are allowed"
    with pytest.raises(ExecutionError, match=words):
        call("label_replace", vector, "n", "$0$0$0$0", "i", ".*")
    with pytest.raises(ExecutionError, match=r"label_replace.. makes too long labels: at least "):
        call("label_replace", vector, "n", "$0" * 1000, "i", ".*")
    assert call("label_replace", vector, "n", "$0" * 1000, "i", "no match") is vector
    with pytest.raises(ExecutionError, match=r"label_join.. makes too long labels: at least "):
        call("label_join", vector, "n", "-" * 10, "i", "i")


def test_a_cancelled_query_expands_no_label() -> None:
    """The asker is looked for before every label."""
    env = Bench().env
    env.context.cancelled.set()
    vector = matrix({"a{i=1}": [1.0] * 3})
    args: list[Value] = [vector, *(Text(text) for text in ("n", "$0", "i", ".*"))]
    with pytest.raises(QueryCanceled):
        CALLS["label_replace"](args, ast.Call("label_replace", ()), env)
