"""Relabelling: rules that rewrite a label set, or drop what carries it.

Meaning, defaults and error texts follow model/relabel of Prometheus 3.14. Regular expressions run
on RE2 and match a whole text, ``.`` matching a newline.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from series.labels import Labels
from series.matcher import compile_regex

ACTIONS = (
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
)
DEFAULT_SEPARATOR = ";"
DEFAULT_REGEX = "(.*)"
DEFAULT_REPLACEMENT = "$1"

_NEEDS_TARGET = frozenset(
    ("replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal")
)
_NO_REPLACEMENT = frozenset(("lowercase", "uppercase", "keepequal", "dropequal"))
_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


@dataclass(frozen=True, slots=True)
class Rule:
    """One relabelling rule; ValueError in Prometheus' words for what makes no sense together.

    - ``source_labels``: their values, joined by ``separator``, are the text that is looked at.
    - ``regex``: matched against the text (``labelmap``, ``labeldrop``, ``labelkeep``: the names).
    - ``modulus``: of ``hashmod``, > 0.
    - ``target_label``, ``replacement``: may hold ``$1``, ``${1}``, ``$name`` and ``$$``.
    """

    action: str = "replace"
    source_labels: tuple[str, ...] = ()
    separator: str = DEFAULT_SEPARATOR
    regex: str = DEFAULT_REGEX
    modulus: int = 0
    target_label: str = ""
    replacement: str = DEFAULT_REPLACEMENT

    def __post_init__(self) -> None:
        compile_regex(self.regex)
        if self.action not in ACTIONS:
            raise ValueError(f'unknown relabel action "{self.action}"')
        if self.action == "hashmod" and self.modulus == 0:
            raise ValueError("relabel configuration for hashmod requires non-zero modulus")
        if self.action in _NEEDS_TARGET and self.target_label == "":
            raise ValueError(
                f"relabel configuration for {self.action} action requires 'target_label' value"
            )
        if self.action in _NO_REPLACEMENT and self.replacement != DEFAULT_REPLACEMENT:
            raise ValueError(f"'replacement' can not be set for {self.action} action")
        if self.action == "labelmap" and self.replacement == "":
            raise ValueError("\"\" is invalid 'replacement' for labelmap action")
        self._check_nothing_needless()

    def _check_nothing_needless(self) -> None:
        extra = (self.separator, self.modulus, self.replacement) != (
            DEFAULT_SEPARATOR,
            0,
            DEFAULT_REPLACEMENT,
        )
        if self.action in ("keepequal", "dropequal") and (extra or self.regex != DEFAULT_REGEX):
            raise ValueError(
                f"{self.action} action requires only 'source_labels' and `target_label`,"
                " and no other fields"
            )
        if self.action in ("labeldrop", "labelkeep") and (
            extra or self.source_labels or self.target_label
        ):
            raise ValueError(f"{self.action} action requires only 'regex', and no other fields")


def relabel(labels: Labels, rules: Iterable[Rule]) -> Labels | None:
    """*labels* after all *rules* in their order, or None where one drops them."""
    values = labels.as_dict()
    return Labels.of(values) if relabel_in_place(values, rules) else None


def relabel_in_place(labels: dict[str, str], rules: Iterable[Rule]) -> bool:
    """Applies *rules* to *labels*; False where one drops them, which leaves them half done.

    An empty value and a missing label are the same; none is left in *labels*.
    """
    return all(_APPLY[rule.action](rule, labels) for rule in rules)


def steps(labels: Labels, rules: Iterable[Rule]) -> list[tuple[Rule, Labels, bool]]:
    """(rule, labels after it, kept) of every rule until one drops."""
    values = labels.as_dict()
    done = []
    for rule in rules:
        kept = _APPLY[rule.action](rule, values)
        done.append((rule, Labels.of(values) if kept else Labels(), kept))
        if not kept:
            break
    return done


def _text(rule: Rule, labels: dict[str, str]) -> str:
    return rule.separator.join([labels.get(name, "") for name in rule.source_labels])


def _matches(rule: Rule, text: str) -> bool:
    return compile_regex(rule.regex).fullmatch(text.encode()) is not None


def _set(labels: dict[str, str], name: str, value: str) -> None:
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)


def _replace(rule: Rule, labels: dict[str, str]) -> bool:
    match = compile_regex(rule.regex).fullmatch(_text(rule, labels))
    if match is not None and (name := _expand(rule.target_label, match)):
        _set(labels, name, _expand(rule.replacement, match))
    return True


def _keep(rule: Rule, labels: dict[str, str]) -> bool:
    return _matches(rule, _text(rule, labels))


def _drop(rule: Rule, labels: dict[str, str]) -> bool:
    return not _matches(rule, _text(rule, labels))


def _keepequal(rule: Rule, labels: dict[str, str]) -> bool:
    return labels.get(rule.target_label, "") == _text(rule, labels)


def _dropequal(rule: Rule, labels: dict[str, str]) -> bool:
    return labels.get(rule.target_label, "") != _text(rule, labels)


def _hashmod(rule: Rule, labels: dict[str, str]) -> bool:
    digest = hashlib.md5(_text(rule, labels).encode(), usedforsecurity=False).digest()
    labels[rule.target_label] = str(int.from_bytes(digest[8:], "big") % rule.modulus)
    return True


def _labelmap(rule: Rule, labels: dict[str, str]) -> bool:
    regex = compile_regex(rule.regex)
    for name, value in sorted(labels.items()):
        if (match := regex.fullmatch(name)) and (new_name := _expand(rule.replacement, match)):
            labels[new_name] = value
    return True


def _labeldrop(rule: Rule, labels: dict[str, str]) -> bool:
    for name in [name for name in labels if _matches(rule, name)]:
        del labels[name]
    return True


def _labelkeep(rule: Rule, labels: dict[str, str]) -> bool:
    for name in [name for name in labels if not _matches(rule, name)]:
        del labels[name]
    return True


def _lowercase(rule: Rule, labels: dict[str, str]) -> bool:
    _set(labels, rule.target_label, _text(rule, labels).lower())
    return True


def _uppercase(rule: Rule, labels: dict[str, str]) -> bool:
    _set(labels, rule.target_label, _text(rule, labels).upper())
    return True


_APPLY: dict[str, Callable[[Rule, dict[str, str]], bool]] = {
    "replace": _replace,
    "keep": _keep,
    "drop": _drop,
    "keepequal": _keepequal,
    "dropequal": _dropequal,
    "hashmod": _hashmod,
    "labelmap": _labelmap,
    "labeldrop": _labeldrop,
    "labelkeep": _labelkeep,
    "lowercase": _lowercase,
    "uppercase": _uppercase,
}


def _expand(template: str, match: "re.Match[str]") -> str:
    """*template* with its references filled in, as Go's regexp.Expand does it.

    A reference takes the longest word after its ``$``; an unknown one is empty, and a ``$`` that
    begins no reference stands for itself.
    """
    if "$" not in template:
        return template

    def fill(reference: "re.Match[str]") -> str:
        dollar, bare, braced = reference.groups()
        return "$" if dollar else _group(match, bare or braced)

    return _REFERENCE.sub(fill, template)


def _group(match: "re.Match[str]", name: str) -> str:
    if name.isascii() and name.isdigit():
        leading_zero = len(name) > 1 and name[0] == "0"
        number = -1 if leading_zero or len(name) > 8 else int(name)
        return (match.group(number) or "") if 0 <= number <= match.re.groups else ""
    return (match.group(name) or "") if name in match.re.groupindex else ""
