"""Reading a YAML file strictly: every complaint names its line, every key must be known.

A ``Section`` is one mapping of the file. Its owner takes the keys it understands, names those it
leaves aside, and calls ``finish``, which fails at the first key that nobody knows.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from series.durations import parse_duration_ms

T = TypeVar("T")

MAX_DEPTH = 100
MAX_NODES = 1_000_000
"""Keys and values of a file, those behind an alias once for each time it is named."""

_NULL, _BOOL, _INT, _MERGE = (
    f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "merge")
)
_TRUE = frozenset(("true", "yes", "on", "y"))
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SIZE = re.compile(r"(?:\d+(?:\.\d*)?(?:[KMGTPE]i?)?B)+", re.ASCII)
_SIZE_PART = re.compile(r"(\d+(?:\.\d*)?)([KMGTPE]?)i?B", re.ASCII)
_POWERS = {letter: 1024**power for power, letter in enumerate(("", *"KMGTPE"))}


class ConfigError(ValueError):
    """What is wrong with a configuration; the text begins ``FILE:LINE:``."""


@dataclass(slots=True)
class Document:
    """One parsed file; ``warnings`` collects what is valid and without effect here."""

    file: str
    root: Node | None
    warnings: list[str] = field(default_factory=list)

    def section(self) -> "Section":
        """The mapping at the top; empty where the file is."""
        if self.root is None or _is_null(self.root):
            return Section(self, MappingNode("tag:yaml.org,2002:map", []), "", 1)
        return Section(self, self.root, "", 1)

    def error(self, line: int, text: str) -> ConfigError:
        return ConfigError(f"{self.file}:{line}: {text}")


def parse_document(text: str | bytes, file: str) -> Document:
    """Parses *text*, which *file* held; ConfigError where it is no YAML."""
    try:
        loader = _LOADER(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
        document = Document(file, root)
        if root is not None:
            _check_size(document, root)
        return document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError(f"{file}:{line}: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{file}:1: {str(error).splitlines()[0]}") from None


def parse_values(text: str | bytes, file: str) -> Any:
    """What *text* says, in Python's types; ConfigError where it is no YAML."""
    root = parse_document(text, file).root
    try:
        return None if root is None else yaml.SafeLoader("").construct_document(root)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:
        # PyYAML's last three: scalars that are not what their tag says, as a 13th month.
        raise ConfigError(f"{file}: {error}") from None


