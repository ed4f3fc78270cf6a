"""String literals: Go's escapes, in and out.

The source text is Unicode; ``\\xhh`` and ``\\ooo`` name single bytes. Bytes that are not UTF-8 are
kept as lone surrogates (Python's ``surrogateescape``), so that a text can be asked whether it is
valid UTF-8 and is printed back as it was written.
"""

import re

from promql.errors import Rejected

_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\",
}  # fmt: skip
_NAMES = {char: "\\" + name for name, char in _SIMPLE.items()} | {'"': '\\"'}
_WIDTHS = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_PLAIN = re.compile(r"[ !#-\[\]-~]*")
_MAX_RUNE = 0x10FFFF


def is_utf8(text: str) -> bool:
    """Whether *text* holds no bytes that are not UTF-8."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def replace_invalid(text: str) -> str:
    """*text* with U+FFFD in place of bytes that are not UTF-8."""
    return text if is_utf8(text) else re.sub("[\ud800-\udfff]", "�", text)


def unquote(literal: str, at: int = 0) -> str:
    """The text that a quoted *literal* stands for; Rejected for a malformed escape.

    *at* is where the literal begins in the query, for the complaint.
    """
    body = literal[1:-1]
    if literal[0] == "`" or "\\" not in body:
        return body
    out = bytearray()
    here = 0
    while (found := _ESCAPE.search(body, here)) is not None:
        out += body[here : found.start()].encode()
        piece, here = _unescape(body, found.end(), found.group(1), literal[0], at)
        out += piece
    out += body[here:].encode()
    return out.decode("utf-8", "surrogateescape")


def _unescape(body: str, here: int, kind: str, quote_mark: str, at: int) -> tuple[bytes, int]:
    """The bytes of the escape whose letter *kind* ends before *here*, and where it ends."""
    if kind == quote_mark:
        return kind.encode(), here
    if kind in _SIMPLE:
        return _SIMPLE[kind].encode(), here
    if kind in _WIDTHS:
        width, base = _WIDTHS[kind]
    elif kind and kind in "01234567":
        width, base, here = 3, 8, here - 1
    elif kind == "":
        raise Rejected("escape sequence not terminated", at)
    else:
        raise Rejected(f"unknown escape sequence {_rune(kind)}", at)
    digits = body[here : here + width]
    for digit in digits:
        if digit not in "0123456789abcdefABCDEF"[: 22 if base == 16 else 8]:
            raise Rejected(f"illegal character {_rune(digit)} in escape sequence", at)
    if len(digits) < width:
        raise Rejected(f"illegal character {_rune(quote_mark)} in escape sequence", at)
    number = int(digits, base)
    if number > (0xFF if kind not in ("u", "U") else _MAX_RUNE) or 0xD800 <= number < 0xE000:
        raise Rejected("escape sequence is an invalid Unicode code point", at)
    code = bytes([number]) if kind not in ("u", "U") else chr(number).encode()
    return code, here + width


def _rune(char: str) -> str:
    """Go's ``%#U``."""
    return f"U+{ord(char):04X}" + (f" '{char}'" if char.isprintable() else "")


def quote(text: str) -> str:
    """*text* as Go's ``strconv.Quote`` prints it: double quotes, escapes where not printable."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return '"' + "".join(map(_escape, text)) + '"'


def quote_char(char: str) -> str:
    """One character as Go's ``%q`` prints a rune: ``'x'``."""
    return "'" + (r"\'" if char == "'" else char if char == '"' else _escape(char)) + "'"


def _escape(char: str) -> str:
    code = ord(char)
    if char in _NAMES:
        return _NAMES[char]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable() and char != "�":
        return char
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
