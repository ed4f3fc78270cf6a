"""The parser's complaints: in Prometheus' words, at the place of the first fault."""

import pytest

from promql.parser import ParseError, parse


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("", "unknown position: parse error: no expression found in input"),
        (" # only a comment", "1:1: parse error: no expression found in input"),
        ("1+", "1:3: parse error: unexpected end of input"),
        ("a +\n  * b", "2:3: parse error: unexpected <op:*>"),
        ("été", "1:1: parse error: unexpected character: 'é'"),
        ('"é" + )', "1:9: parse error: unexpected right parenthesis ')'"),
        (".", "1:1: parse error: unexpected character: '.'"),
        ("2.5.", '1:1: parse error: bad number or duration syntax: "2.5."'),
        ("100..4", '1:1: parse error: bad number or duration syntax: "100.."'),
        ("0deadbeef", '1:1: parse error: bad number or duration syntax: "0de"'),
        ("1__0", '1:1: parse error: bad number or duration syntax: "1__"'),
        ("1_", '1:1: parse error: bad number or duration syntax: "1_"'),
        ("1x", '1:1: parse error: bad number or duration syntax: "1"'),
        ("5m12", '1:1: parse error: bad number or duration syntax: "5m12"'),
        ("1e", '1:1: parse error: bad number or duration syntax: "1e"'),
        ("1mm", '1:1: parse error: bad number or duration syntax: "1mm"'),
        ("1.5h", '1:1: parse error: not a valid duration string: "1.5h"'),
        ("0xABm", '1:1: parse error: not a valid duration string: "0xABm"'),
        ("x[5m1m]", '1:3: parse error: not a valid duration string: "5m1m"'),
        ("x[5m30s1h]", '1:3: parse error: not a valid duration string: "5m30s1h"'),
        ("300y", "1:1: parse error: duration out of range"),
        ("(1))", "1:5: parse error: unexpected right parenthesis ')'"),
        ("((1)", "1:5: parse error: unclosed left parenthesis"),
        ("sum(", "1:5: parse error: unclosed left parenthesis"),
        ("1 !~ 1", "1:3: parse error: unexpected character after '!': '~'"),
        ("1 =~ 1", "1:3: parse error: unexpected character after '=': '~'"),
        ("a = b", '1:3: parse error: unexpected "="'),
        ("*test", "1:1: parse error: unexpected <op:*>"),
        ("@@", "1:1: parse error: unexpected <op:@>"),
        ("a b", '1:3: parse error: unexpected identifier "b"'),
        ("a:b c:d", '1:5: parse error: unexpected metric identifier "c:d"'),
        ("a 'abcdefghijkl'", '1:3: parse error: unexpected string "\'abcdefghi"...'),
        ("a 5m", '1:3: parse error: unexpected duration "5m"'),
        ("a sum", "1:3: parse error: unexpected <aggr:sum>"),
        ("a - on(b) ignoring(c) d", "1:11: parse error: unexpected <ignoring>"),
        ("a }", "1:3: parse error: unexpected character: '}'"),
        ("a ]", "1:3: parse error: unexpected right bracket ']'"),
        ("x{", "1:3: parse error: unexpected end of input inside braces"),
        ("x{a", "1:4: parse error: unexpected end of input inside braces"),
        ("x{{", "1:3: parse error: unexpected left brace '{'"),
        ("x{a:b='c'}", "1:4: parse error: unexpected character inside braces: ':'"),
        ("x{a!b}", "1:4: parse error: unexpected character after '!' inside braces: 'b'"),
        (
            "x{a}",
            '1:4: parse error: unexpected "}" in label matching, expected label matching operator',
        ),
        (
            "x{a=b}",
            '1:5: parse error: unexpected identifier "b" in label matching, expected string',
        ),
        (
            "x{,}",
            '1:3: parse error: unexpected "," in label matching, expected identifier or "}"',
        ),
        (
            "x{a='b' c}",
            '1:9: parse error: unexpected identifier "c" in label matching, expected "," or "}"',
        ),
        (
            "x{=~'b'}",
            '1:3: parse error: unexpected <op:=~> in label matching, expected identifier or "}"',
        ),
        (
            "sum without(==)(x)",
            "1:13: parse error: unexpected <op:==> in grouping opts, expected label",
        ),
        (
            "sum without(a,,)(x)",
            '1:15: parse error: unexpected "," in grouping opts, expected label',
        ),
        (
            "sum (x) by test",
            '1:12: parse error: unexpected identifier "test" in grouping opts, expected "("',
        ),
        (
            "sum by (a b) (x)",
            '1:11: parse error: unexpected identifier "b" in grouping opts, expected "," or ")"',
        ),
        ("sum x by (test)", '1:5: parse error: unexpected identifier "x"'),
        ("sum(x y)", '1:7: parse error: unexpected identifier "y" in aggregation'),
        ("sum by (a) x", '1:12: parse error: unexpected identifier "x" in aggregation'),
        ("sum (x) without (a) by (a)", "1:21: parse error: unexpected <by>"),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        ("rate(x[5m],)", "1:11: parse error: trailing commas not allowed in function call args"),
        ("topk(x,)", "1:7: parse error: trailing commas not allowed in function call args"),
        ("foo(x)", '1:1: parse error: unknown function with name "foo"'),
        ("RATE(x[5m])", '1:1: parse error: unknown function with name "RATE"'),
        ('sum by ("") (x)', '1:9: parse error: invalid label name for grouping: ""'),
        (
            "x[5m] offset",
            "1:13: parse error: unexpected end of input in offset, "
            "expected number, duration, step(), or range()",
        ),
        ("x @", "1:4: parse error: unexpected end of input in @, expected timestamp"),
        ("x @ foo", '1:5: parse error: unexpected identifier "foo" in @, expected timestamp'),
        (
            "x[]",
            '1:3: parse error: unexpected "]" in subquery or range selector, '
            "expected number, duration, step(), or range()",
        ),
        ("x[", "1:3: parse error: unexpected end of input in duration expression"),
        ("x[5m", "1:5: parse error: unclosed left bracket"),
        ("x['5m']", "1:3: parse error: unexpected character in duration expression: '\\''"),
        (
            "x[5m 1]",
            '1:6: parse error: unexpected number "1" in subquery or range, expected ":" or "]"',
        ),
        (
            "x[5m:1m 1]",
            '1:9: parse error: unexpected number "1" in subquery selector, expected "]"',
        ),
        ("x[5m::1m]", "1:6: parse error: unexpected colon ':'"),
        ("x[5m a]", "1:6: parse error: unexpected character: 'a', expected ':'"),
        ("x[0m]", "1:3: parse error: duration must be greater than 0"),
        ("x[-1]", "1:3: parse error: duration must be greater than 0"),
        ("x[5m:0]", "1:6: parse error: duration must be greater than 0"),
        ("x[5m/0]", "1:5: parse error: division by zero"),
        ("x offset (5m%0s)", "1:13: parse error: modulo by zero"),
        ("x[1e20]", "1:3: parse error: duration out of range"),
        ("x offset -1e20", "1:11: parse error: duration out of range"),
        ("x offset NaN", "1:10: parse error: duration out of range"),
        ("sum(x)[5m]", "1:7: parse error: ranges only allowed for vector selectors"),
        ("x offset 1m[5m]", "1:12: parse error: no offset modifiers allowed before range"),
        ("x @ 1[5m]", "1:6: parse error: no @ modifiers allowed before range"),
        ("x offset 1s offset 2s", "1:1: parse error: offset may not be set multiple times"),
        ("x @ 1 @ end()", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        (
            "1 offset 1d",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector "
            "or range vector selector or a subquery",
        ),
        (
            "rate(x[5m]) @ 1",
            "1:1: parse error: @ modifier must be preceded by an instant vector selector "
            "or range vector selector or a subquery",
        ),
        ("x @ Inf", "1:1: parse error: timestamp out of bounds for @ modifier: +Inf"),
        (
            "x @ -1e30",
            "1:1: parse error: timestamp out of bounds for @ modifier: "
            "-1000000000000000019884624838656.000000",
        ),
        (
            "x[5m] anchored smoothed",
            "1:1: parse error: anchored and smoothed modifiers cannot be used together",
        ),
        (
            "x[5m:] smoothed",
            "1:1: parse error: smoothed modifier is not supported for subqueries",
        ),
        ('"\\q"', "1:1: parse error: unknown escape sequence U+0071 'q'"),
        ('"\\u12"', "1:1: parse error: illegal character U+0022 '\"' in escape sequence"),
        ('"\\xg0"', "1:1: parse error: illegal character U+0067 'g' in escape sequence"),
        ('"\\ud800"', "1:1: parse error: escape sequence is an invalid Unicode code point"),
        ('"\\400"', "1:1: parse error: escape sequence is an invalid Unicode code point"),
        ('"a\\', "1:1: parse error: escape sequence not terminated"),
        ('"a\nb"', "1:1: parse error: unterminated quoted string"),
        ("`a", "1:1: parse error: unterminated raw string"),
        ('"�"', "1:1: parse error: invalid UTF-8 rune"),
        (
            'x{a=~"("}',
            "1:3: parse error: error parsing regexp: missing closing ): `(`",
        ),
        (
            "1e999",
            '1:1: parse error: error parsing number: strconv.ParseFloat: parsing "1e999": '
            "value out of range",
        ),
    ],
)
def test_complaints(query: str, error: str) -> None:
    """The first fault is named in Prometheus' words, with its line and its column in bytes."""
    with pytest.raises(ParseError) as caught:
        parse(query)
    assert str(caught.value) == error
    place = error.split(": ")[0]
    assert place in (f"{caught.value.line}:{caught.value.column}", "unknown position")