class Section:
    """One mapping, and which of its keys were understood."""

    def __init__(self, document: Document, node: Node, path: str, line: int) -> None:
        """*path* is how the section is named in complaints; *line* where its key stands."""
        self.document = document
        self.path = path
        self.line = line
        if not isinstance(node, MappingNode):
            raise document.error(_line(node), f"{path or 'the file'} must be a mapping")
        self._nodes: dict[str, Node] = {}
        self._lines: dict[str, int] = {}
        self._known: set[str] = set()
        for key, value in _merged(node):
            self._nodes[str(key.value)] = value
            self._lines[str(key.value)] = _line(key)
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise document.error(_line(key), f'key "{key.value}" stands twice in {self._here}')
            seen.add(str(key.value))

    @property
    def _here(self) -> str:
        return self.path or "the file"

    def error(self, text: str, name: str = "") -> ConfigError:
        """A complaint at the line of key *name*, or of the section."""
        return self.document.error(self._lines.get(name, self.line), text)

    def has(self, name: str) -> bool:
        """Whether *name* is there and not null."""
        return name in self._nodes and not _is_null(self._nodes[name])

    def names(self) -> list[str]:
        return list(self._nodes)

    def ignore(self, names: Iterable[str], reason: str = "has no effect here") -> None:
        """Marks *names* as known; each that is there becomes a warning."""
        for name in names:
            self._known.add(name)
            if self.has(name):
                where = f"{self.path}.{name}" if self.path else name
                warning = f"{self.document.file}:{self._lines[name]}: {where} {reason}"
                self.document.warnings.append(warning)

    def finish(self) -> None:
        """ConfigError at the first key that was neither taken nor ignored."""
        for name in self._nodes:
            if name not in self._known:
                raise self.error(f'unknown key "{name}" in {self._here}', name)

    def _take(self, name: str) -> Node | None:
        self._known.add(name)
        return self._nodes[name] if self.has(name) else None

    def _scalar(self, name: str) -> ScalarNode | None:
        node = self._take(name)
        if node is not None and not isinstance(node, ScalarNode):
            raise self.error(f"{name} must be a single value", name)
        return node

    def checked(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """What *parse* makes of the text of *name*; its ValueError becomes a complaint."""
        node = self._scalar(name)
        if node is None:
            return default
        try:
            return parse(str(node.value))
        except ValueError as error:
            raise self.error(f"{name}: {error}", name) from None

    def text(self, name: str, default: str = "") -> str:
        return self.checked(name, str, default)

    def flag(self, name: str, default: bool = False) -> bool:
        node = self._scalar(name)
        if node is None:
            return default
        if node.tag != _BOOL and str(node.value).lower() not in ("y", "n"):
            raise self.error(f"{name} must be true or false", name)
        return str(node.value).lower() in _TRUE

    def count(self, name: str, default: int = 0) -> int:
        """A whole number >= 0."""
        return self.checked(name, _whole, default)

    def duration_ms(self, name: str, default_ms: int = 0) -> int:
        return self.checked(name, parse_duration_ms, default_ms)

    def size_bytes(self, name: str, default: int = 0) -> int:
        """Bytes of a size like ``100MB``, whose units are powers of 1024."""
        return self.checked(name, parse_size_bytes, default)

    def texts(self, name: str) -> list[str]:
        """A list of single values; none where it is missing."""
        node = self._take(name)
        if node is None:
            return []
        if not isinstance(node, SequenceNode) or not all(
            isinstance(item, ScalarNode) for item in node.value
        ):
            raise self.error(f"{name} must be a list of single values", name)
        return [str(item.value) for item in node.value]

    def mapping(self, name: str) -> dict[str, str]:
        """A mapping of single values."""
        section = self.section(name)
        return {} if section is None else {key: section.text(key) for key in section.names()}

    def section(self, name: str) -> "Section | None":
        """The mapping under *name*, or None."""
        node = self._take(name)
        if node is None:
            return None
        return Section(self.document, node, self._sub(name), self._lines[name])

    def sections(self, name: str) -> "list[Section]":
        """The mappings of the list under *name*."""
        node = self._take(name)
        if node is None:
            return []
        if not isinstance(node, SequenceNode):
            raise self.error(f"{name} must be a list", name)
        for item in node.value:
            if _is_null(item):
                raise self.document.error(_line(item), f"empty entry in {self._sub(name)}")
        return [
            Section(self.document, item, f"{self._sub(name)}[{at}]", _line(item))
            for at, item in enumerate(node.value)
        ]

    def plain(self, without: Iterable[str] = ()) -> dict[str, Any]:
        """The section as plain values, but for the keys in *without*."""
        gone = frozenset(without)
        return {name: _plain(node) for name, node in self._nodes.items() if name not in gone}

    def _sub(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def parse_size_bytes(text: str) -> int:
    """Bytes of ``0``, ``512MB`` or ``1GB512MB``; KB and KiB are both 1024. ValueError else."""
    if text == "0":
        return 0
    if not _SIZE.fullmatch(text):
        raise ValueError(f'"{text}" is not a size like 100MB')
    size = sum(float(n) * _POWERS[unit] for n, unit in _SIZE_PART.findall(text))
    if size >= 2**63:
        raise ValueError(f'"{text[:100]}" is more than any size')
    return int(size)


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise ValueError(f'"{text}" is not a whole number from 0 on')
    return int(text)


def _check_size(document: Document, root: Node) -> None:
    """ConfigError where aliases make the file endless or huge, or where it is nested too deeply."""
    level = [root]
    count = 1
    for _ in range(MAX_DEPTH):
        below: list[Node] = []
        for node in level:
            parts = _parts(node)
            count += len(parts)
            if count > MAX_NODES:
                raise document.error(_line(root), f"more than {MAX_NODES} values behind aliases")
            below += parts
        if not below:
            return
        level = below
    raise document.error(_line(level[0]), f"nested deeper than {MAX_DEPTH} levels")


def _parts(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1 if node.start_mark is not None else 1


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == _NULL


def _merged(node: MappingNode) -> list[tuple[Node, Node]]:
    """The pairs of *node* behind those that its ``<<`` keys bring in."""
    brought: list[tuple[Node, Node]] = []
    own = []
    for key, value in node.value:
        if key.tag != _MERGE:
            own.append((key, value))
            continue
        sources = value.value if isinstance(value, SequenceNode) else [value]
        for source in reversed(sources):
            if isinstance(source, MappingNode):
                brought += _merged(source)
    return brought + own


def _plain(node: Node) -> Any:
    if isinstance(node, MappingNode):
        return {str(key.value): _plain(value) for key, value in _merged(node)}
    if isinstance(node, SequenceNode):
        return [_plain(item) for item in node.value]
    if _is_null(node):
        return None
    text = str(node.value)
    if node.tag == _BOOL:
        return text.lower() in _TRUE
    if node.tag == _INT and re.fullmatch(r"-?[1-9]\d*|0", text, re.ASCII):
        return int(text)
    return text
