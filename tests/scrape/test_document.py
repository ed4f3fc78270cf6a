"""Strict YAML: lines in complaints, unknown and repeated keys, merges, typed values."""

import pytest

from scrape.document import ConfigError, Section, parse_document, parse_size_bytes


def section(text: str) -> Section:
    return parse_document(text, "f.yml").section()


def read_known(text: str) -> None:
    """Reads a file that may hold ``a``, a count or a mapping with the count ``b``."""
    top = section(text)
    if "{" in text and (inner := top.section("a")) is not None:
        inner.count("b")
        inner.finish()
    else:
        top.count("a")
    top.finish()


def test_values_are_typed() -> None:
    """Texts, counts, flags, durations, sizes, lists and mappings come as they are meant."""
    top = section(
        "text: 017\ncount: 5\nflag: yes\nwait: 1m30s\nsize: 2MB\nlist: [a, 1]\nmap: {a: b, c: 1}\n"
        "nothing: null\n"
    )

    assert top.text("text") == "017"
    assert top.count("count") == 5
    assert top.flag("flag") is True
    assert top.duration_ms("wait") == 90_000
    assert top.size_bytes("size") == 2 << 20
    assert top.texts("list") == ["a", "1"]
    assert top.mapping("map") == {"a": "b", "c": "1"}
    assert top.text("nothing", "default") == "default"
    assert top.section("nothing") is None
    top.finish()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\n", 'f.yml:2: unknown key "b" in the file'),
        ("a: 1\n\na: 2\n", 'f.yml:3: key "a" stands twice in the file'),
        ("a: [1\n", "f.yml:2: "),
        ("- a\n", "f.yml:1: the file must be a mapping"),
        ("\na: \x01\n", "f.yml:1: "),
        ("a: {b: 1, c: 2}\n", 'f.yml:1: unknown key "c" in a'),
    ],
)
def test_complaints_name_file_and_line(text: str, complaint: str) -> None:
    """Whatever is wrong is told with its place."""
    with pytest.raises(ConfigError) as refused:
        read_known(text)

    assert str(refused.value).startswith(complaint)


@pytest.mark.parametrize(
    ("text", "reader", "complaint"),
    [
        ("a: maybe", "flag", "f.yml:1: a must be true or false"),
        ("a: -1", "count", 'f.yml:1: a: "-1" is not a whole number from 0 on'),
        ("a: 5", "duration_ms", 'f.yml:1: a: not a valid duration string: "5"'),
        ("a: 5", "size_bytes", 'f.yml:1: a: "5" is not a size like 100MB'),
        ("a: {}", "text", "f.yml:1: a must be a single value"),
        ("a: b", "texts", "f.yml:1: a must be a list of single values"),
        ("a: b", "section", "f.yml:1: a must be a mapping"),
        ("a: b", "sections", "f.yml:1: a must be a list"),
        ("a:\n  - b: 1\n  -\n", "sections", "f.yml:3: empty entry in a"),
    ],
)
def test_wrong_values_are_named(text: str, reader: str, complaint: str) -> None:
    """A value of the wrong kind is refused at its key's line."""
    with pytest.raises(ConfigError) as refused:
        getattr(section(text), reader)("a")

    assert str(refused.value) == complaint


def test_merges_bring_keys_in_and_own_ones_win() -> None:
    """``<<`` works as in YAML 1.1, also twice over the same anchor."""
    top = section("base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\ntwo: {<<: [*b], x: 4}\n")

    for name, expected in (("one", {"x": "1", "y": "3"}), ("two", {"x": "4", "y": "2"})):
        assert top.mapping(name) == expected
        assert top.plain()[name] == {key: int(value) for key, value in expected.items()}


def test_ignored_keys_become_warnings() -> None:
    """A key without effect is known, and told with its line."""
    document = parse_document("a: 1\nb: {c: 2}\n", "f.yml")
    top = document.section()
    top.ignore(("a", "z"))
    inner = top.section("b")
    assert inner is not None
    inner.ignore(["c"])

    top.finish()
    assert document.warnings == [
        "f.yml:1: a has no effect here",
        "f.yml:2: b.c has no effect here",
    ]


def test_an_empty_file_is_an_empty_section() -> None:
    """Nothing, a comment and ``null`` hold no keys."""
    assert [section(text).names() for text in ("", "# c\n", "null\n")] == [[], [], []]


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("1B", 1), ("1KiB", 1024), ("1KB", 1024), ("1GB512MB", 3 << 29)]
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    """KB and KiB are the same, and sizes add up."""
    assert parse_size_bytes(text) == size
